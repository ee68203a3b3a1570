"""A plan larger than a limit of submitted jobs: its own jobs feed it to the queue, and nobody stays logged in."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.slurm import client, lifecycle
from sweep.slurm.dispatch import read_waves
from sweep.slurm.status import ElementState, Verdict, verdict
from sweep.slurm.waves import LEAST_LIMIT
from tests.slurm.conftest import MOST_JOBS, User, requesting
from tests.slurm.test_queue import steps_made
from tests.support.cluster import Cluster
from tests.support.toy_queue import count_stage, make_stage


@pytest.fixture
def limited(accounted: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    """A user of the cluster with accounting, who may have 50 jobs in the queue."""
    monkeypatch.setenv("SLURM_CONF", accounted.environment["SLURM_CONF"])
    user = User(accounted, tmp_path)
    yield user
    accounted.run("scancel", "--me")


@pytest.mark.slow
@pytest.mark.parametrize(("points", "limit"), [(100, 8), (1000, None)])
def test_a_plan_above_the_limit_of_submitted_jobs_finishes(
    limited: User, accounted: Cluster, points: int, limit: int | None
) -> None:
    """Without a setting, the limit is asked from accounting, which enforces it."""
    total = make_stage("total", 0, *(make_stage("points", n) for n in range(points)))
    directory = limited.send(total, dataclasses.replace(requesting(cpus=4, memory_gib=1), max_submit_jobs=limit))
    assert read_waves(directory).limit == (limit or MOST_JOBS)
    assert directory.ids() and read_waves(directory).left > 0
    most = 0

    def is_done() -> bool:
        nonlocal most
        most = max(most, client.own_elements() or 0)
        return limited.directory(total).is_done

    accounted.wait_until(is_done, "the last stage is done", 1500)
    assert 0 < most <= (limit or MOST_JOBS)
    assert limited.value(total) == sum(range(points))


def test_with_accounting_what_an_interrupted_job_held_up_goes_on_after_the_one_that_continues_it(
    limited: User, accounted: Cluster
) -> None:
    """Where jobs may not requeue: SLURM cancels what waits, and sacct calls it cancelled. Meanwhile nothing failed."""
    counted = [count_stage(60 + n) for n in (0, 1)]
    total = make_stage("total", 0, *counted)
    directory = limited.send(total, requesting(sbatch=("--no-requeue",), without=("--requeue",)))
    job_id = directory.ids()["01-counted"]
    for stage in counted:
        accounted.wait_until(lambda: steps_made(limited, stage) > 3, "both count")  # noqa: B023
    accounted.ask("scancel", "--signal=USR1", "--batch", f"{job_id}_1")
    accounted.wait_until(lambda: f"{job_id}_1" not in accounted.ask("squeue", "--noheader", "--array"), "it has ended")
    verdicts = set[Verdict]()

    def is_done() -> bool:
        verdicts.add(verdict([each.state for each in lifecycle.status_with_waves(directory).elements]))
        return limited.directory(total).is_done

    accounted.wait_until(is_done, "the last stage is done", 150)
    assert verdicts <= {Verdict.RUNNING, Verdict.DONE}
    assert "02-total.r2" in [job.name for job in directory.read().jobs]


def test_the_least_room_is_used_without_a_pause(limited: User, accounted: Cluster) -> None:
    total = make_stage("total", 0, *(make_stage("points", n) for n in range(30)))
    directory = limited.send(total, dataclasses.replace(requesting(cpus=1, memory_gib=1), max_submit_jobs=LEAST_LIMIT))
    accounted.wait_until(lambda: limited.directory(total).is_done, "the last stage is done", 180)
    scripts = [path.read_text(encoding="utf-8") for path in (directory.path / "jobs").glob("w*-feed.sbatch")]
    assert len(scripts) > 1 and not any("--begin" in each for each in scripts)


def test_while_jobs_feed_the_queue_nothing_is_missing_and_without_them_resume_is_advised(
    limited: User, accounted: Cluster
) -> None:
    total = make_stage("total", 0, *(make_stage("points", n, pause_s=60) for n in range(100)))
    directory = limited.send(total, dataclasses.replace(requesting(cpus=1, memory_gib=1), max_submit_jobs=4))

    def states() -> Counter[ElementState]:
        return Counter(each.state for each in lifecycle.status_with_waves(directory).elements)

    accounted.wait_until(lambda: states()[ElementState.RUNNING] > 0, "an element runs")
    found = states()
    assert found[ElementState.LATER] > 5 and verdict(list(found)) is Verdict.RUNNING
    accounted.ask("scancel", "--me")
    accounted.wait_until(lambda: not client.own_elements(), "the queue is empty")
    found = states()
    assert found[ElementState.LATER] == 0 and found[ElementState.UNSENT] > 5
    assert verdict(list(found)) is Verdict.FAILED
