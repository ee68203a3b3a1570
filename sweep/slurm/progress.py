"""Decides whether an interrupted job may start again. Does no I/O.

A run made progress if it finished a stage, wrote a new checkpoint, or added tokens to the continuation store. Restarts
without progress wait longer each time, and after a few in a row the job ends: it would only use up the budget.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_RESTARTS = 100  # of one step, with or without progress
LEAST_BYTES = 4096  # of new tokens: a file of a writer that added none has a heading too
FIRST_WAIT_S, WAIT_FACTOR, MOST_WAIT_S = 60, 5, 3600


@dataclass(frozen=True)
class Progress:
    """What the files of a step's stages show."""

    finished: int = 0  # stages
    kept: str = ""  # digest of the files in scratch/, such as checkpoints; "" if there are none
    appended_bytes: int = 0  # in files that only grow: tokens and rows of metrics

    def is_beyond(self, earlier: Progress) -> bool:
        return (
            self.finished > earlier.finished
            or self.kept not in ("", earlier.kept)
            or self.appended_bytes >= earlier.appended_bytes + LEAST_BYTES
        )


@dataclass(frozen=True)
class Restarts:
    """The interruptions of a step so far."""

    count: int = 0
    without_progress: int = 0  # in a row
    progress: Progress = Progress()

    def next(self, now: Progress) -> Restarts:
        """After one more interruption."""
        if now.is_beyond(self.progress):
            return Restarts(self.count + 1, 0, now)
        return Restarts(self.count + 1, self.without_progress + 1, self.progress)

    @property
    def wait_s(self) -> int:
        """Seconds to wait before the next start."""
        if not self.without_progress:
            return 0
        return min(MOST_WAIT_S, FIRST_WAIT_S * WAIT_FACTOR ** (self.without_progress - 1))


def reason_to_stop(restarts: Restarts, most_without_progress: int, kind: str) -> str | None:
    """Why the job must not start again, and what to change; None if it may. `kind`: of job, launch.KIND."""
    if restarts.without_progress >= most_without_progress:
        return (
            f"interrupted {restarts.without_progress} times in a row without progress: no stage was finished, and no"
            f" new checkpoint or tokens were written. One run must be long enough for that: raise launch.{kind}.minutes"
            " or launch.signal_seconds, save checkpoints more often, or choose a partition without preemption."
        )
    if restarts.count >= MOST_RESTARTS:
        return f"interrupted {restarts.count} times. Allow more time for one run: raise launch.{kind}.minutes."
    return None
