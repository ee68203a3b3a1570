"""Claim a stage directory: who makes it, known also where locks do not lock.

The lock file (flock) comes first: it is quick, and free as soon as its holder dies. What counts is the ownership token,
`worker.json`, made by one create-if-absent (written aside, then os.link). It names its holder
(sweep/claims/holder.py), and is
removed by it at the end. Another process removes it only where

    the process is gone          it was on this boot of this machine; in another container: no lock is held
    the machine was rebooted     since the token was written
    the job has ended            SLURM says so of that restart; or it is an earlier restart of our own job
    yes=true                     and it cannot be asked whether it is gone; never what is known to be at work

A process that breaks a token first claims `.worker.json.<token>.broken` in the same way, so that no two break one token
and none breaks the next one. Held otherwise, it is waited for, and one line says so. What cannot be asked is refused.
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
    Fate,
    Holder,
    Inspect,
    booted_at,
    fate_of,
    holder_text,
    read_holder,
    started_at,
    this_process,
)
from sweep.claims.job_fate import fate_in_slurm
from sweep.claims.lock import Hold, LockAnswer, conflicts, is_locked, opened, request_lock
from sweep.json_files import StoreError

TOKEN = "worker.json"
LOCK = "lock"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 3.0
ANSWER_KEPT_S = 30.0  # before SLURM is asked again
PATIENCE_S = 600.0  # with a SLURM that does not answer

AskJob = Callable[[Holder], Fate]


@dataclass(frozen=True)
class Rule:
    """How a claim treats what another holds."""

    wait: bool = True  # until it ends; otherwise the stage is left to it
    take_over: bool = False  # from a holder that cannot be asked: somebody said yes=true
    ask_job: AskJob = fate_in_slurm


WAIT = Rule()


@contextmanager
def claimed(directory: Path, rule: Rule = WAIT) -> Generator[bool]:
    """Held alone, once no other process works here; without waiting, False if one does.

    Raises StoreError for a holder that cannot be asked, OSError where nothing can be written.
    """
    lock, place, me = directory / LOCK, directory / TOKEN, this_process()
    waiting = _Waiting(directory, rule)
    with opened(lock) as descriptor:
        while (answer := request_lock(descriptor, lock, Hold.ALONE)) is LockAnswer.TAKEN or not _take(
            place, me, lambda holder: waiting.is_over(holder, answer is LockAnswer.OURS)
        ):
            if not waiting.goes_on():
                yield False
                return
        waiting.end()
        try:
            yield True
        finally:
            _give_back(place, me)


@dataclass
class _Waiting:
    """One process that waits for a stage: what it says, when it asks, how long it pauses."""

    directory: Path
    rule: Rule
    pause_s: float = FIRST_PAUSE_S
    turns: int = 0
    is_said: bool = False
    no_answer_since: float | None = None
    jobs: dict[str, tuple[float, Fate]] = field(
        default_factory=dict[str, tuple[float, Fate]]
    )  # by token: when asked, the answer

    def is_over(self, holder: Holder, has_lock: bool) -> bool:
        """Whether the token of this holder may be broken. Raises StoreError if that cannot be known."""
        ask = asking(self.directory / LOCK, (lambda: has_lock), self._ask_job)
        fate = fate_of(holder, this_process(), ask)
        if fate is Fate.NO_ANSWER:
            self.no_answer_since = self.no_answer_since or time.monotonic()
            if time.monotonic() - self.no_answer_since > PATIENCE_S:
                fate = Fate.UNKNOWN
        if fate is Fate.UNKNOWN and not self.rule.take_over:
            if self.rule.wait:
                raise StoreError(cannot_be_asked(self.directory, holder))
            return False
        return fate in (Fate.ENDED, Fate.UNKNOWN)

    def goes_on(self) -> bool:
        """Pause, and say once for whom; False if this claim is not to wait. Somebody's short look is no work."""
        self.turns += 1
        if self.turns > 1 and not self.rule.wait:
            return False
        if self.turns > 1 and not self.is_said:
            self.is_said = True
            holder = read_holder(self.directory / TOKEN)
            print(f"waiting for {_address(self.directory)}: held by {holder or 'another process'}", flush=True)
        time.sleep(self.pause_s)
        self.pause_s = min(1.5 * self.pause_s, LONGEST_PAUSE_S)
        return True

    def end(self) -> None:
        if self.is_said:
            print(f"{_address(self.directory)}: free now, going on", flush=True)

    def _ask_job(self, holder: Holder) -> Fate:
        asked_at, fate = self.jobs.get(holder.token, (-ANSWER_KEPT_S, Fate.UNKNOWN))
        if time.monotonic() - asked_at >= ANSWER_KEPT_S or holder.token not in self.jobs:
            fate = self.rule.ask_job(holder)
            self.jobs[holder.token] = (time.monotonic(), fate)
        return fate


