"""A damaged or lost submission.json, alone or beside an equal submission: no job is lost or submitted twice."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweep.cli.main import perform
from sweep.cli.slurm import submit
from sweep.config.compose import Composition, Entry
from sweep.console import Console
from sweep.core.pipeline import SweepRequest
from sweep.errors import InputError
from sweep.plan.planning import planned
from sweep.slurm import client, lifecycle
from sweep.slurm.status import ElementState, SlurmInfo, Verdict
from sweep.slurm.submission import DamagedSubmission, SubmissionDirectory, pending_stages, submissions
from sweep.store.directory import Store
from tests.support import toy_queue
from tests.support.submissions import LAUNCH, fan, written

DAMAGES = (b"", b"{}", b"[1]", b'{"name": "toy"', b'{"name": "toy"}', b"\xff\xfe", None)


class Cluster:
    """Takes every job; all of them wait until they are cancelled."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}  # by id
        self.waits: dict[str, str | None] = {}
        self.sizes: dict[str, int] = {}
        self.cancelled: list[str] = []

    def sbatch(self, script: Path, arguments: Sequence[str], dependency: str | None) -> str:
        job_id = str(101 + len(self.names))
        lines = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
        parts = (line.removeprefix("#SBATCH --").partition("=") for line in lines)
        options = {name: value for name, _, value in parts}
        self.names[job_id], self.waits[job_id] = options["job-name"], dependency
        bounds = options.get("array", "0-0").partition("%")[0].split("-")
        self.sizes[job_id] = int(bounds[1]) + 1
        return job_id

    def find_job(self, name: str) -> str | None:
        return next((job_id for job_id, each in self.names.items() if each == name), None)

    def queued_jobs(self, ids: Sequence[str]) -> dict[str, SlurmInfo]:
        alive = [each for each in ids if each in self.names and each not in self.cancelled]
        elements = {each: [f"{each}_{n}" for n in range(self.sizes[each])] for each in alive}
        return {
            name: SlurmInfo("PENDING")
            for each in alive
            for name in (elements[each] if self.sizes[each] > 1 else [each])
        }

    def stages(self) -> list[str]:
        """Of the jobs in the queue, without what makes their names unique."""
        return [
            name.split("-")[1].partition(".")[0] for job_id, name in self.names.items() if job_id not in self.cancelled
        ]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    for call in ("sbatch", "find_job", "queued_jobs"):
        monkeypatch.setattr(client, call, getattr(made, call))
    monkeypatch.setattr(client, "scancel", made.cancelled.extend)
    monkeypatch.setattr(client, "ended_jobs", lambda ids: ({}, ""))
    monkeypatch.setattr(client, "refuse_without_slurm", lambda: None)
    monkeypatch.setattr(client, "sbatch", made.sbatch)
    return made


def sent(store: Store, points: int = 3) -> SubmissionDirectory:
    directory = written(store, fan(points))
    lifecycle.send_in_waves(directory)
    return directory


def again(store: Store, yes: bool = False, points: int = 3) -> int:
    """The command of such a submission once more."""
    graph = toy_queue.graph(fan(points), LAUNCH)
    entry = Entry("tests.support.toy_queue", store.root, store.root / "results", plan=False, yes=yes, also=())
    composition = Composition(entry, (), SweepRequest("toy", (), entry.store))
    return submit(Console(file=io.StringIO()), graph, planned(graph, store), composition)


def damage(file: Path, content: bytes | None) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)


def said_by(act: str, *words: str, exit_status: int = 0) -> str:
    console = Console(file=io.StringIO(), width=250, highlight=False)
    assert perform([act, *words], console) == exit_status
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("content", DAMAGES)
def test_a_damaged_submission_is_restored_from_its_second_copy(
    tmp_path: Path, cluster: Cluster, content: bytes | None
) -> None:
    store = Store(tmp_path / "store")
    directory = sent(store)
    whole, submission = directory.submission_file.read_bytes(), directory.read()
    damage(directory.submission_file, content)
    assert directory.read() == submission and submissions(store.root) == [directory]
    assert {each.state for each in lifecycle.submission_status(directory).elements} == {ElementState.WAITING}
    assert again(store) == 0
    assert cluster.stages() == ["start", "points", "total", "publish", "publish"]
    assert "restored from its second copy" in said_by("resume", directory.name, f"store={store.root}")
    assert directory.submission_file.read_bytes() == whole


def test_another_digit_in_it_is_noticed(tmp_path: Path, cluster: Cluster) -> None:
    directory = sent(Store(tmp_path / "store"))
    submission = directory.read()
    text = directory.submission_file.read_text(encoding="utf-8")
    directory.submission_file.write_text(text.replace('"throttle": 2', '"throttle": 3'), encoding="utf-8")
    assert directory.read() == submission


