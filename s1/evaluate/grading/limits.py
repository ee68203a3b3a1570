"""Limit CPU time instead of wall-clock time, because a grade must not depend on the load of the machine."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")


class OutOfTime(BaseException):
    """The limit was reached. A BaseException, so that no library catches it as one of its errors."""


def within(cpu_seconds: float, compute: Callable[[], Result]) -> Result:
    """Return `compute()`. Raises OutOfTime after `cpu_seconds` of this process's CPU time.

    Signals reach only the main thread. In other threads only the size limits of the callers apply.
    """
    if threading.current_thread() is not threading.main_thread():
        return compute()
    running = True

    def stop(number: int, frame: FrameType | None) -> None:
        if running:
            raise OutOfTime

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds, 0.1)  # repeats, because a destructor may swallow the first
    try:
        return compute()
    finally:
        running = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
