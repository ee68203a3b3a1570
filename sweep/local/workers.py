"""Runs a plan on this machine: one worker process per unit, as many at a time as the machine allows.

A unit starts as soon as its inputs are finished. A failed unit blocks only the units that depend on it. Each worker has
its own session, so Ctrl-C reaches only this process, which ends the workers; if it is killed, they end by themselves. A
worker that waits for another process is reported, and one without progress is ended (sweep/worker/stall.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO

from sweep.claims.claim import holder_of, unknown_holder
from sweep.claims.holder import Holder, HolderState
from sweep.core.pipeline import Workers
from sweep.core.stage import Stage
from sweep.places import PROJECT, environment_of_workers
from sweep.plan.graph import Plan, Unit
from sweep.store.directory import Store, StoreError
from sweep.store.logs import new_log, point_to_log
from sweep.worker.stall import GRACE_S, LOOK_INTERVAL_S, StallWatch, activity_of, end_stalled, is_stalled, watched

POLL_INTERVAL_S = 0.05


class JobState(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"  # a unit it depends on failed


@dataclass
class WorkerJob:
    """A unit and its worker process."""

    unit: Unit
    state: JobState = JobState.WAITING
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None
    done: set[str] = field(default_factory=set[str])  # addresses already reported
    held_by: Holder | None = None  # another process that the worker waits for
    watch: StallWatch | None = None  # the worker's progress so far
    seen_at: float = -LOOK_INTERVAL_S  # monotonic clock, seconds


OnFinished = Callable[[Stage], None]
OnTick = Callable[[Sequence[WorkerJob]], None]


def run_plan(plan: Plan, store: Store, workers: Workers, on_finished: OnFinished, on_tick: OnTick) -> list[WorkerJob]:
    """Run all units until none can start; returns their jobs. Calls back as stages finish and at every poll.

    Writes all stages to the store before the first one runs, so that `store prune` keeps finished inputs after a crash.
    Raises StoreError for stages held by a process whose state cannot be determined.
    """
    if not workers.take_over:
        _refuse_unknown_holders(plan, store)
    for stage in plan.needed:
        store.prepare(stage)
    jobs = [WorkerJob(unit) for unit in plan.units]
    finished = {stage.address for stage in plan.reused}
    failed: set[str] = set()
    with _ended_on_exit(jobs):
        while any(job.state in (JobState.WAITING, JobState.RUNNING) for job in jobs):
            for job in jobs:
                _advance(job, store, finished, failed)
                for stage in _newly_done(job, store):
                    finished.add(stage.address)
                    on_finished(stage)
                _watch(job, store, workers.stall_minutes)
            _start_ready(jobs, store, workers, finished)
            on_tick(jobs)
            time.sleep(POLL_INTERVAL_S)
    return jobs


def _refuse_unknown_holders(plan: Plan, store: Store) -> None:
    found = ((store.directory(stage).path, holder_of(store.directory(stage).path)) for stage in plan.needed)
    lines = [unknown_holder(path, held[0]) for path, held in found if held and held[1] is HolderState.UNKNOWN]
    if lines:
        raise StoreError("\n".join(lines))


def _watch(job: WorkerJob, store: Store, stall_minutes: float | None) -> None:
    """Check periodically whether a running worker waits for another process or has stalled; end it if it has."""
    at = time.monotonic()
    pause_s = LOOK_INTERVAL_S if stall_minutes is None else min(LOOK_INTERVAL_S, 6 * stall_minutes)
    if job.state is not JobState.RUNNING or job.process is None or at - job.seen_at < pause_s:
        return
    directories = [directory for stage in job.unit.stages if not (directory := store.directory(stage)).is_done]
    look, since_s, job.seen_at = activity_of(directories, job.process.pid), at - job.seen_at, at
    job.held_by = look.held_by
    job.watch = watched(job.watch, look, since_s)
    if is_stalled(job.watch, stall_minutes):
        end_stalled(directories, job.process.pid, job.watch)


def _advance(job: WorkerJob, store: Store, finished: set[str], failed: set[str]) -> None:
    """Update the state of a job from its process, its stages on disk and the failures of its inputs."""
    if job.state is JobState.WAITING and job.unit.waits_for & failed:
        job.state = JobState.BLOCKED
    if job.state is JobState.RUNNING and job.process is not None and job.process.poll() is not None:
        is_complete = all(store.is_done(stage) for stage in job.unit.stages)  # whatever its exit status
        job.state = JobState.DONE if is_complete else JobState.FAILED
    if job.state in (JobState.FAILED, JobState.BLOCKED):
        failed.update(stage.address for stage in job.unit.stages if not store.is_done(stage))


def _newly_done(job: WorkerJob, store: Store) -> Iterator[Stage]:
    if job.process is None:
        return
    for stage in job.unit.stages:
        if stage.address not in job.done and store.is_done(stage):
            job.done.add(stage.address)
            yield stage


def _start_ready(jobs: Sequence[WorkerJob], store: Store, workers: Workers, finished: set[str]) -> None:
    free = workers.count - sum(job.state is JobState.RUNNING for job in jobs)
    for job in jobs:
        if free <= 0:
            return
        if job.state is JobState.WAITING and job.unit.waits_for <= finished:
            _start(job, store, workers)
            free -= 1


def _start(job: WorkerJob, store: Store, workers: Workers) -> None:
    directories = [store.directory(stage) for stage in job.unit.stages]
    job.log = new_log(directories[0].path)
    for directory in directories:  # one process, one log
        point_to_log(job.log, directory.path)
    options = ["--parent", str(os.getpid()), *(["--take-over"] if workers.take_over else [])]
    command = [sys.executable, "-m", "sweep.worker.run", *options, *(str(each.path) for each in directories)]
    with job.log.open("wb") as log:
        job.process = _spawn(command, log, workers.threads)
    job.state = JobState.RUNNING


def _spawn(command: Sequence[str], log: IO[bytes], threads: int) -> subprocess.Popen[bytes]:
    environment = {
        **environment_of_workers(),
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        command,
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=environment,
        cwd=PROJECT,
        start_new_session=True,
    )


@contextmanager
def _ended_on_exit(jobs: Sequence[WorkerJob]) -> Generator[None]:
    """End all workers however the block is left."""
    try:
        yield
    finally:
        running = [job.process for job in jobs if job.process is not None and job.process.poll() is None]
        for process in running:
            _signal_group(process, signal.SIGTERM)
        for process in running:
            try:
                process.wait(timeout=GRACE_S)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended just now
        os.killpg(process.pid, number)
