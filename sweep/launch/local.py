"""Run a plan on this machine: one worker process per unit, as many at a time as the machine allows.

A unit starts as soon as what it waits for is finished. A failed unit blocks only what rests on it. Workers are in
sessions of their own, so Ctrl-C reaches this process alone, which ends them; if it is killed, they end by themselves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO

from sweep.contract import Workers
from sweep.plan import Plan, Unit
from sweep.provenance import PROJECT
from sweep.stage import Stage
from sweep.store import Store

POLL_INTERVAL_S = 0.05
GRACE_S = 5.0  # between asking a worker to end and killing it


class State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"  # what it waits for failed


@dataclass
class Job:
    """One unit on its way."""

    unit: Unit
    state: State = State.WAITING
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None
    done: set[str] = field(default_factory=set)  # addresses already announced


OnFinished = Callable[[Stage], None]
OnTick = Callable[[Sequence[Job]], None]


def launch(plan: Plan, store: Store, workers: Workers, on_finished: OnFinished, on_tick: OnTick) -> list[Job]:
    """Run all units; returns their jobs when none can go on. Calls back as stages finish and at every poll.

    All stages are written down before the first one runs: whatever happens, what is finished has someone who waits for
    it, and is not taken for what nobody refers to.
    """
    for stage in plan.needed:
        store.prepare(stage)
    jobs = [Job(unit) for unit in plan.units]
    finished = {stage.address for stage in plan.reused}
    failed: set[str] = set()
    with _ended_on_exit(jobs):
        while any(job.state in (State.WAITING, State.RUNNING) for job in jobs):
            for job in jobs:
                _advance(job, store, finished, failed)
                for stage in _newly_done(job, store):
                    finished.add(stage.address)
                    on_finished(stage)
            _start_ready(jobs, store, workers, finished)
            on_tick(jobs)
            time.sleep(POLL_INTERVAL_S)
    return jobs


def _advance(job: Job, store: Store, finished: set[str], failed: set[str]) -> None:
    """Move a job along by what can be seen: its process, the stages on disk, the fate of what it waits for."""
    if job.state is State.WAITING and job.unit.waits_for & failed:
        job.state = State.BLOCKED
    if job.state is State.RUNNING and job.process is not None and job.process.poll() is not None:
        complete = all(store.is_done(stage) for stage in job.unit.stages)
        job.state = State.DONE if job.process.returncode == 0 and complete else State.FAILED
    if job.state in (State.FAILED, State.BLOCKED):
        failed.update(stage.address for stage in job.unit.stages if not store.is_done(stage))


def _newly_done(job: Job, store: Store) -> Iterator[Stage]:
    if job.process is None:
        return
    for stage in job.unit.stages:
        if stage.address not in job.done and store.is_done(stage):
            job.done.add(stage.address)
            yield stage


def _start_ready(jobs: Sequence[Job], store: Store, workers: Workers, finished: set[str]) -> None:
    free = workers.count - sum(job.state is State.RUNNING for job in jobs)
    for job in jobs:
        if free <= 0:
            return
        if job.state is State.WAITING and job.unit.waits_for <= finished:
            _start(job, store, workers.threads)
            free -= 1


def _start(job: Job, store: Store, threads: int) -> None:
    directories = [store.directory(stage) for stage in job.unit.stages]
    job.log = directories[0].log_file
    for other in directories[1:]:  # one process, one log: the others point to it
        other.log_file.unlink(missing_ok=True)
        other.log_file.symlink_to(os.path.relpath(job.log, other.path))
    command = [
        sys.executable,
        "-m",
        "sweep.run",
        "--parent",
        str(os.getpid()),
        *(str(each.path) for each in directories),
    ]
    job.log.unlink(missing_ok=True)
    with job.log.open("wb") as log:
        job.process = _spawn(command, log, threads)
    job.state = State.RUNNING


def _spawn(command: Sequence[str], log: IO[bytes], threads: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
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
def _ended_on_exit(jobs: Sequence[Job]) -> Iterator[None]:
    """However the loop is left, no worker outlives it."""
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
