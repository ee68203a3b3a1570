"""Handle stop signals: SIGTERM, and SIGUSR1, which SLURM sends before the walltime limit.

By default SIGTERM ends a worker immediately, and SIGUSR1 ends it with EXIT_REQUEUE. A stage function that has state to
save catches both signals and then raises Interrupted (sweep/core/stage.py):

    with stop_requests() as stop_requested:
        ...
            if stop_requested(): ...
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
PR_SET_PDEATHSIG = 1  # of prctl(2)
EXIT_INTERRUPTED = 130  # exit status of a command that was interrupted, as shells report Ctrl-C
EXIT_REQUEUE = os.EX_TEMPFAIL  # exit status of a worker that was interrupted, not failed


@contextmanager
def stop_requests() -> Generator[Callable[[], bool]]:
    """Catch stop signals; the yielded function returns whether one arrived. Main thread only."""
    requested = False

    def note(*_signal: object) -> None:
        nonlocal requested
        requested = True

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt_on_hang_up() -> None:
    """Make SIGHUP and SIGTERM interrupt this process like Ctrl-C, unless it ignores them (nohup)."""

    def interrupt(*_signal: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def wake_when_parent_ends() -> None:
    """Let the kernel wake this process when its parent dies (Linux); a stopped process would not notice."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def end_on_request() -> None:
    """Make SIGUSR1 end this process with EXIT_REQUEUE, unless a stage function handles the signal."""

    def end(*_signal: object) -> None:
        raise SystemExit(EXIT_REQUEUE)

    signal.signal(signal.SIGUSR1, end)
