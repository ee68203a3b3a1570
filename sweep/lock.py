"""Locks on files (flock): several may share one, or one holds it alone; the kernel frees it when its holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path


class Hold(Enum):
    SHARED = LOCK_SH
    ALONE = LOCK_EX


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold it alone, once no other process does."""
    with path.open("a+", encoding="utf-8") as file:
        flock(file, LOCK_EX)
        yield


@contextmanager
def locked_now(path: Path, hold: Hold) -> Iterator[bool]:
    """Hold it without waiting; False if that cannot be."""
    with path.open("a+", encoding="utf-8") as file:
        try:
            flock(file, hold.value | LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def is_locked(path: Path) -> bool:
    """Whether some process holds it alone at this moment; leaves no file behind."""
    if not path.exists():
        return False
    with locked_now(path, Hold.SHARED) as is_ours:
        return not is_ours
