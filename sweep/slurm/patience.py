"""Waiting out a queue that does not answer: a controller that restarts, a network that drops, a busy accounting.

A call that fails of such a thing is made again after 2, 4, 8, ... seconds, for about two and a half minutes in all, and
every wait is said in one line. What SLURM refuses (no such partition, a limit of the QOS) is not repeated, nor what it
says in words that are not known here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sweep.errors import InputError

Answer = TypeVar("Answer")

WAITS_S = (2.0, 4.0, 8.0, 16.0, 30.0, 45.0, 60.0)
MOST_S = 165.0
TRANSIENT = (  # what SLURM's commands print, in lower case
    "unable to contact slurm",
    "unable to establish",
    "unable to connect",
    "unable to create job record, try again",
    "timed out",
    "slurm temporarily unable",
    "resource temporarily unavailable",
    "connection refused",
    "connection reset",
    "connection failure",
    "connection aborted",
    "connection closed",
    "message send failure",
    "message receive failure",
    "communication shutdown failure",
    "unexpected message received",
    "zero bytes were transmitted",
    "header lengths are longer",
    "broken pipe",
    "no route to host",
    "host is down",
    "network is unreachable",
    "network is down",
    "transport endpoint is not connected",
    "interrupted system call",
    "cannot assign requested address",
    "rate limit",
    "temporary failure in name resolution",
    "standby mode",
    "problem talking to the database",
    "problem talking to slurmdbd",
    "slurmdbd: connection",
    "database connection reference",
    "database is busy",
    "db index is being set",
    "munge encode failed",
    "munged is up, restart",
)
PERMANENT = (  # why sbatch refuses a job for good; whatever else it says may be said of a job that it took
    "invalid partition",
    "invalid account",
    "invalid qos",
    "invalid wckey",
    "invalid feature",
    "invalid generic resource",
    "invalid job array",
    "invalid numeric value",
    "invalid --",
    "invalid option",
    "unrecognized option",
    "unrecognized arguments",
    "option requires an argument",
    "qosmax",
    "qosgrp",
    "qosmin",
    "assocmax",
    "assocgrp",
    "violates accounting/qos policy",
    "configuration is not available",
    "partition configuration not available",
    "time limit is invalid",
    "time limit specification",
    "requested reservation is invalid",
    "reservation is invalid",
    "memory specification",
    "node count specification",
    "more processors requested",
    "too many tasks requested",
    "job dependency problem",
    "access/permission denied",
    "user's group not permitted",
    "user not found",
    "unable to open file",
    "batch script",
)


class QueueAway(InputError):
    """A call that SLURM did not answer; it may have been obeyed all the same."""


class NoCommand(InputError):
    """There is no SLURM here: nothing was sent."""


class Unclear(QueueAway):
    """A failure of sbatch in unknown words: perhaps it took the job. It is looked up, and never sent again for that."""


def is_transient(said: str) -> bool:
    """Whether what a command of SLURM printed speaks of trouble that passes; of sbatch its verdict counts alone."""
    verdict = said.lower().rpartition("submission failed:")[2]
    return any(each in verdict for each in TRANSIENT)


def is_refusal(said: str) -> bool:
    """Whether what sbatch printed says that it has not taken the job, and will not."""
    verdict = said.lower().rpartition("submission failed:")[2]
    return any(each in verdict for each in PERMANENT) and not is_transient(said)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass
class Patience:
    """How long trouble is waited out. Once it was in vain nothing waits any more, until a call is answered."""

    waits_s: Sequence[float] = WAITS_S
    most_s: float = MOST_S  # with the time that the calls themselves take
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = _say
    clock: Callable[[], float] = time.monotonic
    is_spent: bool = False

    def repeat(self, call: Callable[[], Answer], most_s: float | None = None) -> Answer:
        """What the call returns, made again while it raises QueueAway. Raises the last one, and all else at once."""
        until = self.clock() + (self.most_s if most_s is None else most_s)
        for wait_s in [*self.waits_s, None]:
            try:
                answer = call()
            except QueueAway as away:
                if wait_s is None or self.is_spent or self.clock() + wait_s > until:
                    self.is_spent = True
                    raise
                self.say(f"{away} Again in {wait_s:.0f} s.")
                self.sleep(wait_s)
            else:
                self.is_spent = False
                return answer
        raise AssertionError("the last wait is None")


PATIENCE = Patience()
