"""Stages that several processes make together: a leader on each node, and the members that torchrun starts for it.

    python -m sweep.worker.run DIR                                         stage.json says processes > 1: the leader
      python -m torch.distributed.run ... -m sweep.worker.run ... DIR      started by it
        python -m sweep.worker.run ... DIR                                 the members, RANK 0, 1, ...

Member 0 alone locks, begins, publishes; the others wait for its word which stages are to be made, and run the same
functions with an `out` of their own that nobody reads. Nothing is published, and no scratch removed, before all are
through. They tell one another by files named after this start of the group, beside stage.json.

torchrun ends with status 1 however its members ended, and does not know SIGUSR1. So the leader passes signals on, gives
the members time to save, and tells the outcome by what they left in the store.
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

from sweep.core.interrupt import GO_ON_LATER, SIGNALS
from sweep.store.directory import StageDirectory, StoreError, read_json, write_json

POLL_INTERVAL_S = 0.05
SAVING_S = 900  # between asking the members to stop and killing them: a checkpoint of 32B takes minutes
ALONE = ("--standalone", "--local-addr=127.0.0.1")  # the machine's own name need not resolve


@dataclass(frozen=True)
class Rank:
    """This process among those that make a stage together."""

    rank: int
    size: int  # of the group, over all nodes
    group: str | None  # one start of the group; None: no group, this process is all there is

    @property
    def decides(self) -> bool:
        return self.rank == 0


SINGLE_RANK = Rank(rank=0, size=1, group=None)


def this_rank(environment: Mapping[str, str]) -> Rank:
    """What torchrun's environment says; the port is new with every start, also of one that was requeued."""
    if "TORCHELASTIC_RUN_ID" not in environment:
        return SINGLE_RANK
    group = f"{environment['TORCHELASTIC_RUN_ID']}-{environment['MASTER_PORT']}"
    return Rank(int(environment["RANK"]), int(environment["WORLD_SIZE"]), group)


@contextmanager
def agreed(directories: Sequence[StageDirectory], member: Rank, keys: Sequence[str]) -> Generator[None]:
    """While inside, the other members know that these stages are to be made, and are begun."""
    word = _word(directories, member)
    if word is not None:
        write_json(word, {"make": list(keys)})
    try:
        yield
    finally:
        if word is not None:
            word.unlink()


def agreement(directories: Sequence[StageDirectory], member: Rank) -> list[str]:
    """Wait for member 0's word: the stages to be made; none if all are done, by whomever."""
    word = _word(directories, member)
    while word is not None and not word.exists():
        if all(directory.is_done for directory in directories):
            return []
        time.sleep(POLL_INTERVAL_S)
    return read_json(word)["make"] if word is not None else []


def signal_finished(directory: StageDirectory, member: Rank) -> None:
    """For the others: this member's function has ended, and touches nothing of this stage any more."""
    _through(directory, member, member.rank).touch()


def await_ranks(directory: StageDirectory, member: Rank) -> None:
    """For member 0: wait until the functions of all others have ended. A member that fails ends the whole group."""
    marks = [_through(directory, member, rank) for rank in range(1, member.size)]
    while not all(mark.exists() for mark in marks):
        time.sleep(POLL_INTERVAL_S)
    for mark in marks:
        mark.unlink()


def _through(directory: StageDirectory, member: Rank, rank: int) -> Path:
    return directory.path / f"group-{member.group}-{rank}"


def _word(directories: Sequence[StageDirectory], member: Rank) -> Path | None:
    return None if member.group is None else directories[0].path / f"group-{member.group}.json"


def processes_for(directories: Sequence[StageDirectory]) -> int:
    """How many processes of this node make these stages; one where that cannot be read, and it will say so."""
    try:
        return max(int(directory.read_stage().get("resources", {}).get("processes", 1)) for directory in directories)
    except (OSError, StoreError):
        return 1


def lead(
    directories: Sequence[StageDirectory],
    processes: int,
    rendezvous: Sequence[str] = ALONE,
    options: Sequence[str] = (),
) -> int:
    """Start the members of this node, wait for them, tell the outcome as sweep.worker.run does.

    Several nodes: torchrun's options of where they meet, `--nnodes=2 --rdzv-backend=c10d --rdzv-id=... ...`. `options`
    are those of sweep.worker.run that its members get too.
    """
    command = [
        *(sys.executable, "-m", "torch.distributed.run", *rendezvous, f"--nproc-per-node={processes}"),
        f"--signals-to-handle={','.join(each.name for each in (*SIGNALS, signal.SIGINT))}",
        f"--shutdown-timeout={SAVING_S}",
        *("-m", "sweep.worker.run", "--leader", str(os.getpid()), *options, *(str(each.path) for each in directories)),
    ]
    asked = False

    def pass_on(number: int, _frame: object) -> None:
        nonlocal asked
        asked = True
        group.send_signal(number)

    group = subprocess.Popen(command)
    for number in SIGNALS:
        signal.signal(number, pass_on)
    return _outcome(directories, group.wait(), asked)


def _outcome(directories: Sequence[StageDirectory], status: int, asked: bool) -> int:
    """0: made; 1: failed, and failed.json says why; GO_ON_LATER: interrupted."""
    if status == 0:
        return 0
    unfinished = [directory for directory in directories if not directory.is_done]
    if any(directory.failed_file.exists() for directory in unfinished):
        return 1
    if asked or any(directory.interrupted_file.exists() for directory in unfinished):
        return GO_ON_LATER
    for directory in unfinished:
        message = f"a process of its group ended without a word (torchrun: status {status}). Its log says more."
        write_json(directory.failed_file, {"error": message, "message": message, "traceback": ""})
    return 1
