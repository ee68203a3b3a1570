"""Plans on a real queue: order, failure, resume, cancellation, restarts, lost nodes."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from pathlib import Path

import pytest

from sweep.cli.watch_stages import SubmissionStages
from sweep.cli.watch_view import WatchState
from sweep.core.stage import Resources, Stage
from sweep.errors import InputError
from sweep.slurm import lifecycle
from sweep.slurm.submission import SubmissionDirectory, submissions
from tests.slurm.conftest import LAUNCH, LONGER_STEPS, User, requesting
from tests.support import toy_queue
from tests.support.cluster import Cluster
from tests.support.toy_queue import count_stage, elsewhere, make_stage


def resumed_at(user: User, stage: Stage) -> int:
    """The number at which its last attempt went on."""
    return int(str(user.directory(stage).read_record()["summary"]["resumed_at"]))


def fan(points: int, needs: Path | None = None) -> tuple[list[Stage], list[Stage], Stage]:
    """start -> points -> halves -> total; the second point fails while `needs` is not there."""
    start = make_stage("start", 1)
    made = [make_stage("points", n, start, needs=needs if n == 1 else None) for n in range(points)]
    halves = [elsewhere(make_stage("halves", n, each)) for n, each in enumerate(made)]
    return made, halves, make_stage("total", 0, *halves)


def test_a_plan_goes_through_the_queue_to_its_product(user: User, cluster: Cluster) -> None:
    _, _, total = fan(3)
    directory = user.send(total)
    assert set(user.states(directory)) == {"start", "points", "halves", "total"}
    user.wait(directory)
    assert user.value(total) == 3 + 2 * (0 + 1 + 2)
    assert user.states(directory) == {
        "start": ["done"],
        "points": ["done"] * 3,
        "halves": ["done"] * 3,
        "total": ["done"],
    }
    record = user.directory(total).read_record()
    assert record["provenance"]["git"] == json.loads((directory.code / "exported.json").read_text(encoding="utf-8"))
    assert "restart 0" in user.log(total)


def test_a_failed_element_blocks_what_rests_on_it_and_nothing_else_and_resume_makes_the_rest(
    user: User, cluster: Cluster, tmp_path: Path
) -> None:
    needs = tmp_path / "needed"
    points, halves, total = fan(3, needs)
    directory = user.send(total)
    user.wait(directory)
    assert user.states(directory) == {
        "start": ["done"],
        "points": ["done", "failed", "done"],
        "halves": ["done", "blocked", "done"],
        "total": ["blocked"],
    }
    watched = SubmissionStages(directory).look()
    assert [each.address for each in watched.stages if each.state is WatchState.FAILED] == [points[1].address]
    assert not watched.is_alive
    assert cluster.job(directory.ids()["02-points"] + "_1")["ExitCode"] == "1:0"
    assert "is not there" in user.directory(points[1]).failed_file.read_text(encoding="utf-8")
    began = user.directory(halves[0]).read_record()["summary"]["began"]
    needs.touch()
    again = lifecycle.resume_submission(directory, user.store)
    assert [(job.name, len(job.elements)) for job in again] == [
        ("02-points.r2", 1),
        ("03-halves.r2", 1),
        ("04-total.r2", 1),
    ]
    user.wait(directory)
    assert user.value(total) == 9
    assert user.directory(halves[0]).read_record()["summary"]["began"] == began
    assert lifecycle.resume_submission(directory, user.store) == ()


def test_short_stages_share_a_job_and_resume_goes_on_at_the_one_that_failed(
    user: User, cluster: Cluster, tmp_path: Path
) -> None:
    needs = tmp_path / "needed"
    pool = make_stage("pool", 1)
    rows = make_stage("rows", 2, pool, needs=needs)
    rendered = make_stage("rendered", 3, rows)
    directory = user.send(rendered)
    user.wait(directory)
    (name,) = directory.ids()
    assert name == "01-pool+rows+rendered"
    assert user.directory(pool).is_done and user.directory(rows).failed_file.exists()
    assert not user.directory(rendered).failed_file.exists()  # never begun
    began = user.directory(pool).read_record()["summary"]["began"]
    needs.touch()
    lifecycle.resume_submission(directory, user.store)
    user.wait(directory)
    assert user.value(rendered) == 6
    assert user.directory(pool).read_record()["summary"]["began"] == began


def test_what_is_cancelled_goes_on_from_where_it_was(user: User, cluster: Cluster) -> None:
    counted = count_stage(60)
    directory = user.send(make_stage("total", 0, counted))
    cluster.wait_until(lambda: steps_made(user, counted) > toy_queue.EVERY, "it counts")
    assert lifecycle.cancel_submission(directory) == 2
    user.wait(directory)
    assert not directory.is_open
    assert user.states(directory)["counted"] == ["cancelled"]
    lifecycle.resume_submission(directory, user.store)
    assert directory.is_open
    user.wait(directory)
    assert resumed_at(user, counted) >= toy_queue.EVERY


def test_an_element_that_is_told_to_stop_goes_back_into_the_queue_by_itself(user: User, cluster: Cluster) -> None:
    """As some time before the walltime limit; of an array, so that the ids of elements and of the whole differ."""
    counted = [count_stage(50 + n) for n in (0, 1)]
    directory = user.send(make_stage("total", 0, *counted))
    job_id = directory.ids()["01-counted"]
    for stage in counted:
        cluster.wait_until(lambda: steps_made(user, stage) > 3, "both count")  # noqa: B023
    # The last element carries the id of the array as its own: meant is it alone.
    cluster.ask("scancel", "--signal=USR1", "--batch", f"{job_id}_1")
    user.wait(directory)
    assert [resumed_at(user, each) > 0 for each in counted] == [False, True]
    assert [cluster.job(f"{job_id}_{n}")["Restarts"] for n in (0, 1)] == ["0", "1"]
    assert "requeueing job" in user.log(counted[1])
    assert "restart 1" in user.log(counted[1])
    assert user.states(directory)["total"] == ["done"]  # what waited was not killed


def test_a_preempted_element_goes_on_when_the_queue_lets_it(user: User, cluster: Cluster) -> None:
    """With a grace, SLURM sends USR1 and TERM and takes the job for ended if it obeys: it has to requeue itself."""
    counted = count_stage(60)
    low = user.send(counted, requesting(partition="low", sbatch=("--exclusive", "--nodelist=127.0.0.2")))
    cluster.wait_until(lambda: steps_made(user, counted) > 3, "it counts")
    first = make_stage("urgent", 1, pause_s=2)
    user.send(first, requesting(sbatch=("--exclusive", "--nodelist=127.0.0.2")))
    cluster.wait_until(lambda: user.directory(first).is_done, "the other job is done", 60)
    user.wait(low)
    assert user.states(low) == {"counted": ["done"]}
    assert resumed_at(user, counted) > 3


def test_a_lost_node_costs_what_was_not_kept(user: User, cluster: Cluster) -> None:
    counted = count_stage(80)
    directory = user.send(make_stage("total", 0, counted), requesting(sbatch=("--exclude=127.0.0.[1,3]",)))
    cluster.wait_until(lambda: steps_made(user, counted) > toy_queue.EVERY, "it counts")
    lost = cluster.job(directory.ids()["01-counted"])["NodeList"]
    cluster.kill_node(lost)
    try:
        user.wait(directory)
    finally:
        cluster.start_node(lost)
    steps = toy_queue.steps_of(user.directory(counted).path)
    assert {node for _, node, _ in steps} > {lost}
    assert sorted({int(at) for at, _, _ in steps}) == list(range(1, 81))
    assert len(steps) < 80 + toy_queue.EVERY  # none was made twice but those after the last that was kept
    assert user.states(directory) == {"counted": ["done"], "total": ["done"]}
    cluster.wait_until(lambda: "down" not in cluster.ask("sinfo", "-h", "-N", "-o", "%T"), "the node is back")


def test_a_controller_that_restarts_forgets_nothing(user: User, cluster: Cluster) -> None:
    counted = count_stage(30)
    points = [make_stage("points", n, counted) for n in range(3)]
    directory = user.send(make_stage("total", 0, *points))
    cluster.wait_until(lambda: steps_made(user, counted) > 3, "it counts")
    cluster.stop_controller()
    assert lifecycle.submission_status(directory).source.startswith("the disk alone")
    cluster.start_controller()
    user.wait(directory)
    assert user.states(directory) == {"counted": ["done"], "points": ["done"] * 3, "total": ["done"]}


def test_a_job_stopped_during_a_controller_outage_waits_for_it(user: User, cluster: Cluster) -> None:
    counted = count_stage(40)
    directory = user.send(make_stage("total", 0, counted))
    cluster.wait_until(lambda: steps_made(user, counted) > 3, "it counts")
    cluster.stop_controller()
    try:
        cluster.tell_worker(directory.ids()["01-counted"], signal.SIGUSR1)
        cluster.wait_until(lambda: "Unable to contact" in user.log(counted), "it asked in vain")
    finally:
        cluster.start_controller()
    user.wait(directory)
    assert user.states(directory) == {"counted": ["done"], "total": ["done"]}
    assert "requeueing job" in user.log(counted)


def test_a_dry_run_writes_everything_and_resume_sends_it(user: User, cluster: Cluster) -> None:
    _, _, total = fan(3)
    directory = user.send(total, dataclasses.replace(LAUNCH, dry_run=True))
    assert directory.ids() == {}
    assert user.states(directory)["points"] == ["not submitted"] * 3
    jobs = ("01-start", "02-points", "03-halves", "04-total")
    assert sorted(path.name for path in (directory.path / "jobs").iterdir()) == [
        *(f"{job}.{kind}" for job in jobs for kind in ("sbatch", "units")),
        "submission.json",
    ]
    lifecycle.resume_submission(directory, user.store)
    user.wait(directory)
    assert user.value(total) == 9


def test_two_sweeps_in_one_store_make_what_they_share_once(user: User, cluster: Cluster) -> None:
    shared = make_stage("start", 1, pause_s=2)
    mine, yours = make_stage("total", 1, shared), make_stage("total", 2, shared)
    first, second = user.send(mine, name="mine"), user.send(yours, name="yours")
    assert list(second.ids()) == ["01-total"]  # what the first has in the queue is waited for, and not sent again
    user.wait(first)
    user.wait(second)
    assert (user.value(mine), user.value(yours)) == (2, 3)
    assert user.states(first)["total"] == user.states(second)["total"] == ["done"]


def test_a_sweep_whose_input_another_was_to_make_is_resumed_after_that_one(
    user: User, cluster: Cluster, tmp_path: Path
) -> None:
    needs = tmp_path / "needed"
    shared = make_stage("start", 1, needs=needs, pause_s=3)
    mine, yours = make_stage("total", 1, shared), make_stage("total", 2, shared)
    first, second = user.send(mine, name="mine"), user.send(yours, name="yours")
    user.wait(first)
    user.wait(second)
    assert user.states(second) == {"total": ["blocked"]}
    with pytest.raises(InputError, match=f"{shared.address} was left to another submission"):
        lifecycle.resume_submission(second, user.store)
    needs.touch()
    lifecycle.resume_submission(first, user.store)
    lifecycle.resume_submission(second, user.store)  # while the first makes what it needs
    user.wait(first)
    user.wait(second)
    assert (user.value(mine), user.value(yours)) == (2, 3)


def test_what_is_just_being_cancelled_is_not_resumed_yet(user: User, cluster: Cluster) -> None:
    counted = count_stage(20, step_s=2.0)
    directory = user.send(make_stage("total", 0, counted))
    cluster.wait_until(lambda: steps_made(user, counted), "it counts")
    lifecycle.cancel_submission(directory)
    with pytest.raises(InputError, match="just ending"):
        lifecycle.resume_submission(directory, user.store)
    user.wait(directory)
    assert [job.stage for job in lifecycle.resume_submission(directory, user.store)] == ["counted.r2", "total.r2"]


def test_a_store_may_be_at_a_path_with_spaces_and_commas(cluster: Cluster, tmp_path: Path) -> None:
    user = User(cluster, tmp_path / "a b, c #1")
    directory = user.send(make_stage("total", 5))
    user.wait(directory)
    assert user.states(directory) == {"total": ["done"]}


def test_two_jobs_at_the_same_stage_make_it_once(user: User, cluster: Cluster) -> None:
    """As of two who submitted in the same instant: the second waits for the lock, and finds it done."""
    shared = make_stage("start", 1, pause_s=3)
    directory = user.send(shared)
    script, units = directory.script("01-start"), directory.units("01-start")
    twin = cluster.ask("sbatch", "--parsable", "--output=/dev/null", str(script), str(units))
    user.wait(directory)
    cluster.wait_until(lambda: cluster.job(twin)["JobState"] in ("COMPLETED", "FAILED"), "both are over")
    assert cluster.job(twin)["JobState"] == "COMPLETED"
    assert user.value(shared) == 1


def test_a_submission_that_slurm_refuses_leaves_nothing_in_the_queue(user: User, cluster: Cluster) -> None:
    counted = count_stage(50)
    product = dataclasses.replace(make_stage("total", 0, counted), resources=Resources(nodes=0))
    with pytest.raises(InputError, match="sbatch"):
        user.send(product)
    (directory,) = submissions(user.store.root)
    user.wait(directory)
    assert cluster.job(directory.ids()["01-counted"])["JobState"] == "CANCELLED"


def test_the_code_that_was_submitted_runs_whatever_becomes_of_the_checkout(user: User, cluster: Cluster) -> None:
    total = make_stage("total", 5)
    directory = user.send(total, dataclasses.replace(LAUNCH, dry_run=True))
    toys_file = directory.code / "tests" / "support" / "toy_queue.py"
    toys_file.write_text(toys_file.read_text(encoding="utf-8").replace('"value": value', '"value": -value'))
    lifecycle.resume_submission(directory, user.store)
    user.wait(directory)
    assert user.directory(total).read_record()["summary"]["value"] == -5
    shutil.rmtree(directory.code)


def test_a_sweep_can_be_sent_from_within_a_job(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from an interactive one, or from an array: what that job is must not be taken for what the new ones are."""
    for name, value in (("ARRAY_JOB_ID", "7"), ("ARRAY_TASK_ID", "3"), ("RESTART_COUNT", "4"), ("MEM_PER_CPU", "100")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    total = make_stage("total", 5)
    directory = user.send(total)
    user.wait(directory)
    assert user.states(directory) == {"total": ["done"]}, (directory.logs / "01-total_0.txt").read_text(
        encoding="utf-8"
    )
    assert "restart 0" in user.log(total)


def test_what_is_set_counts_more_than_the_environment(
    user: User, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To sbatch it is the other way round; what is left open is the environment's."""
    for name, value in (("TIMELIMIT", "3"), ("NO_REQUEUE", "1"), ("PARTITION", "low")):
        monkeypatch.setenv(f"SBATCH_{name}", value)
    chosen = user.send(make_stage("total", 5), requesting(partition="main"))
    left_open = user.send(make_stage("total", 6))
    jobs = [cluster.job(each.ids()["01-total"]) for each in (chosen, left_open)]
    assert [job["Partition"] for job in jobs] == ["main", "low"]
    assert {(job["TimeLimit"], job["Requeue"]) for job in jobs} == {("00:10:00", "1")}


def test_a_site_that_greets_before_the_job_id_is_understood(
    user: User, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/sh\necho Welcome.\nexec {shutil.which("sbatch")} "$@"\n', encoding="utf-8")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{cluster.environment['PATH']}")
    directory = user.send(make_stage("total", 5))
    assert directory.ids()["01-total"].isdecimal()
    user.wait(directory)
    assert user.states(directory) == {"total": ["done"]}


def steps_made(user: User, stage: Stage) -> int:
    path = user.directory(stage).path
    return len(toy_queue.steps_of(path)) if (path / "steps.txt").exists() else 0


def test_a_stage_longer_than_the_walltime_limit_chains_itself(longer: tuple[User, SubmissionDirectory]) -> None:
    """Sent before all other tests of this folder; SLURM looks at limits and signals twice a minute only."""
    user, directory = longer
    user.wait(directory)
    assert user.states(directory) == {"counted": ["done"], "total": ["done"]}
    (counted,) = (user.store.root / "counted").iterdir()
    steps = toy_queue.steps_of(counted)
    assert [int(at) for at, _, _ in steps] == list(range(1, LONGER_STEPS + 1))  # told in time, it lost none
    assert int(steps[-1][2]) >= 1
