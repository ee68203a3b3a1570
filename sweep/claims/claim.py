"""Claim a stage directory for one process, even where file locks do not work.

The lock file (flock) comes first: it is fast, and the kernel releases it when the holder dies. The ownership token
`worker.json` decides. It is created atomically (temporary file, then os.link), describes its holder
(sweep/claims/holder.py), and the holder removes it at the end. Another process removes it only if

    the process has ended        on this boot of this machine; in another container: if no lock is held
    the machine was rebooted     since the token was written
    the job has ended            according to SLURM; or it is an earlier restart of our own job
    --yes                        and the holder's state cannot be checked; never if it is known to be running

A process that breaks a token first claims `.worker.json.<token>.broken` in the same way, so that two processes never
break the same token, and none removes the token of the next holder. Otherwise it waits and prints one line. If the
holder's state cannot be checked, it raises StoreError.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sweep.claims.file_system import locks_are_local, mount_of
from sweep.claims.holder import (
    Holder,
    HolderState,
    LivenessChecks,
    booted_at,
    holder_state,
    holder_text,
    read_holder,
    started_at,
    this_process,
)
from sweep.claims.lock import LockAnswer, LockMode, conflicts, is_locked, opened, request_lock
from sweep.claims.slurm_job import state_in_slurm
from sweep.json_files import StoreError

TOKEN = "worker.json"
LOCK = "lock"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 3.0
ANSWER_KEPT_S = 30.0  # how long SLURM's answer is reused before the next query
PATIENCE_S = 600.0  # how long to wait for a SLURM controller that does not answer

JobQuery = Callable[[Holder], HolderState]


@dataclass(frozen=True)
class Rule:
    """What a claim does if another process holds the stage."""

    wait: bool = True  # wait for the holder to end; False: leave the stage to it
    take_over: bool = False  # break the token of a holder whose state cannot be checked (the user passed --yes)
    query_job: JobQuery = state_in_slurm


WAIT = Rule()


@contextmanager
def claimed(directory: Path, rule: Rule = WAIT) -> Generator[bool]:
    """Hold the stage exclusively; yields False if another process holds it and the rule does not wait.

    Raises StoreError for a holder whose state cannot be checked, OSError if nothing can be written.
    """
    lock, place, me = directory / LOCK, directory / TOKEN, this_process()
    waiting = _Waiting(directory, rule)
    with opened(lock) as descriptor:
        while (answer := request_lock(descriptor, lock, LockMode.EXCLUSIVE)) is LockAnswer.TAKEN or not _acquire(
            place, me, lambda holder: waiting.may_break(holder, answer is LockAnswer.OURS)
        ):
            if not waiting.keep_waiting():
                yield False
                return
        waiting.end()
        try:
            yield True
        finally:
            _release(place, me)


@dataclass
class _Waiting:
    """State of a process that waits for a stage."""

    directory: Path
    rule: Rule
    pause_s: float = FIRST_PAUSE_S
    turns: int = 0
    has_announced: bool = False
    no_answer_since: float | None = None
    jobs: dict[str, tuple[float, HolderState]] = field(
        default_factory=dict[str, tuple[float, HolderState]]
    )  # by token: time and result of the last query

    def may_break(self, holder: Holder, has_lock: bool) -> bool:
        """Whether the token of this holder may be broken. Raises StoreError if its state cannot be checked."""
        checks = liveness_checks(self.directory / LOCK, (lambda: has_lock), self._query_job)
        state = holder_state(holder, this_process(), checks)
        if state is HolderState.NO_ANSWER:
            self.no_answer_since = self.no_answer_since or time.monotonic()
            if time.monotonic() - self.no_answer_since > PATIENCE_S:
                state = HolderState.UNKNOWN
        if state is HolderState.UNKNOWN and not self.rule.take_over:
            if self.rule.wait:
                raise StoreError(unknown_holder(self.directory, holder))
            return False
        return state in (HolderState.ENDED, HolderState.UNKNOWN)

    def keep_waiting(self) -> bool:
        """Pause, and print once that this process waits; False if the rule does not wait.

        Always retries once, because another process may hold the lock only to check it.
        """
        self.turns += 1
        if self.turns > 1 and not self.rule.wait:
            return False
        if self.turns > 1 and not self.has_announced:
            self.has_announced = True
            holder = read_holder(self.directory / TOKEN)
            print(f"waiting for {_address(self.directory)}: held by {holder or 'another process'}", flush=True)
        time.sleep(self.pause_s)
        self.pause_s = min(1.5 * self.pause_s, LONGEST_PAUSE_S)
        return True

    def end(self) -> None:
        if self.has_announced:
            print(f"{_address(self.directory)}: free now, continuing", flush=True)

    def _query_job(self, holder: Holder) -> HolderState:
        queried_at, state = self.jobs.get(holder.token, (-ANSWER_KEPT_S, HolderState.UNKNOWN))
        if time.monotonic() - queried_at >= ANSWER_KEPT_S or holder.token not in self.jobs:
            state = self.rule.query_job(holder)
            self.jobs[holder.token] = (time.monotonic(), state)
        return state


def liveness_checks(lock: Path, is_free: Callable[[], bool], job: JobQuery) -> LivenessChecks:
    """Checks for this machine; `is_free` returns whether no other process holds the lock file."""

    def locks_decide() -> bool:
        return is_free() and conflicts(lock)

    return LivenessChecks(
        started=started_at,
        booted_at=booted_at,
        locks_decide=locks_decide,
        locks_decide_everywhere=lambda: locks_decide() and not locks_are_local(mount_of(lock)),
        job=job,
    )


def holder_of(directory: Path, job: JobQuery = state_in_slurm) -> tuple[Holder, HolderState] | None:
    """The holder of a stage by its token, and its state; None without a token. Read-only."""
    holder = read_holder(directory / TOKEN)
    if holder is None:
        return None
    lock = directory / LOCK
    state = holder_state(holder, this_process(), liveness_checks(lock, lambda: not is_locked(lock), job))
    if state in (HolderState.UNKNOWN, HolderState.NO_ANSWER) and is_locked(lock):
        state = HolderState.AT_WORK  # the kernel would have released the lock of a dead process
    return holder, state


def is_at_work(directory: Path) -> bool:
    """Whether a process may be working on a stage: it is locked, or its holder is not known to have ended."""
    if is_locked(directory / LOCK):
        return True
    found = holder_of(directory)
    return found is not None and found[1] is not HolderState.ENDED


def unknown_holder(directory: Path, holder: Holder) -> str:
    """Error line for a holder whose state cannot be checked."""
    where = ", whose state cannot be checked from here" if holder.is_known else ""
    return f"{_address(directory)}: held by {holder}{where}. If that has ended, run the same command with --yes."


def _acquire(place: Path, me: Holder, may_break: Callable[[Holder], bool]) -> bool:
    """Create the token, after breaking another one if allowed; False if another process has it."""
    holder = read_holder(place)
    if holder is not None:
        if not may_break(holder):
            return False
        _break(place, holder, may_break)
    return _create(place, me)


def _create(place: Path, me: Holder) -> bool:
    temporary = place.with_name(f".{place.name}.{me.token}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(holder_text(me))
        os.link(temporary, place)
    except FileExistsError:
        found = read_holder(place)  # NFS repeats a call whose reply was lost: the token may be ours
        return found is not None and found.token == me.token
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _break(place: Path, holder: Holder, may_break: Callable[[Holder], bool]) -> None:
    """Remove the token of this holder, unless another process is doing so."""
    breaking, me = place.with_name(f".{place.name}.{holder.token}.broken"), this_process()
    if not _acquire(breaking, me, may_break):
        return
    try:
        found = read_holder(place)
        if found is not None and found.token == holder.token:
            _remove(place, me)
    finally:
        _release(breaking, me)


def _release(place: Path, me: Holder) -> None:
    """Remove our own token by renaming and rereading it; put it back if it belongs to another process by now."""
    with suppress(OSError):  # a token left behind can be broken: its process will have ended
        found = read_holder(place)
        if found is None or found.token != me.token:
            return
        gone = place.with_name(f".{place.name}.{me.token}.gone")
        place.rename(gone)
        taken = read_holder(gone)
        if taken is not None and taken.token != me.token:
            with suppress(FileExistsError):
                os.link(gone, place)
        gone.unlink()


def _remove(place: Path, me: Holder) -> None:
    """Remove a broken token; a folder in its place is only renamed."""
    gone = place.with_name(f".{place.name}.{me.token}.gone")
    place.rename(gone)
    with suppress(IsADirectoryError, PermissionError):
        gone.unlink()


def _address(directory: Path) -> str:
    return f"{directory.parent.name}/{directory.name}"
