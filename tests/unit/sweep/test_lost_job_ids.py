"""Jobs whose id is missing or truncated are found by name and never submitted twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sweep.errors import InputError
from sweep.slurm import client, lifecycle, retry
from sweep.slurm.retry import WAITS_S, SlurmUnavailable
from sweep.slurm.status import ElementState
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import Store
from tests.support.slurm_controller import Connect, Controller, Waits, send
from tests.support.submissions import fan, written


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    made = Waits()
    monkeypatch.setattr(retry, "RETRY", made.retry_policy())
    return made


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, waits: Waits) -> Connect:
    def to(*answers: str) -> Controller:
        made = Controller(list(answers))
        for call in ("sbatch", "find_job", "scancel"):
            monkeypatch.setattr(client, call, getattr(made, call))
        monkeypatch.setattr(client, "queued_jobs", lambda ids: {})
        monkeypatch.setattr(client, "ended_jobs", lambda ids: ({}, ""))
        return made

    return to


@pytest.mark.parametrize("answer", ["lost", "away"])
def test_an_sbatch_without_answer_is_looked_up_and_submitted_once(
    tmp_path: Path, connect: Connect, answer: str, waits: Waits
) -> None:
    controller = connect("ok", answer, "away", "away")
    directory = written(Store(tmp_path / "store"), fan())
    ids = send(directory)
    assert list(controller.jobs.values()) == list(ids.values()) == ["101", "102", "103", "104"]
    looked_up = ["squeue"] * (3 if answer == "lost" else 4)  # not there: only twice said it is sent again
    again = [] if answer == "lost" else ["sbatch 02-points"]
    assert controller.calls == [
        *("sbatch 01-start", "sbatch 02-points", *looked_up, *again),
        *("sbatch 03-total", "sbatch 04-publish"),
    ]
    assert directory.ids() == ids and directory.unconfirmed() == {}
    assert len(waits.lines) == len(looked_up)


def test_an_sbatch_answer_without_id_is_looked_up(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = connect()
    submit = controller.sbatch

    def without_id(script: Path, arguments: Sequence[str], dependency: str | None) -> str:
        job_id = submit(script, arguments, dependency)
        if script.stem == "02-points":
            raise SlurmUnavailable("sbatch: answered 'Welcome.', which is not a job id.")
        return job_id

    monkeypatch.setattr(client, "sbatch", without_id)
    assert list(send(written(Store(tmp_path / "store"), fan())).values()) == ["101", "102", "103", "104"]


def test_every_job_left_behind_by_an_unreachable_controller_is_listed(
    tmp_path: Path, connect: Connect, golden: Callable[[str, str], None]
) -> None:
    controller = connect("ok", "ok", *["away"] * 99)
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError) as raised:
        send(directory)
    names = {job: directory.queue_name(job, "toy") for job in ("03-total",)}
    text = (
        str(raised.value)
        .replace(directory.arguments, "ID store=DIR")
        .replace(names["03-total"], "toy-total-0123456789")
    )
    golden("slurm/controller-away.txt", text + "\n")
    assert directory.ids() == {"01-start": "101", "02-points": "102"}
    assert directory.unconfirmed() == names
    assert controller.calls.count("sbatch 03-total") == 1


def test_jobs_accepted_without_answer_are_cancelled_too(tmp_path: Path, connect: Connect) -> None:
    controller = connect("ok", "lost", *["away"] * len(WAITS_S))
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError, match="Unable to contact"):
        send(directory)
    assert controller.cancelled == ["101", "102"]
    assert directory.ids() == {"01-start": "101", "02-points": "102"}
    assert directory.unconfirmed() == {}


@pytest.mark.parametrize("taken", [True, False])
def test_a_job_whose_submitter_died_is_recovered_or_resubmitted(tmp_path: Path, connect: Connect, taken: bool) -> None:
    """Killed between sbatch and the file with the id."""
    controller = connect()
    store = Store(tmp_path / "store")
    directory = written(store, fan())
    name = directory.queue_name("01-start", "toy")
    directory.mark_sending("01-start", name)
    if taken:
        controller.jobs[name] = "99"
    states = {each.job: each.state for each in lifecycle.submission_status(directory).elements}
    assert states["01-start"] is (
        ElementState.LOST if taken else ElementState.UNSENT
    )  # this squeue knows no job any more
    assert directory.ids() == ({"01-start": "99"} if taken else {})
    lifecycle.resume_submission(directory, store, client.sbatch)
    assert directory.unconfirmed() == {}
    assert list(directory.ids())[:1] == ["01-start"]
    assert ("01-start.r2" in directory.ids()) is taken


def test_unconfirmed_jobs_are_not_resubmitted_while_the_controller_is_away(tmp_path: Path, connect: Connect) -> None:
    controller = connect(*["away"] * 99)
    store = Store(tmp_path / "store")
    directory = written(store, fan())
    directory.mark_sending("01-start", directory.queue_name("01-start", "toy"))
    status = lifecycle.submission_status(directory)
    assert status.elements[0].state is ElementState.UNKNOWN
    assert status.source.startswith("the disk alone")
    for act in (
        lambda: lifecycle.resume_submission(directory, store, client.sbatch),
        lambda: lifecycle.cancel_submission(directory),
    ):
        with pytest.raises(InputError, match=r"unknown whether 01-start \(toy-start-.*\) is in the queue"):
            act()
    with pytest.raises(InputError, match="Nothing was submitted"):
        lifecycle.queued_elsewhere(store.root, is_required=True)
    assert not [call for call in controller.calls if call.startswith("sbatch")]
    assert directory.is_open and list(directory.unconfirmed()) == ["01-start"]


@pytest.mark.parametrize("damage", [b"", b"12\x00", b"\xff\xfe", b"103", b"1", b"10"])
def test_a_truncated_id_is_recovered_by_name(tmp_path: Path, connect: Connect, damage: bytes) -> None:
    connect()
    directory = written(Store(tmp_path / "store"), fan())
    ids = send(directory)
    file = directory.path / "jobs" / "02-points.job"
    rest = file.read_bytes()[3:] if damage in (b"103", b"1") else b""  # another number; all else is torn
    file.write_bytes(damage + rest)
    assert directory.ids() != ids
    lifecycle.submission_status(directory)
    assert directory.ids() == ids


def test_an_id_without_checksum_is_accepted(tmp_path: Path) -> None:
    directory = written(Store(tmp_path / "store"), fan())
    (directory.path / "jobs" / "01-start.job").write_text("17\n", encoding="ascii")
    assert directory.ids() == {"01-start": "17"} and directory.unconfirmed() == {}


def test_a_truncated_queue_name_is_recovered(tmp_path: Path, connect: Connect) -> None:
    connect()
    directory = written(Store(tmp_path / "store"), fan())
    ids = send(directory)
    for kind in ("job", "sending"):
        (directory.path / "jobs" / f"02-points.{kind}").write_bytes(b"")
    lifecycle.submission_status(directory)
    assert directory.ids() == ids


def test_an_id_that_cannot_be_written_is_reported(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full just then, and a controller that goes away before the job can be cancelled."""
    connect("ok", "ok", *["away"] * 99)
    directory = written(Store(tmp_path / "store"), fan())
    note = SubmissionDirectory.record_id

    def full(self: SubmissionDirectory, job: str, job_id: str) -> None:
        if job == "02-points":
            raise OSError(28, "No space left on device", str(self.path))
        note(self, job, job_id)

    monkeypatch.setattr(SubmissionDirectory, "record_id", full)
    with pytest.raises(InputError, match=r"No space left on device(.|\n)*scancel 101 102"):
        send(directory)