def asking(lock: Path, is_free: Callable[[], bool], job: AskJob) -> Inspect:
    """What can be asked on this machine; `is_free`: whether no other process holds the lock file."""

    def locks_decide() -> bool:
        return is_free() and conflicts(lock)

    return Inspect(
        started=started_at,
        booted_at=booted_at,
        locks_decide=locks_decide,
        locks_decide_everywhere=lambda: locks_decide() and not locks_are_local(mount_of(lock)),
        job=job,
    )


def holder_of(directory: Path, job: AskJob = fate_in_slurm) -> tuple[Holder, Fate] | None:
    """Who holds a stage by its token, and what became of it; None if nobody does. Changes nothing."""
    holder = read_holder(directory / TOKEN)
    if holder is None:
        return None
    lock = directory / LOCK
    fate = fate_of(holder, this_process(), asking(lock, lambda: not is_locked(lock), job))
    if fate in (Fate.UNKNOWN, Fate.NO_ANSWER) and is_locked(lock):
        fate = Fate.AT_WORK  # a lock that is seen here is held by somebody who is there
    return holder, fate


def is_at_work(directory: Path) -> bool:
    """Whether a process may be at work in a stage: it is locked, or its token's holder is not known to have ended."""
    if is_locked(directory / LOCK):
        return True
    found = holder_of(directory)
    return found is not None and found[1] is not Fate.ENDED


def cannot_be_asked(directory: Path, holder: Holder) -> str:
    """One line for people."""
    where = f", on {holder.host}, which cannot be asked from here" if holder.is_known else ""
    return f"{_address(directory)}: held by {holder}{where}. If it is gone, run the same command with yes=true."


def _take(place: Path, me: Holder, may_break: Callable[[Holder], bool]) -> bool:
    """Create the token, once another's is broken that may be; False if another has it."""
    holder = read_holder(place)
    if holder is not None:
        if not may_break(holder):
            return False
        _break(place, holder, may_break)
    return _create(place, me)


def _create(place: Path, me: Holder) -> bool:
    aside = place.with_name(f".{place.name}.{me.token}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(holder_text(me))
        os.link(aside, place)
    except FileExistsError:
        found = read_holder(place)  # NFS repeats a call whose answer is lost: it may be our own
        return found is not None and found.token == me.token
    finally:
        aside.unlink(missing_ok=True)
    return True


def _break(place: Path, holder: Holder, may_break: Callable[[Holder], bool]) -> None:
    """Remove the token of this holder, unless another process is just doing that."""
    breaking, me = place.with_name(f".{place.name}.{holder.token}.broken"), this_process()
    if not _take(breaking, me, may_break):
        return
    try:
        found = read_holder(place)
        if found is not None and found.token == holder.token:
            _remove(place, me)
    finally:
        _give_back(breaking, me)


def _give_back(place: Path, me: Holder) -> None:
    """Remove our own token, by a rename and a second look: what is another's by now is put back."""
    with suppress(OSError):  # what stays is the token of a process that has ended
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
    """By the one that breaks it; a folder in its place is only moved aside."""
    gone = place.with_name(f".{place.name}.{me.token}.gone")
    place.rename(gone)
    with suppress(IsADirectoryError, PermissionError):
        gone.unlink()


def _address(directory: Path) -> str:
    return f"{directory.parent.name}/{directory.name}"
