"""Controller outages at the worst moment, and a shared store: every job is submitted once and none is lost."""

from __future__ import annotations

import dataclasses
import io
import os
import pwd
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sweep.cli.main import perform
from sweep.cli.show_status import read_status, show_status
from sweep.console import Console
from sweep.core.stage import Stage
from sweep.errors import InputError
from sweep.plan.graph import plan
from sweep.slurm import client, lifecycle, retry
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.retry import RetryPolicy
from sweep.slurm.status import Verdict
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import read_json
from tests.slurm.conftest import LAUNCH, User
from tests.support import toy_queue
from tests.support.cluster import Cluster
from tests.support.toy_queue import elsewhere, make_stage

DAEMON = pwd.getpwnam("daemon")


def chain() -> Stage:
    """start -> middle -> total, in jobs of their own."""
    return make_stage("total", 0, elsewhere(make_stage("middle", 1, make_stage("start", 1, pause_s=1))))


def write(user: User, product: Stage) -> tuple[SubmissionDirectory, Sequence[SlurmJob]]:
    """Everything but sbatch."""
    graph, work = toy_queue.graph(product, LAUNCH), plan([product], user.store.is_done)
    jobs = lifecycle.queue_jobs(graph, work)[:-1]
    order = lifecycle.SubmissionRequest("toy", (), Path.cwd(), user.results)
    return SubmissionDirectory(lifecycle.write_submission(graph, work, jobs, user.store, order)), jobs


def in_queue(cluster: Cluster, directory: SubmissionDirectory) -> dict[str, list[str]]:
    """Ids in the queue, by job, found by the names that the jobs have there."""
    rows = cluster.ask("squeue", "--noheader", "--all", "--states=all", "--format=%F|%j").splitlines()
    names = {directory.queue_name(job.name, "toy"): job.name for job in directory.read().jobs}
    found: dict[str, list[str]] = {}
    for job_id, _, name in (row.partition("|") for row in rows):
        if name in names:
            found.setdefault(names[name], []).append(job_id)
    return found


def stop_after(cluster: Cluster, job: str) -> Callable[[Path, Sequence[str], str | None], str]:
    """An sbatch behind which the controller goes away."""

    def submit(script: Path, arguments: Sequence[str], dependency: str | None) -> str:
        job_id = client.sbatch(script, arguments, dependency)
        if script.stem == job:
            cluster.stop_controller()
        return job_id

    return submit


