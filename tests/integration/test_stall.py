"""Stalled workers: what counts as progress, what is exempt, and how a stall is handled."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.claims.holder import Holder
from sweep.core.launch import Launch
from sweep.core.pipeline import Workers
from sweep.core.provenance import PROJECT
from sweep.core.stage import Stage
from sweep.local.workers import JobState, WorkerJob, run_plan
from sweep.plan.graph import plan
from sweep.store.directory import Store, read_json
from sweep.worker.processes import end_all, tree_of
from sweep.worker.stall import LONGEST_LOOK_S, Activity, StallWatch, age_s, is_stalled, watched
from tests.integration.test_launch import is_alive, wait_until
from tests.support import toy_stall

STALL_MINUTES = 0.05  # 3 s
TRACE = {"progress.json": (20, 1)}
MORE = {"progress.json": (20, 2)}
ANOTHER = Holder("a", "n2", "b", "m", 1, 1, "p", None, None, 0, "ann", "2026-01-01T00:00:00+00:00")


def after(*looks: tuple[Activity, float]) -> StallWatch:
    watch = None
    for look, since_last_s in looks:
        watch = watched(watch, look, since_last_s)
    assert watch is not None
    return watch


def at_work(trace: dict[str, tuple[int, int]] = TRACE) -> Activity:
    return Activity(trace, is_loading=False)


def test_time_without_a_change_adds_up_and_any_change_ends_it() -> None:
    assert after((at_work(), 5), (at_work(), 2), (at_work(), 3)).idle_s == 5
    assert after((at_work(), 5), (at_work(), 2), (at_work(MORE), 3)).idle_s == 0
    assert after((at_work(MORE), 5), (at_work(), 5)).idle_s == 0, "a clock set back is a change like any other"
    assert after((at_work(), 5), (at_work(TRACE | {"scratch/checkpoint": (1, 1)}), 5)).idle_s == 0


def test_loading_is_exempt_until_the_first_progress_unless_somebody_stopped_it() -> None:
    loading = Activity({"log.txt": (1, 1)}, is_loading=True)
    assert after(*[(loading, 50)] * 100).idle_s == 0
    assert after((loading, 5), (at_work(), 5), (loading, 5), (loading, 6)).idle_s == 6, "once begun it is not loading"
    stopped = Activity({"log.txt": (1, 1)}, is_loading=True, is_stopped=True)
    assert after(*[(stopped, 9)] * 3).idle_s == 18


def test_waiting_for_another_process_is_not_a_stall() -> None:
    waiting = Activity(TRACE, is_loading=True, held_by=ANOTHER)
    assert after((at_work(), 5), *[(waiting, 50)] * 100) == StallWatch(TRACE)


def test_a_watcher_that_was_stopped_itself_or_slept_does_not_count_that_time() -> None:
    assert after((at_work(), 0), (at_work(), 7200)).idle_s == LONGEST_LOOK_S
    assert after((at_work(), 0), (at_work(), -7200)).idle_s == 0


def test_a_worker_is_ended_after_so_many_minutes_and_never_if_there_are_none() -> None:
    assert is_stalled(StallWatch({}, 3600.0), 60)
    assert not is_stalled(StallWatch({}, 3599.0), 60)
    assert not is_stalled(StallWatch({}, 1e9), None)


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_no_time_is_refused(minutes: float) -> None:
    with pytest.raises(ValueError, match=r"launch\.stall_minutes .*: not a time"):
        Launch(stall_minutes=minutes)


# -------------------------------------------------------------------------------------------- real workers


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run(store: Store, stage: Stage, stall_minutes: float | None = STALL_MINUTES) -> WorkerJob:
    workers = Workers(2, 1, stall_minutes=stall_minutes)
    (job,) = run_plan(plan([stage], store.is_done), store, workers, lambda stage: None, lambda jobs: None)
    return job


def reason(store: Store, stage: Stage) -> str:
    return read_json(store.directory(stage).failed_file)["message"]


ENDED = r'^no progress for 0\.\d minutes, last seen at \{"done": 3, "total": 7, "unit": "steps"\}: ended\. Run the same'


@pytest.mark.parametrize("function", ["freeze", "sleep"])
def test_a_worker_without_progress_is_ended_and_that_is_written_down(store: Store, function: str) -> None:
    stage = toy_stall.stage_of(function)
    job = run(store, stage)
    assert job.state is JobState.FAILED and job.process is not None and not is_alive(job.process.pid)
    assert re.match(ENDED, reason(store, stage))


def test_after_a_worker_was_ended_the_same_command_goes_on(store: Store) -> None:
    stage = toy_stall.stage_of("freeze")
    assert run(store, stage).state is JobState.FAILED
    assert run(store, stage).state is JobState.DONE
    assert len(list(store.directory(stage).path.glob("log-*.txt"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("function", ["load", "write"])
def test_loading_and_bytes_in_what_a_batch_shares_are_no_lack_of_progress(store: Store, function: str) -> None:
    stage = toy_stall.stage_of(function, seconds=9.0)
    assert run(store, stage).state is JobState.DONE


@pytest.mark.slow
def test_an_old_progress_does_not_end_the_loading_of_the_next_attempt(store: Store) -> None:
    stage = toy_stall.stage_of("load", seconds=9.0)
    store.prepare(stage).progress_file.write_text('{"done": 1, "total": 7, "unit": "steps"}', encoding="utf-8")
    assert run(store, stage).state is JobState.DONE


@pytest.mark.slow
@pytest.mark.parametrize("function", ["freeze", "sleep"])
def test_a_worker_in_a_job_is_watched_by_a_process_beside_it(store: Store, function: str) -> None:
    directory = store.prepare(toy_stall.stage_of(function))
    command = [sys.executable, "-m", "sweep.worker.run", "--stall-minutes", str(STALL_MINUTES), str(directory.path)]
    done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert re.match(ENDED, read_json(directory.failed_file)["message"])
    assert "no progress for" in done.stderr


def test_the_process_beside_a_worker_ends_with_it(store: Store) -> None:
    directory = store.prepare(toy_stall.stage_of("load", seconds=0.1))
    command = [sys.executable, "-m", "sweep.worker.run", "--stall-minutes", "60", str(directory.path)]
    assert subprocess.run(command, cwd=PROJECT, check=False).returncode == 0  # which waits for it, or it would stay
    assert directory.is_done
    directory = store.prepare(toy_stall.stage_of("load", seconds=60))
    worker = subprocess.Popen([*command[:-1], str(directory.path)], cwd=PROJECT)
    wait_until(lambda: len(tree_of(worker.pid)) == 2 and any(directory.path.glob("out-*")))
    (_, watcher) = tree_of(worker.pid)
    worker.kill()
    worker.wait()
    wait_until(lambda: not is_alive(watcher))


def test_all_processes_of_a_worker_are_ended_also_stopped_ones() -> None:
    script = "import subprocess, time; subprocess.Popen(['sleep', '60'], start_new_session=True); time.sleep(60)"
    worker = subprocess.Popen([sys.executable, "-c", script])
    wait_until(lambda: len(tree_of(worker.pid)) == 2)
    first, second = tree_of(worker.pid)
    for process in (first, second):
        os.kill(process, signal.SIGSTOP)
    end_all(worker.pid, grace_s=5.0)
    worker.wait()
    wait_until(lambda: not is_alive(second))


def test_the_age_of_progress_is_that_of_the_newest_trace(store: Store) -> None:
    directory = store.prepare(toy_stall.stage_of("sleep"))
    assert age_s([directory]) is None
    directory.progress_file.touch()
    hour_ago = directory.progress_file.stat().st_mtime - 3600
    os.utime(directory.progress_file, (hour_ago, hour_ago))
    assert 3600 <= (age_s([directory]) or 0) < 7200
    directory.log_file.touch()
    assert (age_s([directory]) or 0) < 3600
