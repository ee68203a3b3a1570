"""A limit in CPU time, not wall-clock time: a verdict must not depend on the load of the machine."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")


class OutOfTime(BaseException):
    """The limit was reached. Not an Exception, so that no library takes it for an error of its own."""


def within(cpu_seconds: float, compute: Callable[[], Result]) -> Result:
    """What `compute` returns. Raises OutOfTime after that many seconds of this process's own CPU time.

    Signals reach the main thread only: elsewhere there is no limit but the sizes that the callers check.
    """
    if threading.current_thread() is not threading.main_thread():
        return compute()
    running = True

    def stop(number: int, frame: FrameType | None) -> None:
        if running:
            raise OutOfTime

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds, 0.1)  # again, should a destructor have swallowed the first
    try:
        return compute()
    finally:
        running = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
