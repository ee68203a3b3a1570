"""Interrupted jobs where jobs may not put themselves back into the queue, and jobs that never get anywhere."""

from __future__ import annotations

import dataclasses

from sweep.cli.show_status import read_status
from sweep.slurm import lifecycle
from tests.slurm.conftest import LAUNCH, User, requesting
from tests.slurm.test_queue import steps_made
from tests.support.cluster import Cluster
from tests.support.toy_queue import count_stage, make_stage


def test_where_requeueing_is_refused_another_job_goes_on_with_the_same_element(user: User, cluster: Cluster) -> None:
    counted = [count_stage(50 + n) for n in (0, 1)]
    total = make_stage("total", 0, *counted)
    directory = user.send(total, requesting(sbatch=("--no-requeue",), without=("--requeue",)))
    job_id = directory.ids()["01-counted"]
    for stage in counted:
        cluster.wait_until(lambda: steps_made(user, stage) > 3, "both count")  # noqa: B023
    cluster.ask("scancel", "--signal=USR1", "--batch", f"{job_id}_1")
    cluster.wait_until(lambda: user.directory(total).is_done, "the last stage is done", 150)
    assert [job.name for job in directory.read().jobs] == ["01-counted", "02-total", "01-counted.r2", "02-total.r2"]
    assert user.states(directory) == {"counted": ["done"] * 2, "total": ["done"]}
    record = user.directory(counted[1]).read_record()
    assert int(str(record["summary"]["resumed_at"])) > 0


def test_a_job_that_never_makes_progress_ends_and_says_what_to_do(user: User, cluster: Cluster) -> None:
    """A stage that keeps nothing, interrupted at once."""
    slow = make_stage("slow", 1, pause_s=60)
    launch = dataclasses.replace(LAUNCH, restarts_without_progress=1)
    directory = user.send(slow, launch)
    job_id = directory.ids()["01-slow"]
    cluster.wait_until(lambda: cluster.job(job_id)["JobState"] == "RUNNING", "it runs")
    cluster.wait_until(lambda: user.directory(slow).path.joinpath("worker.json").exists(), "the worker began")
    cluster.ask("scancel", "--signal=USR1", "--batch", job_id)
    user.wait(directory)
    assert user.states(directory) == {"slow": ["failed"]}
    said = user.directory(slow).failed_file.read_text(encoding="utf-8")
    assert "interrupted 1 times in a row without progress" in said and "raise launch.cpu.minutes" in said
    assert "give the original command again" in said  # resume keeps the settings
    (shown,) = read_status(directory, lifecycle.submission_status(directory)).elements
    assert shown.message and not shown.advice
