"""Faults inside a process, armed after it is forked.

Every process of the product counts its changes of the file system below the home of the case: a file opened to be
written, a rename, link, folder, removal. Before the n-th it does what the fault says: dies, stops, is sent a signal,
meets a full disk. Python reports all of these as audit events, so the product needs no hook of its own.
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

DRIVER = "driver"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.remove", "os.truncate")
ADDS = ("open", "os.rename", "os.link", "os.symlink", "os.mkdir")  # what a full disk refuses
LASTING = {"ENOSPC": ADDS, "EDQUOT": ADDS, "EROFS": ("open", *CHANGES), "EACCES": ("open", *CHANGES)}


@dataclass(frozen=True)
class Fault:
    """`how` happens to the process `who` before its `at`-th change; at 0 it holds from the start."""

    how: str  # kill, torn, power, SIGTERM and its like, stop, or the name of an errno
    who: str = DRIVER  # or the worker, by the stage it makes first: "answers", "numbers.2" for the second of that name
    at: int = 0


class Gauge:
    """Numbers that all processes of a case share: who did how much, and who was stopped."""

    SLOTS = 64

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 8 * (self.SLOTS + 3))

    def clear(self) -> None:
        self.memory[:] = bytes(len(self.memory))

    def _get(self, slot: int) -> int:
        return int(struct.unpack_from("q", self.memory, 8 * slot)[0])

    def _set(self, slot: int, value: int) -> None:
        struct.pack_into("q", self.memory, 8 * slot, value)

    @property
    def stopped(self) -> int:
        """The process that stopped itself, or 0."""
        return self._get(0)

    @stopped.setter
    def stopped(self, process: int) -> None:
        self._set(0, process)

    @property
    def is_lasting(self) -> bool:
        """A fault of the disk began, and holds for all processes."""
        return bool(self._get(1))

    @is_lasting.setter
    def is_lasting(self, value: bool) -> None:
        self._set(1, int(value))

    @property
    def has_struck(self) -> bool:
        return bool(self._get(2))

    @has_struck.setter
    def has_struck(self, value: bool) -> None:
        self._set(2, int(value))


@dataclass
class Watch:
    """The changes of one process, as its audit hook sees them."""

    home: Path
    who: str
    fault: Fault | None
    gauge: Gauge
    trace: Path | None = None  # where every change is written down, when they are counted
    changes: int = 0
    sizes: dict[Path, int] = field(default_factory=dict)  # files opened to be written: their length before
    synced: set[int] = field(default_factory=set)  # inodes
    last: Path | None = None
    busy: bool = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.busy or not (event == "open" or event in CHANGES):
            return
        path = self._changed(event, arguments)
        if path is None:
            return
        self.busy = True
        try:
            self._before(event, path)
        finally:
            self.busy = False

    def _changed(self, event: str, arguments: tuple[Any, ...]) -> Path | None:
        """The path below home that is about to change; None: nothing is, or not there."""
        first = arguments[0]
        if event == "open" and (not isinstance(arguments[2], int) or not arguments[2] & WRITES):
            return None
        if not isinstance(first, (str, bytes, os.PathLike)):
            return None
        path = Path(os.fsdecode(arguments[1] if event in ("os.rename", "os.link", "os.symlink") else first))
        if not path.is_absolute():
            folders = [each for each in arguments[1:] if isinstance(each, int) and each > 2]  # open descriptors
            path = (Path(f"/proc/self/fd/{folders[-1]}").readlink() if folders else Path.cwd()) / path
        return path if path.is_relative_to(self.home) else None

    def _before(self, event: str, path: Path) -> None:
        self.changes += 1
        if self.trace is not None:
            with self.trace.open("a", encoding="utf-8") as file:
                file.write(f"{self.who} {self.changes} {event} {path}\n")
        fault = self.fault
        if fault is not None:
            if self.who == fault.who and self.changes == fault.at:
                self.gauge.has_struck = True
                self._strike(fault)
            if self.gauge.is_lasting and event in LASTING.get(fault.how, ()):
                raise OSError(getattr(errno, fault.how), os.strerror(getattr(errno, fault.how)), str(path))
        if event == "open":
            self.sizes[path] = path.stat().st_size if path.is_file() else 0
            self.last = path

    def _strike(self, fault: Fault) -> None:
        how = fault.how
        if how in LASTING:
            self.gauge.is_lasting = True
        elif how == "EIO":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        elif how == "stop":
            self.gauge.stopped = os.getpid()
            os.kill(os.getpid(), signal.SIGSTOP)
        elif how.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, how))
        else:
            self._lose(how)

    def _lose(self, how: str) -> NoReturn:
        """Die at once; torn: of the last file half of what was added is there; power: nothing that was not flushed."""
        if how == "torn" and self.last is not None:
            _keep(self.last, self.sizes[self.last], part=0.5)
        if how == "power":
            for path, before in self.sizes.items():
                if path.is_file() and path.stat().st_ino not in self.synced:
                    _keep(path, before, part=0.0)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("alive after SIGKILL")


def _keep(path: Path, before: int, part: float) -> None:
    """Of what was added to a file since it was opened."""
    if path.is_file() and not path.is_symlink():
        size_bytes = path.stat().st_size
        os.truncate(path, min(before, size_bytes) + int(max(size_bytes - before, 0) * part))


_watch: Watch | None = None  # of this process


def install() -> None:
    """Once, in the warm process: an audit hook cannot be taken off, so each fork exchanges what it calls."""
    sys.addaudithook(lambda event, arguments: None if _watch is None else _watch(event, arguments))


def arm(home: Path, who: str, fault: Fault | None, gauge: Gauge, trace: Path | None) -> None:
    """In a process just forked: count its changes from now on, and do what the fault says."""
    global _watch
    _watch = Watch(home, who, fault, gauge, trace)
    if fault is not None and fault.how == "power":
        _note_flushes(_watch)
    if fault is not None and fault.how in FROM_THE_START:
        gauge.has_struck = True
        FROM_THE_START[fault.how]()


def _note_flushes(watch: Watch) -> None:
    flush = os.fsync

    def fsync(file: Any) -> None:
        flush(file)
        watch.synced.add(os.fstat(file if isinstance(file, int) else file.fileno()).st_ino)

    os.fsync = fsync


# --------------------------------------------------------------------------------------- what holds from the start


def _locks_do(nothing_or_raise: Callable[..., None]) -> None:
    """Exchange flock wherever a module holds it."""
    import fcntl

    real = fcntl.flock
    for module in list(sys.modules.values()):
        if getattr(module, "flock", None) is real:
            vars(module)["flock"] = nothing_or_raise


def _refuse_locks(name: str) -> Callable[[], None]:
    def refuse(*_: object) -> None:
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    return lambda: _locks_do(refuse)


def _shift_clock(seconds: float) -> Callable[[], None]:
    now, now_ns = time.time, time.time_ns

    def shift() -> None:
        time.time = lambda: now() + seconds
        time.time_ns = lambda: now_ns() + int(seconds * 1e9)

    return shift


DAY_S = 86_400.0
FROM_THE_START: Mapping[str, Callable[[], None]] = {
    "lock-noop": lambda: _locks_do(lambda *_: None),
    "lock-ENOLCK": _refuse_locks("ENOLCK"),
    "lock-ENOSYS": _refuse_locks("ENOSYS"),
    "lock-EOPNOTSUPP": _refuse_locks("EOPNOTSUPP"),
    "clock-back": _shift_clock(-DAY_S),
    "clock-ahead": _shift_clock(400 * DAY_S),
    "clock-1970": _shift_clock(-time.time() + 1),
}
