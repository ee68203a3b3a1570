"""`sweep status` of real jobs, as sacct, scontrol and squeue alone tell how they fare."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pwd
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.cli.main import perform
from sweep.console import Console
from sweep.slurm import lifecycle
from sweep.slurm.status import Verdict
from sweep.slurm.submission import SubmissionDirectory, submissions
from tests.slurm.conftest import LAUNCH, User, requesting
from tests.support.cluster import Cluster
from tests.support.toy_queue import count_stage, make_stage

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def logged_in(accounted: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    """A user of the cluster with accounting."""
    monkeypatch.setenv("SLURM_CONF", accounted.environment["SLURM_CONF"])
    made = User(accounted, tmp_path)
    yield made
    for directory in submissions(made.store.root):
        lifecycle.cancel_submission(directory)
        made.wait(directory)


def told(user: User, directory: SubmissionDirectory, expected: Verdict) -> dict[str, dict[str, Any]]:
    """What `sweep status --json` says of each element, by the name of its stage and its index."""
    said = io.StringIO()
    words = ["status", directory.name, "--json", f"store={user.store.root}"]
    assert perform(words, Console(file=said, width=60)) == expected, said.getvalue()
    content = json.loads(said.getvalue())
    names = [
        f"{each['stages'][0].partition('/')[0]} {each['job_id'].partition('_')[2]}" for each in content["elements"]
    ]
    return {name.rstrip(): each for name, each in zip(names, content["elements"], strict=True)}


def wait_for(user: User, directory: SubmissionDirectory, name: str, state: str) -> None:
    def is_there() -> bool:
        statuses = lifecycle.submission_status(directory).elements
        return any(each.element.stages[0].startswith(name) and each.state.value == state for each in statuses)

    user.cluster.wait_until(is_there, f"{name} is {state}", 30)


ONE_AT_A_TIME = dataclasses.replace(requesting(sbatch=("--no-requeue",), without=("--requeue",)), throttle=1)


def test_every_state_with_accounting_and_while_it_is_down(logged_in: User, tmp_path: Path) -> None:
    user, cluster = logged_in, logged_in.cluster
    quick, broken = make_stage("quick", 1), make_stage("broken", 2, needs=tmp_path / "missing")
    points = [make_stage("points", 10 + number, pause_s=40) for number in range(2)]
    stopped = make_stage("stopped", 3, pause_s=40)
    directory = user.send(make_stage("total", 0, quick, broken, *points, stopped), ONE_AT_A_TIME)
    for name, state in (("quick", "done"), ("broken", "failed"), ("points", "running"), ("stopped", "running")):
        wait_for(user, directory, name, state)
    cluster.ask("scancel", directory.ids()[next(job for job in directory.ids() if job.endswith("stopped"))])
    wait_for(user, directory, "stopped", "cancelled")
    elements = told(user, directory, Verdict.FAILED)
    assert {name: each["state"] for name, each in elements.items()} == {
        "quick": "done",
        "broken": "failed",
        "points 0": "running",
        "points 1": "waiting",
        "stopped": "cancelled",
        "total": "blocked",
    }
    assert elements["broken"]["ending"] == "FAILED exit 1" and "missing is not there" in elements["broken"]["message"]
    assert elements["stopped"]["ending"] == f"CANCELLED by {ME}"
    assert elements["points 1"]["reason"] == "JobArrayTaskLimit"
    assert elements["points 0"]["nodes"] == cluster.job(elements["points 0"]["job_id"])["NodeList"]
    assert cluster.accounting is not None
    cluster.accounting.stop_daemon()
    try:
        without = told(user, directory, Verdict.FAILED)
    finally:
        cluster.accounting.start_daemon()
    assert {name: each["state"] for name, each in without.items()} == {
        name: each["state"] for name, each in elements.items()
    }
    assert (without["broken"]["ending"], without["stopped"]["ending"]) == ("FAILED exit 1", "CANCELLED")


def test_expected_start_restarts_and_a_failed_node(logged_in: User) -> None:
    user, cluster = logged_in, logged_in.cluster
    whole_node = ("--exclusive", "--nodelist=127.0.0.2")
    first = user.send(make_stage("first", 1, pause_s=40), requesting(sbatch=whole_node))
    wait_for(user, first, "first", "running")
    second = user.send(make_stage("second", 2), requesting(sbatch=whole_node), "later")
    cluster.wait_until(lambda: told(user, second, Verdict.RUNNING)["second"]["expected_start"], "a start is expected")
    waiting = told(user, second, Verdict.RUNNING)["second"]
    assert (waiting["state"], waiting["reason"]) == ("waiting", "Resources")
    cluster.ask("scancel", second.ids()["01-second"])
    requeued = user.send(make_stage("again", 3, pause_s=40), LAUNCH, "again")
    wait_for(user, requeued, "again", "running")
    cluster.ask("scontrol", "requeue", requeued.ids()["01-again"])
    wait_for(user, requeued, "again", "waiting")
    assert told(user, requeued, Verdict.RUNNING)["again"]["restarts"] == 1
    cluster.ask("scontrol", "update", f"jobid={first.ids()['01-first']}", "requeue=0")
    cluster.ask("scontrol", "update", "nodename=127.0.0.2", "state=DOWN", "reason=test")
    wait_for(user, first, "first", "failed")
    failed = told(user, first, Verdict.FAILED)["first"]
    assert (failed["ending"], failed["nodes"]) == ("NODE_FAIL", "127.0.0.2")
    assert "--exclude=127.0.0.2" in failed["advice"]
    cluster.wait_until(lambda: "down" not in cluster.ask("sinfo", "-h", "-N", "-o", "%T"), "the node is back")


def test_a_killed_job_has_its_peak_memory_beside_the_limit(logged_in: User) -> None:
    """Killed as by a node that runs out of memory; this cluster has no cgroups, which would say OUT_OF_MEMORY."""
    user, cluster = logged_in, logged_in.cluster
    directory = user.send(make_stage("greedy", 1, pause_s=40), ONE_AT_A_TIME)
    job_id = directory.ids()["01-greedy"]

    def is_measured() -> bool:
        steps = cluster.run("sstat", "--noheader", "--parsable2", f"--jobs={job_id}.batch", "--format=MaxRSS").stdout
        return steps.strip().endswith("K")

    cluster.wait_until(is_measured, "its memory is measured", 30)
    cluster.tell_worker(job_id, signal.SIGKILL)
    wait_for(user, directory, "greedy", "failed")
    killed = told(user, directory, Verdict.FAILED)["greedy"]
    assert killed["ending"] == "FAILED exit 9"  # job.sh ended with 137, of which sacct subtracts 128
    assert 0 < killed["peak_memory_gib"] < 8
    assert (
        "perhaps for lack of memory" in killed["advice"] and "of 8 GiB. Raise launch.cpu.memory_gib" in killed["advice"]
    )


def test_squeue_alone_is_enough(user: User, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended is then known by the files of its stages; what left none has ended in an unknown state."""
    broken, stopped = make_stage("broken", 2, needs=tmp_path / "missing"), make_stage("stopped", 3, pause_s=40)
    going = count_stage(600)
    directory = user.send(make_stage("total", 0, broken, stopped, going))
    for name, state in (("broken", "failed"), ("stopped", "running"), ("counted", "running")):
        wait_for(user, directory, name, state)
    cluster.ask("scancel", directory.ids()[next(job for job in directory.ids() if job.endswith("stopped"))])
    wait_for(user, directory, "stopped", "cancelled")
    assert told(user, directory, Verdict.FAILED)["broken"]["ending"] == "FAILED exit 1"  # by scontrol
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "squeue").symlink_to(str(shutil.which("squeue", path=cluster.environment["PATH"])))
    with monkeypatch.context() as bare:
        bare.setenv("PATH", str(tmp_path / "bin"))
        elements = told(user, directory, Verdict.FAILED)
    assert {name: each["state"] for name, each in elements.items()} == {
        "broken": "failed",
        "stopped": "lost",
        "counted": "running",
        "total": "blocked",
    }
    assert "missing is not there" in elements["broken"]["message"]
    assert "state unknown" in elements["stopped"]["advice"]
