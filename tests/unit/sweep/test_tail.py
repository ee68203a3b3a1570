"""Tails: rows reach a reader once and in order, whatever happens to the writer, its disk or its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sweep.store.directory import StageDirectory
from sweep.store.tail import MACHINE, Stream, TailReader, TailWriter, after, last_row
from sweep.worker.machine import gpu_row, processor_row
from sweep.worker.processes import Load
from sweep.worker.stall import activity_of

STEPS = Stream("train", "step")


def rows(*steps: int) -> list[dict[str, float]]:
    return [{"step": step, "loss": 1 / step} for step in steps]


def writer(scratch: Path) -> TailWriter:
    return TailWriter(STEPS, scratch, flush_interval_s=0.0)


def test_a_reader_gets_each_row_once_and_all_rows_of_a_replaced_file(tmp_path: Path) -> None:
    tail, reader = writer(tmp_path), TailReader(STEPS.file(tmp_path))
    assert reader.new_rows() == []
    for row in rows(1, 2):
        tail.add(row)
    assert reader.new_rows() == rows(1, 2)
    tail.add(rows(3)[0])
    assert reader.new_rows() == rows(3)
    tail.restart(rows(1, 2))  # a resumed training, whose checkpoint is of step 2
    tail.add(rows(3)[0])
    assert reader.new_rows() == rows(1, 2, 3)


def test_rows_that_a_resumed_attempt_repeats_are_not_sent_again() -> None:
    assert after(rows(1, 2, 3), "step", None) == rows(1, 2, 3)
    assert after(rows(1, 2, 3, 4), "step", 3) == rows(4)
    assert after(rows(2, 1, 2, 3), "step", None) == rows(2, 3)
    assert after([{"loss": 1.0}], "step", None) == []


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    file = STEPS.file(tmp_path)
    file.write_bytes(b'{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    reader = TailReader(file)
    assert reader.new_rows() == rows(1)
    writer(tmp_path).add(rows(3)[0])  # of the next attempt, which does not know how the last one ended
    assert reader.new_rows() == rows(3)
    assert last_row(file) == rows(3)[0]


@pytest.mark.parametrize("damage", [b"\xff\xfe\n", b"[1, 2]\n", b'"step"\n', b"{}\n", b'{"step": "7"}\n', b"1e999\n"])
def test_a_damaged_line_is_no_row_with_a_step(tmp_path: Path, damage: bytes) -> None:
    STEPS.file(tmp_path).write_bytes(damage + b'{"step": 1, "loss": 1.0}\n')
    assert after(TailReader(STEPS.file(tmp_path)).new_rows(), "step", None) == rows(1)


def test_a_lost_folder_or_a_full_disk_never_raises_and_makes_no_folder(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    tail = writer(scratch)
    tail.add(rows(1)[0])
    shutil.rmtree(scratch)  # the stage was published
    tail.add(rows(2)[0])
    tail.restart(rows(1))
    assert not scratch.exists()
    scratch.mkdir()
    tail.file.symlink_to("/dev/full")  # every write fails with ENOSPC
    tail.add(rows(3)[0])
    assert TailReader(tmp_path).new_rows() == []  # a folder in place of the file


def test_rows_wait_to_be_written_together_and_flush_writes_them(tmp_path: Path) -> None:
    now = 0.0
    tail, reader = TailWriter(STEPS, tmp_path, 2.0, clock=lambda: now), TailReader(STEPS.file(tmp_path))
    for step in (1, 2, 3):
        tail.add(rows(step)[0])
    assert reader.new_rows() == rows(1)
    now = 2.5
    tail.add(rows(4)[0])
    assert reader.new_rows() == rows(2, 3, 4)
    tail.add(rows(5)[0])
    tail.flush()
    assert reader.new_rows() == rows(5)


def test_samples_of_the_machine_are_no_progress(tmp_path: Path) -> None:
    stage = StageDirectory(tmp_path / "traces" / "9f3c1ab2d4e5")
    stage.scratch.mkdir(parents=True)
    TailWriter(MACHINE, stage.scratch, 0.0).add({"seconds": 15.0, "cpu_percent": 0.0})
    assert not activity_of([stage], worker=2**22 + 1).files
    writer(stage.scratch).add(rows(1)[0])
    assert len(activity_of([stage], worker=2**22 + 1).files) == 1


def test_use_of_processors_is_per_second_and_never_negative() -> None:
    before, now = Load(10.0, 0), Load(40.0, 3 * 1024**3)
    assert processor_row(before, now, 15.0) == {"cpu_percent": 200.0, "memory_gib": 3.0}
    assert processor_row(now, before, 15.0)["cpu_percent"] == 0.0  # a child has ended


@pytest.mark.parametrize(
    ("visible", "gpus"), [("", {"0", "1"}), ("1", {"1"}), ("GPU-aa", {"0"}), ("7", {"0", "1"}), ("0,1", {"0", "1"})]
)
def test_gpus_are_those_that_the_worker_may_use(visible: str, gpus: set[str]) -> None:
    answer = "0, GPU-aa, 97, 71680, 651.20\n1, GPU-bb, [N/A], 1024, [N/A]\nfailed\n"
    row = gpu_row(answer, visible)
    assert {name.split("_")[1] for name in row} == gpus
    if "0" in gpus:
        assert (row["gpu_0_percent"], row["gpu_0_memory_gib"], row["gpu_0_watts"]) == (97.0, 70.0, 651.2)
    if "1" in gpus:
        assert row["gpu_1_memory_gib"] == 1.0 and "gpu_1_percent" not in row
