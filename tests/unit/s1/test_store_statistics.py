"""Statistics of continuation stores, and the repair of damaged lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from s1.generate.continuations import Continuations, stream_key
from s1.generate.store_statistics import repair_shared, shared_statistics
from sweep.core.identity import key_of
from sweep.core.provenance import PROJECT
from tests.unit.s1.test_continuations import REQUEST, ask, counting, replace, small_file


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """One batch with one store: one stream of 8 tokens, the stop included, in 3 lines."""
    small_file(tmp_path / "continuations" / "9f3c")
    return tmp_path


def the_file(shared: Path) -> Path:
    return max(shared.rglob("*.jsonl"), key=lambda path: path.stat().st_size)


def test_streams_and_tokens_are_counted_by_store(shared: Path) -> None:
    small_file(shared / "continuations" / "aaaa")
    (shared / "continuations" / "9f3c" / "engine.json").write_text('{"engine": "vllm", "vllm": "0.32.0"}')
    report = shared_statistics(shared)
    assert report.lines == (
        "continuations/9f3c: 1 streams, 8 tokens in 1 files",
        "  vllm (vllm 0.32.0)",
        "continuations/aaaa: 1 streams, 8 tokens in 1 files",
    )
    assert report.faults == ()


def test_stores_of_a_redo_are_counted_checked_and_repaired_too(shared: Path) -> None:
    small_file(shared / "redo-1" / "continuations" / "9f3c")
    (path,) = (shared / "redo-1").rglob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-3])
    report = shared_statistics(shared)
    assert [line.partition(":")[0] for line in report.lines] == ["continuations/9f3c", "redo-1/continuations/9f3c"]
    assert report.faults == (f"{path.relative_to(shared)}: 1 torn or damaged lines, ignored by every reader",)
    repair_shared(shared)
    assert shared_statistics(shared).faults == ()


def test_a_store_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert shared_statistics(tmp_path).lines == ()


def test_a_file_cut_in_half_is_reported_and_repaired(shared: Path) -> None:
    path = the_file(shared)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    name = path.relative_to(shared)
    assert shared_statistics(shared).faults == (f"{name}: 1 torn or damaged lines, ignored by every reader",)
    repair_shared(shared)
    assert shared_statistics(shared).faults == ()
    assert list(shared.rglob("*.jsonl")) == [path]
    with Continuations(path.parent) as store:  # what was whole is still served
        assert store.serve(stream_key(REQUEST), replace(REQUEST, max_tokens=2)) is not None


def test_repair_removes_the_damaged_lines_and_no_others(shared: Path) -> None:
    path = the_file(shared)
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second.replace(b"1", b"2", 1) + third)
    repair_shared(shared)
    assert path.read_bytes() == first + third


def test_writers_who_disagree_are_counted_and_are_no_damage(tmp_path: Path) -> None:
    folder = tmp_path / "continuations"
    with Continuations(folder) as one, Continuations(folder) as other:
        ask(one, counting(50), REQUEST)
        ask(other, counting(4), REQUEST)
    report = shared_statistics(tmp_path)
    assert report.faults == ()
    assert report.lines[0].endswith("in 2 files; 1 chunks ignored, because they contradict earlier ones")


def test_an_unreadable_engine_file_is_reported_and_repaired(shared: Path) -> None:
    (shared / "continuations" / "9f3c" / "engine.json").write_text("[1]")
    assert shared_statistics(shared).faults == ("continuations/9f3c/engine.json: not a fingerprint of an engine",)
    repair_shared(shared)
    assert shared_statistics(shared).faults == ()


def test_an_engine_file_that_its_folder_is_not_named_after_is_a_fault(tmp_path: Path) -> None:
    flat = {"engine": "vllm", "vllm": "0.32.0"}
    folder = tmp_path / "continuations" / key_of(flat)
    small_file(folder)
    (folder / "engine.json").write_text(json.dumps(flat))
    assert shared_statistics(tmp_path).faults == ()
    (folder / "engine.json").write_text(json.dumps({**flat, "vllm": "0.33.0"}))
    assert shared_statistics(tmp_path).faults == (
        f"continuations/{folder.name}/engine.json: not a fingerprint of an engine",
    )


def test_directories_in_place_of_files_are_reported_and_set_aside(shared: Path) -> None:
    folder = shared / "continuations" / "9f3c"
    for name in ("a.jsonl", "engine.json", "model.json"):
        (folder / name).mkdir()
    assert shared_statistics(shared).faults == (
        "continuations/9f3c/a.jsonl: Is a directory, ignored by every reader",
        "continuations/9f3c/model.json: damaged, so its store is not used",
        "continuations/9f3c/engine.json: not a fingerprint of an engine",
    )
    repair_shared(shared)
    assert shared_statistics(shared).faults == ()


@pytest.mark.slow
def test_the_store_command_lists_checks_and_repairs_it(tmp_path: Path) -> None:
    """The pipeline of the default configuration, as a user meets it."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sweep", "store", *words, f"store={tmp_path}", f"results={tmp_path}/results"]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    path, _ = small_file(tmp_path / "shared" / "00000000000b" / "continuations" / "9f3c")
    assert "  continuations/9f3c: 1 streams, 8 tokens in 1 files" in run().stdout
    assert run("check").returncode == 0
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    checked = run("check")
    assert checked.returncode == 1
    assert "1 torn or damaged lines, ignored by every reader. To repair it: " in checked.stdout
    assert run("check", "--repair").returncode == 0
    assert run("check").returncode == 0
