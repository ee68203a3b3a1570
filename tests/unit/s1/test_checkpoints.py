"""A checkpoint in mid-training is resumed from byte for byte as it was saved, or set aside and its fault logged."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from s1.train.checkpoints import (
    Publisher,
    checkpoint_fault,
    mark_complete,
    newest_intact,
    publish_checkpoint,
    remove_unfinished,
    saving_folder,
)
from s1.train.sft import train
from s1.train.trainer import TrainerHooks, arguments_of, resume_of
from tests.support.training import RECIPE, SETTINGS, metrics, training_inputs, work


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, tuple[Path, ...]]:
    return training_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory) -> Path:
    """A run to its end: its product, and in scratch the checkpoints of steps 2 and 4."""
    place = tmp_path_factory.mktemp("undisturbed")
    train(work(inputs, place))
    return place


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x04
    path.write_bytes(content)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_a_link(path: Path) -> None:
    elsewhere = path.parents[1] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def empty(path: Path) -> None:
    path.write_bytes(b"")


SAVED = (
    *("config.json", "generation_config.json", "model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt"),
    *("tokenizer.json", "tokenizer_config.json", "trainer_state.json", "training_args.bin", "chat_template.jinja"),
    "complete",
)


def test_every_file_of_a_checkpoint_is_tried(undisturbed) -> None:
    assert {path.name for path in (undisturbed / "scratch" / "checkpoint-4").iterdir()} == set(SAVED)


def go_on(undisturbed: Path, inputs, place: Path, harm: Callable[[Path], None]) -> dict[str, object]:
    """Resume in a copy of the scratch, harmed; the product must be that of the undisturbed run, to the byte."""
    shutil.copytree(undisturbed / "scratch", place / "scratch")
    harm(place / "scratch")
    summary = train(work(inputs, place))
    assert metrics(place / "out") == metrics(undisturbed / "out")
    for path in (undisturbed / "out").iterdir():
        assert (place / "out" / path.name).read_bytes() == path.read_bytes(), path.name
    return dict(summary)


@pytest.mark.parametrize("name", SAVED)
def test_a_flipped_bit_in_any_file_leads_to_the_checkpoint_before_it(undisturbed, inputs, tmp_path, caplog, name):
    summary = go_on(undisturbed, inputs, tmp_path, lambda scratch: flip(scratch / "checkpoint-4" / name))
    assert (summary["resumed_at_step"], summary["checkpoints_rejected"]) == (2, 1)
    (line,) = [record.message for record in caplog.records if "set aside" in record.message]
    assert name in line and "checkpoint-4" in line and "\n" not in line
    assert (tmp_path / "scratch" / "damaged-checkpoint-4" / name).exists()


HARMS = {
    "halved": lambda folder: halve(folder / "optimizer.pt"),
    "emptied": lambda folder: empty(folder / "trainer_state.json"),
    "removed": lambda folder: (folder / "scheduler.pt").unlink(),
    "a folder": lambda folder: make_a_folder(folder / "model.safetensors"),
    "a link": lambda folder: make_a_link(folder / "model.safetensors"),
    "a file more": lambda folder: empty(folder / "rng_state_1.pth"),
    "the mark emptied": lambda folder: empty(folder / "complete"),
    "the mark removed": lambda folder: (folder / "complete").unlink(),
    "the mark a folder": lambda folder: make_a_folder(folder / "complete"),
    "a mark of nothing": lambda folder: (folder / "complete").write_text("{}"),
    "a mark of numbers": lambda folder: (folder / "complete").write_text('{"files": {"config.json": 3}, "inputs": {}}'),
    "a list for a mark": lambda folder: (folder / "complete").write_text("[1]"),
    "all of it removed": lambda folder: [path.unlink() for path in folder.iterdir()],
    "a file in its place": lambda folder: (shutil.rmtree(folder), empty(folder)),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_whatever_becomes_of_a_checkpoint_it_is_not_resumed_from(undisturbed, tmp_path, caplog, harm):
    shutil.copytree(undisturbed / "scratch", tmp_path, dirs_exist_ok=True)
    harm(tmp_path / "checkpoint-4")
    resume = newest_intact(tmp_path)
    assert (resume.checkpoint, resume.rejected) == (tmp_path / "checkpoint-2", 1)
    assert "set aside as damaged-checkpoint-4" in caplog.text
    assert newest_intact(tmp_path) == resume, "and still counts at the next resume"


def test_with_no_good_checkpoint_left_training_begins_anew(undisturbed, inputs, tmp_path):
    def harm(scratch: Path) -> None:
        for step in (2, 4):
            flip(scratch / f"checkpoint-{step}" / "trainer_state.json")

    summary = go_on(undisturbed, inputs, tmp_path, harm)
    assert (summary["resumed_at_step"], summary["checkpoints_rejected"]) == (0, 2)


def test_a_checkpoint_that_is_damaged_twice_is_set_aside_beside_the_first(undisturbed, tmp_path):
    for _ in range(2):
        shutil.copytree(undisturbed / "scratch" / "checkpoint-4", tmp_path / "checkpoint-4")
        flip(tmp_path / "checkpoint-4" / "optimizer.pt")
        newest_intact(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged-checkpoint-4", "damaged-checkpoint-4-2"]


def test_folders_with_other_names_are_not_checkpoints(undisturbed, tmp_path):
    shutil.copytree(undisturbed / "scratch" / "checkpoint-2", tmp_path / "checkpoint-2")
    for name in ("checkpoint-4.bak", "checkpoint-copy", "checkpoint-2-old"):
        (tmp_path / name).mkdir()
    assert newest_intact(tmp_path).checkpoint == tmp_path / "checkpoint-2"
    assert len(list(tmp_path.iterdir())) == 4


def of_an_earlier_version(checkpoint: Path) -> None:
    """The mark as it was: sizes alone."""
    names = sorted(path.name for path in checkpoint.iterdir() if path.name != "complete")
    (checkpoint / "complete").write_text(json.dumps({name: (checkpoint / name).stat().st_size for name in names}))


def test_a_mark_of_an_earlier_version_is_taken_with_a_warning(undisturbed, inputs, tmp_path, caplog):
    summary = go_on(undisturbed, inputs, tmp_path, lambda scratch: of_an_earlier_version(scratch / "checkpoint-4"))
    assert summary["resumed_at_step"] == 4
    assert "checkpoint-4: saved by an earlier version, without checksums" in caplog.text


@pytest.mark.parametrize("harm", [flip, halve])
def test_a_mark_of_an_earlier_version_with_wrong_sizes_or_json_is_refused(undisturbed, tmp_path, harm):
    shutil.copytree(undisturbed / "scratch", tmp_path, dirs_exist_ok=True)
    of_an_earlier_version(tmp_path / "checkpoint-4")
    state = tmp_path / "checkpoint-4" / "trainer_state.json"
    if harm is flip:
        state.write_bytes(state.read_bytes().replace(b":", b";", 1))
    else:
        halve(state)
    assert newest_intact(tmp_path).checkpoint == tmp_path / "checkpoint-2"


def test_a_checkpoint_of_other_inputs_is_not_resumed_from(inputs, undisturbed, tmp_path, caplog):
    """Rows or a start model that were made again with other bytes: the run would mix the two."""
    train(replace(work(inputs, tmp_path), digests={"data": ("aaaa",), "model": ("bbbb",)}))
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    again = replace(work(inputs, tmp_path), digests={"data": ("cccc",), "model": ("bbbb",)})
    assert train(again)["resumed_at_step"] == 0
    assert "trained on data aaaa, but data is now cccc" in caplog.text


# ----------------------------------------------------------------------------------------------- two writers, and room


def a_checkpoint(folder: Path, step: int, content: bytes) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "optimizer.pt").write_bytes(content)
    return checkpoint


def test_two_attempts_that_save_the_same_step_leave_the_bytes_of_one(tmp_path, caplog):
    one, other = (a_checkpoint(tmp_path / name, 2, name.encode() * 1000) for name in ("saving-a-1", "saving-b-2"))
    publish_checkpoint(one, {}, 1)
    publish_checkpoint(other, {}, 1)
    assert checkpoint_fault(tmp_path / "checkpoint-2", {}) is None
    assert (tmp_path / "checkpoint-2" / "optimizer.pt").read_bytes() == b"saving-a-1" * 1000
    assert "another attempt at this stage has already saved it" in caplog.text


@pytest.mark.parametrize(("save_total", "kept"), [(1, ["checkpoint-12"]), (2, ["checkpoint-10", "checkpoint-12"])])
def test_the_newest_are_kept(tmp_path, save_total, kept):
    publisher = Publisher({}, save_total)
    for step in (2, 4, 10, 12):
        publisher.publish(a_checkpoint(saving_folder(tmp_path), step, b"12345678"))
    publisher.wait()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == kept
    assert not list(saving_folder(tmp_path).iterdir())


def test_an_error_of_the_thread_that_publishes_is_raised_at_the_next_checkpoint(tmp_path):
    publisher = Publisher({}, 1)
    publisher.publish(tmp_path / "saving-a-1" / "checkpoint-2")
    with pytest.raises(FileNotFoundError):
        publisher.publish(a_checkpoint(saving_folder(tmp_path), 4, b"1"))


def test_a_file_that_changes_while_it_is_hashed_is_not_marked_complete(tmp_path, monkeypatch):
    checkpoint = a_checkpoint(tmp_path, 2, b"1")
    monkeypatch.setattr("s1.train.checkpoints.sha256_of", lambda path: (checkpoint / "more.pt").touch() or "0" * 64)
    with pytest.raises(RuntimeError, match="its files changed while they were hashed"):
        mark_complete(checkpoint)
    assert not (checkpoint / "complete").exists()


def test_what_ended_attempts_left_unfinished_is_removed_and_a_living_ones_is_spared(tmp_path):
    ours, living = saving_folder(tmp_path), tmp_path / f"saving-{socket.gethostname()}-{os.getppid()}"
    for folder in (ours, living, tmp_path / "saving-elsewhere-1", tmp_path / "saving-group-77-29500"):
        a_checkpoint(folder, 2, b"half")
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [living]


def test_all_processes_of_a_group_write_into_one_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job/7")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert saving_folder(tmp_path) == tmp_path / "saving-group-job_7-29500"


def test_a_resume_from_an_intact_checkpoint_logs_no_warning(undisturbed, tmp_path, caplog):
    shutil.copytree(undisturbed / "scratch", tmp_path, dirs_exist_ok=True)
    with caplog.at_level(logging.WARNING):
        assert newest_intact(tmp_path).step == 4
    assert not caplog.records


@pytest.mark.slow
def test_all_processes_of_a_group_go_on_from_what_its_first_one_found(undisturbed, tmp_path):
    """It alone hashes and sets aside; the others wait for its word."""
    shutil.copytree(undisturbed / "scratch", tmp_path / "scratch")
    flip(tmp_path / "scratch" / "checkpoint-4" / "optimizer.pt")
    program = tmp_path / "member.py"
    program.write_text("from tests.unit.s1.test_checkpoints import member; member()")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=2"]
    subprocess.run(
        [sys.executable, *launcher, str(program)],
        env={**os.environ, "PLACE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    found = {path.name: path.read_text() for path in tmp_path.glob("rank-*")}
    assert found == dict.fromkeys(["rank-0", "rank-1"], "checkpoint-2, 1 rejected")


def member() -> None:
    """Run by each process of a group."""
    place = Path(os.environ["PLACE"])
    hooks = TrainerHooks(6, place / "scratch", lambda *_progress: None, lambda: False, None)
    arguments = arguments_of(RECIPE, hooks, SETTINGS, int(os.environ["WORLD_SIZE"]))
    resume = resume_of(arguments, hooks)
    assert resume.checkpoint is not None
    found = f"{resume.checkpoint.name}, {resume.rejected} rejected"
    (place / f"rank-{os.environ['RANK']}").write_text(found)