@pytest.mark.parametrize("content", DAMAGES)
def test_a_fully_damaged_submission_lists_its_jobs_and_resubmits_none(
    tmp_path: Path, cluster: Cluster, content: bytes | None
) -> None:
    store = Store(tmp_path / "store")
    directory, other = sent(store), sent(store, 5)
    for file in (directory.submission_file, directory.copy_file):
        damage(file, content)
    place, jobs = f"store={store.root}", "101 (01-start), 102 (02-points), 103 (03-total), 104 (04-publish)"
    whole = said_by("status", place, exit_status=Verdict.RUNNING)
    assert whole.startswith(other.name) and f"{directory.name}: damaged" in whole and jobs in whole
    mine = said_by("status", directory.name, place, exit_status=Verdict.UNKNOWN)
    assert "In the queue: 101, 102_0, 102_1, 102_2, 103, 104." in mine and jobs in mine
    assert f"python -m sweep cancel {directory.name} {place}" in mine
    listed = json.loads(said_by("status", directory.name, "--json", place, exit_status=Verdict.UNKNOWN))
    assert (listed["state"], listed["elements"]) == ("unknown", []) and jobs in listed["warnings"][1]
    assert pending_stages(store.root) >= {f"total/{fan().key}", fan().address}
    with pytest.raises(DamagedSubmission):
        perform(["resume", directory.name, place], Console(file=io.StringIO()))
    before = len(cluster.names)
    perform(["cancel", other.name, place], Console(file=io.StringIO()))
    with pytest.raises(InputError, match=rf"^submission {directory.name}: damaged.* 102 \(02-points\)[^\n]*--yes"):
        again(store)
    with pytest.raises(InputError, match="--yes"):
        perform(["resume", other.name, place], Console(file=io.StringIO()))
    assert len(cluster.names) == before
    assert "6 elements cancelled" in said_by("cancel", directory.name, place)
    assert set(cluster.cancelled) >= {"101", "102", "103", "104"}
    assert again(store) == 0
    assert cluster.stages() == ["start", "points", "total", "publish"]


def test_it_is_sent_all_the_same_if_that_is_meant(tmp_path: Path, cluster: Cluster) -> None:
    store = Store(tmp_path / "store")
    directory = sent(store)
    for file in (directory.submission_file, directory.copy_file):
        file.unlink()
    assert again(store, yes=True) == 0
    assert cluster.stages().count("points") == 2


def test_an_unconfirmed_job_of_a_damaged_submission_is_looked_up_by_name(tmp_path: Path, cluster: Cluster) -> None:
    store = Store(tmp_path / "store")
    directory = sent(store)
    for file in (directory.submission_file, directory.copy_file, directory.path / "jobs" / "02-points.job"):
        file.write_bytes(b"")
    (directory.path / "jobs" / "02-points.sending").write_bytes(b"toy-po")
    assert "102_0" in said_by("status", f"store={store.root}", exit_status=Verdict.UNKNOWN)
    said_by("cancel", f"store={store.root}")
    assert cluster.stages() == []


def test_stages_unrelated_to_a_damaged_submission_are_submitted(tmp_path: Path, cluster: Cluster) -> None:
    store = Store(tmp_path / "store")
    directory = sent(store)
    cluster.cancelled += ["101", "102", "103"]  # only its last job is left, which makes no stage
    for file in (directory.submission_file, directory.copy_file):
        file.write_bytes(b"{}")
    assert again(store) == 0


def test_resume_leaves_to_others_what_they_have_in_the_queue(tmp_path: Path, cluster: Cluster) -> None:
    """Killed before the first sbatch, the same command once more, then resume of the first."""
    store = Store(tmp_path / "store")
    first = written(store, fan())
    second = sent(store)
    assert cluster.stages() == ["start", "points", "total", "publish"]
    assert [job.name for job in lifecycle.resume_submission(first, store, cluster.sbatch)] == ["04-publish"]
    assert cluster.stages() == ["start", "points", "total", "publish", "publish"]
    assert cluster.waits[first.ids()["04-publish"]] == f"afterok:{second.ids()['03-total']}"


def test_resume_sends_what_others_do_not_make_and_waits_for_the_rest(tmp_path: Path, cluster: Cluster) -> None:
    store = Store(tmp_path / "store")
    first = written(store, fan(4))
    second = sent(store, 2)  # makes start and two of the four points
    assert [(job.name, len(job.elements)) for job in lifecycle.resume_submission(first, store, cluster.sbatch)] == [
        ("02-points.r2", 2),
        ("03-total", 1),
        ("04-publish", 1),
    ]
    ids = first.ids()
    assert cluster.waits[ids["02-points.r2"]] == f"afterok:{second.ids()['01-start']}"
    points = second.ids()["02-points"]
    assert cluster.waits[ids["03-total"]] == f"afterok:{ids['02-points.r2']},afterok:{points}_0,afterok:{points}_1"
