"""Process trees of workers: list, inspect and end them. The only module that imports psutil."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil


def tree_of(process: int) -> list[int]:
    """A process and its descendants; empty if it has ended."""
    with suppress(psutil.Error):
        first = psutil.Process(process)
        return [process, *(each.pid for each in first.children(recursive=True))]
    return []


@dataclass(frozen=True)
class Load:
    """What a process and its descendants have used so far, and hold now."""

    cpu_seconds: float
    memory_bytes: int


def load_of(process: int) -> Load:
    """Load of a process and its descendants; zero if it has ended."""
    cpu_seconds, memory_bytes = 0.0, 0
    for each in tree_of(process):
        with suppress(psutil.Error):
            found = psutil.Process(each)
            times = found.cpu_times()
            cpu_seconds += times.user + times.system
            memory_bytes += found.memory_info().rss
    return Load(cpu_seconds, memory_bytes)


def is_stopped(process: int) -> bool:
    """Whether the process is stopped by a signal (SIGSTOP, Ctrl-Z)."""
    with suppress(psutil.Error):
        return psutil.Process(process).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return False


def open_files(processes: Iterable[int]) -> Iterator[str]:
    """Paths of the files that these processes have open for writing."""
    for process in processes:
        with suppress(psutil.Error, OSError):
            yield from (each.path for each in psutil.Process(process).open_files() if each.mode != "r")


def end_all(process: int, grace_s: float, except_for: Collection[int] = ()) -> None:
    """Send SIGTERM to a process, wake its tree, and kill what is left after the grace period."""
    with suppress(psutil.Error):
        first = psutil.Process(process)
        found = _with_children(first, except_for)
        _signal([first], signal.SIGTERM)
        _signal(found, signal.SIGCONT)
        psutil.wait_procs([first], timeout=grace_s)
        left = {*found, *_with_children(first, except_for)}
        _signal([each for each in left if each.is_running()], signal.SIGKILL)
        psutil.wait_procs(list(left), timeout=grace_s)


def _with_children(first: psutil.Process, except_for: Collection[int]) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [each for each in (first, *first.children(recursive=True)) if each.pid not in (*except_for, os.getpid())]
    return []


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):  # it has just ended
            process.send_signal(number)