def test_jobs_are_submitted_once_when_the_controller_goes_away_between_them(
    user: User, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, jobs = write(user, chain())
    said: list[str] = []

    def sleep(seconds: float) -> None:
        if len(said) == 2:
            cluster.start_controller()

    monkeypatch.setattr(retry, "RETRY", RetryPolicy(sleep=sleep, report=said.append))
    ids = lifecycle.send_in_waves(directory, submit=stop_after(cluster, "01-start")).ids
    assert in_queue(cluster, directory) == {job: [job_id] for job, job_id in ids.items()}
    assert list(ids) == [job.name for job in jobs]
    assert "Unable to contact slurm controller" in said[0] and said[0].endswith("Trying again in 2 s.")
    user.wait(directory)
    assert user.states(directory) == {"start": ["done"], "middle": ["done"], "total": ["done"]}


def test_jobs_left_behind_by_an_unreachable_controller_are_listed(
    user: User, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, jobs = write(user, chain())
    monkeypatch.setattr(retry, "RETRY", RetryPolicy(waits_s=(0.1,)))
    try:
        with pytest.raises(InputError) as raised:
            lifecycle.send_in_waves(directory, submit=stop_after(cluster, "02-middle"))
        first, *rest = str(raised.value).splitlines()
        ids = directory.ids()
        assert first.startswith(
            "sbatch: sbatch: error: Batch job submission failed: Unable to contact slurm controller"
        )
        assert list(ids) == ["01-start", "02-middle"]
        assert rest[0].endswith(f"scancel {' '.join(ids.values())}")
        name = directory.queue_name("03-total", "toy")
        assert name in rest[1] and directory.unconfirmed() == {"03-total": name}
        monkeypatch.setattr(retry, "RETRY", RetryPolicy(waits_s=()))
        with pytest.raises(InputError, match=r"unknown whether .* is in the queue"):
            lifecycle.resume_submission(directory, user.store)
    finally:
        cluster.start_controller()
    monkeypatch.setattr(retry, "RETRY", RetryPolicy(waits_s=(0.5,)))
    jobs = lifecycle.resume_submission(directory, user.store)
    assert [job.name for job in jobs] == ["03-total"]  # the others are still in the queue
    user.wait(directory)
    assert {job: len(found) for job, found in in_queue(cluster, directory).items()} == {
        "01-start": 1,
        "02-middle": 1,
        "03-total": 1,
    }
    assert user.states(directory) == {"start": ["done"], "middle": ["done"], "total": ["done"]}


def test_a_job_accepted_without_answer_is_found_and_not_resubmitted(
    user: User, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    lost = "Batch job submission failed: Socket timed out on send/recv operation"
    script = f'#!/bin/sh\n{shutil.which("sbatch")} "$@" >/dev/null || exit\necho sbatch: error: {lost} >&2\nexit 1\n'
    sbatch.write_text(script, encoding="utf-8")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{cluster.environment['PATH']}")
    directory = user.send(chain())
    assert in_queue(cluster, directory) == {job: [job_id] for job, job_id in directory.ids().items()}
    assert len(directory.ids()) == 3
    user.wait(directory)
    assert user.states(directory)["total"] == ["done"]


def test_a_job_whose_submitter_was_killed_before_it_got_the_id_is_recovered(user: User, cluster: Cluster) -> None:
    directory, _ = write(user, chain())

    def submit(script: Path, arguments: Sequence[str], dependency: str | None) -> str:
        job_id = client.sbatch(script, arguments, dependency)
        if script.stem == "02-middle":
            os.kill(os.getpid(), signal.SIGKILL)
        return job_id

    child = os.fork()
    if child == 0:
        lifecycle.send_in_waves(directory, submit=submit)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert list(directory.ids()) == ["01-start"] and list(directory.unconfirmed()) == ["02-middle"]
    assert [job.name for job in lifecycle.resume_submission(directory, user.store)] == ["03-total"]
    found = in_queue(cluster, directory)
    assert found["02-middle"] == [directory.ids()["02-middle"]]
    user.wait(directory)
    assert user.states(directory) == {"start": ["done"], "middle": ["done"], "total": ["done"]}


def test_the_first_job_probes_the_store(user: User, cluster: Cluster) -> None:
    points = [make_stage("points", n, make_stage("start", 1)) for n in range(3)]
    directory = user.send(make_stage("total", 0, *points))
    user.wait(directory)
    found = read_json(directory.probe_file)
    assert found["is_visible"] and found["locks"] == "" and found["lock_option"] is None
    assert found["warnings"] == [each for each in found["warnings"] if "free" in each]
    written = directory.probe_file.stat().st_mtime
    assert written <= user.directory(points[0]).record_file.stat().st_mtime


def test_a_store_in_which_nothing_can_be_published_ends_the_first_job_at_once(user: User, cluster: Cluster) -> None:
    directory, _ = write(user, chain())
    file = directory.code / "sweep" / "slurm" / "probe.py"
    text = file.read_text(encoding="utf-8").replace(
        "lambda: os.link(first, second)", 'lambda: Path("/proc/no").mkdir()'
    )
    file.write_text(text, encoding="utf-8")
    lifecycle.send_in_waves(directory)
    user.wait(directory)
    assert user.states(directory) == {"start": ["failed"], "middle": ["blocked"], "total": ["blocked"]}
    lines = (directory.logs / "01-start_0.txt").read_text(encoding="utf-8").splitlines()
    assert lines[-1].startswith("store: ") and "cannot link a file" in lines[-1] and len(lines) == 2


@pytest.mark.parametrize("folder", ["100%j %A", "it's"])
def test_a_store_may_be_at_a_path_that_sbatch_has_signs_for(cluster: Cluster, tmp_path: Path, folder: str) -> None:
    user = User(cluster, tmp_path / folder)
    points = [make_stage("points", n) for n in range(2)]
    directory = user.send(make_stage("total", 5, *points))
    user.wait(directory)
    assert user.states(directory) == {"points": ["done"] * 2, "total": ["done"]}
    assert "restart 0" in user.log(points[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="to give files away one has to be root")
def test_in_a_shared_store_ones_own_is_meant_and_others_are_waited_for(user: User, cluster: Cluster) -> None:
    shared = make_stage("start", 1, pause_s=4)
    theirs = user.send(make_stage("total", 1, shared), name="theirs")
    for path in (theirs.path, theirs.submission_file, theirs.code):
        os.chown(path, DAEMON.pw_uid, DAEMON.pw_gid)
    theirs.write(dataclasses.replace(theirs.read(), user="daemon", uid=DAEMON.pw_uid))
    for path in (theirs.submission_file, theirs.copy_file):
        os.chown(path, DAEMON.pw_uid, DAEMON.pw_gid)
    mine = user.send(make_stage("total", 2, shared), name="mine")
    assert list(mine.ids()) == ["01-total"]  # theirs is in the queue, and waited for
    (theirs.path.parent / theirs.name).rename(theirs.path.parent / "99999999-newest")
    theirs = SubmissionDirectory(theirs.path.parent / "99999999-newest")
    said = io.StringIO()
    console, store = Console(file=said, width=200), f"store={user.store.root}"
    assert perform(["status", store], console) in (Verdict.RUNNING, Verdict.FAILED)  # theirs fails without its folder
    assert said.getvalue().startswith(mine.name)
    assert "1 submission of daemon is here: 99999999-newest." in said.getvalue()
    for act in ("resume", "cancel"):
        with pytest.raises(InputError, match="belongs to daemon"):
            perform([act, theirs.name, store], console)
    assert theirs.is_open
    assert perform(["cancel", theirs.name, "--yes", store], console) == 0
    assert not theirs.is_open
    user.wait(mine)
    show_status(console, read_status(mine, lifecycle.submission_status(mine)))
