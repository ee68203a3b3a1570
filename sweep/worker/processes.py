"""The doorway to psutil: the processes of a worker, what they have open, and how to end them all."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

import psutil


def tree_of(process: int) -> list[int]:
    """A process and all that it has started, as far as they are still its own; empty if it is gone."""
    with suppress(psutil.Error):
        first = psutil.Process(process)
        return [process, *(each.pid for each in first.children(recursive=True))]
    return []


def is_stopped(process: int) -> bool:
    """Whether a signal (SIGSTOP, Ctrl-Z) keeps it from running."""
    with suppress(psutil.Error):
        return psutil.Process(process).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return False


def open_files(processes: Iterable[int]) -> Iterator[str]:
    """Paths of the files that these processes write at the moment."""
    for process in processes:
        with suppress(psutil.Error, OSError):
            yield from (each.path for each in psutil.Process(process).open_files() if each.mode != "r")


def end_all(process: int, grace_s: float, but: Collection[int] = ()) -> None:
    """Ask a process to end, wake it and all that it has started, and kill what is left of them after a grace."""
    with suppress(psutil.Error):
        first = psutil.Process(process)
        found = _with_children(first, but)
        _signal([first], signal.SIGTERM)
        _signal(found, signal.SIGCONT)
        psutil.wait_procs([first], timeout=grace_s)
        left = {*found, *_with_children(first, but)}
        _signal([each for each in left if each.is_running()], signal.SIGKILL)
        psutil.wait_procs(list(left), timeout=grace_s)


def _with_children(first: psutil.Process, but: Collection[int]) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [each for each in (first, *first.children(recursive=True)) if each.pid not in (*but, os.getpid())]
    return []


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):  # it ended just now
            process.send_signal(number)
