"""Stages that run in several processes: a leader on each node, and the ranks that torchrun starts for it.

    python -m sweep.worker.run DIR                                         stage.json says processes > 1: the leader
      python -m torch.distributed.run ... -m sweep.worker.run ... DIR      started by the leader
        python -m sweep.worker.run ... DIR                                 the ranks, RANK 0, 1, ...

Only rank 0 locks, begins and publishes. The other ranks wait until it announces which stages to make, and run the same
functions with an unused `out`. Rank 0 publishes, and removes scratch, only after all ranks have finished. The ranks
communicate through files next to stage.json, whose names contain the ID of this launch of the group.

torchrun exits with status 1 however its ranks ended, and does not handle SIGUSR1. So the leader forwards signals, gives
the ranks time to save, and derives the outcome from the files they left in the store.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweep.core.interrupt import EXIT_REQUEUE, SIGNALS
from sweep.store.directory import StageDirectory, StoreError, read_json, write_json

POLL_INTERVAL_S = 0.05
SAVING_S = 900  # from the stop signal to SIGKILL; a checkpoint of a 32B model takes minutes
STANDALONE = ("--standalone", "--local-addr=127.0.0.1")  # the host name may not resolve


@dataclass(frozen=True)
class Rank:
    """Rank of this process in the group that makes a stage."""

    index: int
    size: int  # number of processes, over all nodes
    group: str | None  # ID of one launch of the group; None: a single process

    @property
    def is_first(self) -> bool:
        return self.index == 0


SINGLE_RANK = Rank(index=0, size=1, group=None)


def this_rank(environment: Mapping[str, str]) -> Rank:
    """Read torchrun's environment. The port tells launches of a job apart: after a requeue it is different."""
    if "TORCHELASTIC_RUN_ID" not in environment:
        return SINGLE_RANK
    group = f"{environment['TORCHELASTIC_RUN_ID']}-{environment['MASTER_PORT']}"
    return Rank(int(environment["RANK"]), int(environment["WORLD_SIZE"]), group)


@contextmanager
def announced(directories: Sequence[StageDirectory], rank: Rank, keys: Sequence[str]) -> Generator[None]:
    """While the context is open, tell the other ranks which stages to make."""
    announcement = _announcement(directories, rank)
    if announcement is not None:
        write_json(announcement, {"make": list(keys)})
    try:
        yield
    finally:
        if announcement is not None:
            announcement.unlink()


def await_announcement(directories: Sequence[StageDirectory], rank: Rank) -> list[str]:
    """Wait until rank 0 announces the stages to make; empty if all stages are done."""
    announcement = _announcement(directories, rank)
    while announcement is not None and not announcement.exists():
        if all(directory.is_done for directory in directories):
            return []
        time.sleep(POLL_INTERVAL_S)
    return read_json(announcement)["make"] if announcement is not None else []


def mark_finished(directory: StageDirectory, rank: Rank) -> None:
    """Tell rank 0, by a file, that this rank has finished this stage."""
    _finished_file(directory, rank, rank.index).touch()


def await_ranks(directory: StageDirectory, rank: Rank) -> None:
    """Wait until all other ranks have finished. A rank that fails ends the whole group. Called by rank 0."""
    marks = [_finished_file(directory, rank, index) for index in range(1, rank.size)]
    while not all(mark.exists() for mark in marks):
        time.sleep(POLL_INTERVAL_S)
    for mark in marks:
        mark.unlink()


def _finished_file(directory: StageDirectory, rank: Rank, index: int) -> Path:
    return directory.path / f"group-{rank.group}-{index}"


def _announcement(directories: Sequence[StageDirectory], rank: Rank) -> Path | None:
    return None if rank.group is None else directories[0].path / f"group-{rank.group}.json"


def processes_for(directories: Sequence[StageDirectory]) -> int:
    """Number of ranks to start on this node; 1 if stage.json is unreadable, which the worker then reports."""
    try:
        return max(int(directory.read_stage().get("resources", {}).get("processes", 1)) for directory in directories)
    except (OSError, StoreError):
        return 1


def launch_ranks(
    directories: Sequence[StageDirectory],
    processes: int,
    rendezvous: Sequence[str] = STANDALONE,
    options: Sequence[str] = (),
) -> int:
    """Start the ranks of this node, wait for them, and return the exit status of sweep.worker.run.

    `rendezvous`: options of torchrun; for several nodes `--nnodes=2 --rdzv-backend=c10d --rdzv-id=... ...`. `options`:
    options of sweep.worker.run that the ranks inherit.
    """
    command = [
        *(sys.executable, "-m", "torch.distributed.run", *rendezvous, f"--nproc-per-node={processes}"),
        f"--signals-to-handle={','.join(each.name for each in (*SIGNALS, signal.SIGINT))}",
        f"--shutdown-timeout={SAVING_S}",
        *("-m", "sweep.worker.run", "--leader", str(os.getpid()), *options, *(str(each.path) for each in directories)),
    ]
    stop_requested = False

    def pass_on(number: int, _frame: object) -> None:
        nonlocal stop_requested
        stop_requested = True
        group.send_signal(number)

    group = subprocess.Popen(command)
    for number in SIGNALS:
        signal.signal(number, pass_on)
    return _outcome(directories, group.wait(), stop_requested)


def _outcome(directories: Sequence[StageDirectory], status: int, stop_requested: bool) -> int:
    """0: done; 1: failed, see failed.json; EXIT_REQUEUE: interrupted."""
    if status == 0:
        return 0
    unfinished = [directory for directory in directories if not directory.is_done]
    if any(directory.failed_file.exists() for directory in unfinished):
        return 1
    if stop_requested or any(directory.interrupted_file.exists() for directory in unfinished):
        return EXIT_REQUEUE
    for directory in unfinished:
        message = f"a rank ended without reporting an error (torchrun exit status {status}). See log.txt of this stage."
        write_json(directory.failed_file, {"error": message, "message": message, "traceback": ""})
    return 1
