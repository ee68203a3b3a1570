"""Retries SLURM calls that fail for a temporary reason: a restarting controller, the network, a busy database.

Waits 2, 4, 8, ... seconds between attempts, about two and a half minutes in all, and prints one line for each wait.
Permanent refusals (unknown partition, a QOS limit) and unknown error messages are not retried.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sweep.errors import InputError

Answer = TypeVar("Answer")

WAITS_S = (2.0, 4.0, 8.0, 16.0, 30.0, 45.0, 60.0)
MOST_S = 165.0
TRANSIENT = (  # error messages of SLURM's commands, in lower case
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
PERMANENT = (  # sbatch refused the job; after any other message it may have accepted it
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
QUEUE_LIMITS = (  # sbatch refused the job because too many are in the queue, or because the array is too long
    "submitjob",  # AssocMaxSubmitJobLimit, QOSMaxSubmitJobPerUserLimit, ...
    "maxarraysize",
    "invalid job array",
    "job submit limit",
)
OTHER_LIMIT = re.compile(r"\b(?:assoc|qos)(?:max|grp|min)(?!submit)\w+", re.IGNORECASE)  # of the job itself


class SlurmUnavailable(InputError):
    """SLURM did not answer; it may still have carried out the command."""


class SlurmNotFound(InputError):
    """SLURM is not installed here, so nothing was submitted."""


class QueueFull(InputError):
    """sbatch refused the job because of a limit of submitted jobs or of the array size. Fewer elements may fit."""


class UnknownAnswer(SlurmUnavailable):
    """sbatch failed with an unknown message and may have accepted the job. It is looked up, never submitted again."""


def is_transient(message: str) -> bool:
    """Whether a SLURM error message is temporary. For sbatch, only the text after "submission failed:" counts."""
    verdict = message.lower().rpartition("submission failed:")[2]
    return any(each in verdict for each in TRANSIENT)


def is_refusal(message: str) -> bool:
    """Whether an sbatch error message says that the job was refused for good."""
    verdict = message.lower().rpartition("submission failed:")[2]
    return any(each in verdict for each in PERMANENT) and not is_transient(message)


def is_queue_limit(message: str) -> bool:
    """Whether a refusal names a limit of submitted jobs or of the array size.

    "Job violates accounting/QOS policy (job submit limit, ...)" covers many limits: it counts unless another is named.
    """
    return any(each in message.lower() for each in QUEUE_LIMITS) and not OTHER_LIMIT.search(message)


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass
class RetryPolicy:
    """How long to retry. Once a call has used up its retries, later calls are tried once only, until one succeeds."""

    waits_s: Sequence[float] = WAITS_S
    most_s: float = MOST_S  # includes the duration of the calls
    sleep: Callable[[float], None] = time.sleep
    report: Callable[[str], None] = _print
    clock: Callable[[], float] = time.monotonic
    is_exhausted: bool = False

    def call(self, call: Callable[[], Answer], most_s: float | None = None) -> Answer:
        """The result of `call`, retried while it raises SlurmUnavailable. Other exceptions are raised at once."""
        until = self.clock() + (self.most_s if most_s is None else most_s)
        for wait_s in [*self.waits_s, None]:
            try:
                answer = call()
            except SlurmUnavailable as error:
                if wait_s is None or self.is_exhausted or self.clock() + wait_s > until:
                    self.is_exhausted = True
                    raise
                self.report(f"{error} Trying again in {wait_s:.0f} s.")
                self.sleep(wait_s)
            else:
                self.is_exhausted = False
                return answer
        raise AssertionError("the last wait is None")


RETRY = RetryPolicy()
