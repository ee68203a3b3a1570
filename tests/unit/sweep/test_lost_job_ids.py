"""Jobs whose id was not noted, or torn: found again by name, never sent twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sweep.errors import InputError
from sweep.slurm import client, lifecycle, patience
from sweep.slurm.patience import WAITS_S, QueueAway
from sweep.slurm.status import TaskState
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import Store
from tests.support.slurm_controller import Connect, Controller, Waits, send
from tests.support.submissions import fan, written


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    made = Waits()
    monkeypatch.setattr(patience, "PATIENCE", made.patience())
    return made


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, waits: Waits) -> Connect:
    def to(*answers: str) -> Controller:
        made = Controller(list(answers))
        for call, double in (("sbatch", made.submit), ("find_jobs", made.find), ("scancel", made.cancel)):
            monkeypatch.setattr(client, call, double)
        monkeypatch.setattr(client, "in_queue", lambda ids: {})
        monkeypatch.setattr(client, "ended", lambda ids: ({}, ""))
        return made

    return to


@pytest.mark.parametrize("answer", ["lost", "away"])
def test_a_call_without_an_answer_is_looked_up_and_sent_once(
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
    assert directory.ids() == ids and directory.in_doubt() == {}
    assert len(waits.lines) == len(looked_up)


def test_an_answer_that_is_no_id_is_looked_up(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = connect()
    submit = controller.submit

    def without_id(script: Path, arguments: Sequence[str], dependency: str | None) -> str:
        job_id = submit(script, arguments, dependency)
        if script.stem == "02-points":
            raise QueueAway("sbatch: answered 'Welcome.', which is no job id.")
        return job_id

    monkeypatch.setattr(client, "sbatch", without_id)
    assert list(send(written(Store(tmp_path / "store"), fan())).values()) == ["101", "102", "103", "104"]


def test_a_controller_that_stays_away_leaves_nothing_unnamed(
    tmp_path: Path, connect: Connect, golden: Callable[[str, str], None]
) -> None:
    controller = connect("ok", "ok", *["away"] * 99)
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError) as raised:
        send(directory)
    names = {job: directory.queue_name(job, "toy") for job in ("03-total",)}
    text = str(raised.value).replace(directory.words, "ID store=DIR").replace(names["03-total"], "toy-total-0123456789")
    golden("slurm/controller-away.txt", text + "\n")
    assert directory.ids() == {"01-start": "101", "02-points": "102"}
    assert directory.in_doubt() == names
    assert controller.calls.count("sbatch 03-total") == 1


def test_what_was_taken_without_an_answer_is_cancelled_with_the_rest(tmp_path: Path, connect: Connect) -> None:
    controller = connect("ok", "lost", *["away"] * len(WAITS_S))
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError, match="Unable to contact"):
        send(directory)
    assert controller.cancelled == ["101", "102"]
    assert directory.ids() == {"01-start": "101", "02-points": "102"}
    assert directory.in_doubt() == {}


@pytest.mark.parametrize("taken", [True, False])
def test_a_job_whose_sender_died_is_adopted_or_sent_again(tmp_path: Path, connect: Connect, taken: bool) -> None:
    """Killed between sbatch and the file with the id."""
    controller = connect()
    store = Store(tmp_path / "store")
    directory = written(store, fan())
    name = directory.queue_name("01-start", "toy")
    directory.sending("01-start", name)
    if taken:
        controller.jobs[name] = "99"
    states = {each.job: each.state for each in lifecycle.submission_status(directory).elements}
    assert states["01-start"] is (TaskState.LOST if taken else TaskState.UNSENT)  # this squeue knows no job any more
    assert directory.ids() == ({"01-start": "99"} if taken else {})
    lifecycle.resume_submission(directory, store, client.sbatch)
    assert directory.in_doubt() == {}
    assert list(directory.ids())[:1] == (["01-start"] if taken else ["01-start.r2"])


def test_what_is_in_doubt_while_the_controller_is_away_is_neither_sent_nor_called_unsent(
    tmp_path: Path, connect: Connect
) -> None:
    controller = connect(*["away"] * 99)
    store = Store(tmp_path / "store")
    directory = written(store, fan())
    directory.sending("01-start", directory.queue_name("01-start", "toy"))
    situation = lifecycle.submission_status(directory)
    assert situation.elements[0].state is TaskState.UNKNOWN
    assert situation.source.startswith("the disk alone")
    for act in (
        lambda: lifecycle.resume_submission(directory, store, client.sbatch),
        lambda: lifecycle.cancel_submission(directory),
    ):
        with pytest.raises(InputError, match=r"whether 01-start \(toy-start-.*\) is in the queue is not known"):
            act()
    with pytest.raises(InputError, match="Nothing was sent"):
        lifecycle.queued_elsewhere(store.root, must_know=True)
    assert not [call for call in controller.calls if call.startswith("sbatch")]
    assert directory.is_open and list(directory.in_doubt()) == ["01-start"]


@pytest.mark.parametrize("damage", [b"", b"12\x00", b"\xff\xfe", b"103", b"1", b"10"])
def test_an_id_that_was_torn_is_found_again_by_name(tmp_path: Path, connect: Connect, damage: bytes) -> None:
    connect()
    directory = written(Store(tmp_path / "store"), fan())
    ids = send(directory)
    file = directory.path / "jobs" / "02-points.job"
    rest = file.read_bytes()[3:] if damage in (b"103", b"1") else b""  # another number; all else is torn
    file.write_bytes(damage + rest)
    assert directory.ids() != ids
    lifecycle.submission_status(directory)
    assert directory.ids() == ids


def test_an_id_that_was_noted_before_there_were_checks_counts(tmp_path: Path) -> None:
    directory = written(Store(tmp_path / "store"), fan())
    (directory.path / "jobs" / "01-start.job").write_text("17\n", encoding="ascii")
    assert directory.ids() == {"01-start": "17"} and directory.in_doubt() == {}


def test_a_name_that_was_torn_too_is_known_all_the_same(tmp_path: Path, connect: Connect) -> None:
    connect()
    directory = written(Store(tmp_path / "store"), fan())
    ids = send(directory)
    for kind in ("job", "sending"):
        (directory.path / "jobs" / f"02-points.{kind}").write_bytes(b"")
    lifecycle.submission_status(directory)
    assert directory.ids() == ids


def test_an_id_that_cannot_be_noted_is_named(tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full just then, and a controller that goes away before the job can be cancelled."""
    connect("ok", "ok", *["away"] * 99)
    directory = written(Store(tmp_path / "store"), fan())
    note = SubmissionDirectory.submitted

    def full(self: SubmissionDirectory, job: str, job_id: str) -> None:
        if job == "02-points":
            raise OSError(28, "No space left on device", str(self.path))
        note(self, job, job_id)

    monkeypatch.setattr(SubmissionDirectory, "submitted", full)
    with pytest.raises(InputError, match=r"No space left on device(.|\n)*scancel 101 102"):
        send(directory)
