"""Being asked to stop: SIGTERM, and SIGUSR1, which batch systems send some time before the time is up.

By default SIGTERM ends a worker at once, as ever, and SIGUSR1 ends it with the status that says "go on later". A stage
function that has something to save asks for the requests instead, and raises Interrupted (sweep/core/stage.py) then:

    with stop_requests() as stop_asked:
        ...
            if stop_asked(): ...
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
PR_SET_PDEATHSIG = 1  # of prctl(2)
GO_ON_LATER = os.EX_TEMPFAIL  # the exit status of a worker that was interrupted, and has not failed


@contextmanager
def stop_requests() -> Generator[Callable[[], bool]]:
    """Until left, signals to stop end nothing; the value tells whether there has been one. For the main thread."""
    asked = False

    def note(*_signal: object) -> None:
        nonlocal asked
        asked = True

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt_on_hang_up() -> None:
    """From now on a terminal that is gone, and SIGTERM, interrupt this process as Ctrl-C does; not under nohup."""

    def interrupt(*_signal: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def wake_when_parent_ends() -> None:
    """When the process that started this one dies, the kernel wakes this one (Linux): stopped, it would not notice."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def end_on_request() -> None:
    """From now on SIGUSR1 ends this process with GO_ON_LATER, unless a stage function listens to it itself."""

    def end(*_signal: object) -> None:
        raise SystemExit(GO_ON_LATER)

    signal.signal(signal.SIGUSR1, end)
