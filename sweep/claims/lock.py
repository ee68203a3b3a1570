"""Locks on files (flock): several may share one, or one holds it alone; the kernel frees it when its holder dies.

They are quick, and not to be relied on: a mount may keep them on one machine or know none. What must not be done twice
is guarded by ownership tokens as well (sweep/claims/claim.py). Where there are no locks, one line says so and work
goes on.
Opened for reading where writing is refused, so that a store that is only readable can be listed and checked.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from enum import Enum
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from pathlib import Path

from sweep.claims.file_system import lock_option, mount_of
from sweep.json_files import put_folder_aside

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

log = logging.getLogger(__name__)
_warned: set[Path] = set()  # folders without locks, named once by this process


class Hold(Enum):
    SHARED = LOCK_SH
    ALONE = LOCK_EX


class LockAnswer(Enum):
    """What became of a request for a lock."""

    OURS = "ours"
    TAKEN = "taken"  # by another process
    UNSUPPORTED = "unsupported"  # no locks here: nothing is known


@contextmanager
def opened(path: Path) -> Generator[int]:
    """A descriptor of the lock file, which is made if it is not there. What was locked through it is free after it."""
    descriptor = _open(path)
    try:
        yield descriptor
    finally:
        with suppress(OSError):
            flock(descriptor, LOCK_UN)  # also of what a forked child has inherited
        os.close(descriptor)


def request_lock(descriptor: int, path: Path, hold: Hold, wait: bool = False) -> LockAnswer:
    """Ask for the lock on an open file. Where there are no locks a warning says so, once."""
    try:
        flock(descriptor, hold.value | (0 if wait else LOCK_NB))
    except BlockingIOError:
        return LockAnswer.TAKEN
    except OSError as error:
        if error.errno == errno.EBADF:  # NFS gives no exclusive lock on what is open for reading only
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from None
        if error.errno not in UNSUPPORTED:
            raise OSError(error.errno, error.strerror, str(path)) from None
        _warn(path, error)
        return LockAnswer.UNSUPPORTED
    return LockAnswer.OURS


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold it alone, once no other process does."""
    with opened(path) as descriptor:
        request_lock(descriptor, path, Hold.ALONE, wait=True)
        yield


@contextmanager
def locked_now(path: Path, hold: Hold) -> Generator[bool]:
    """Hold it without waiting; False if that cannot be."""
    with opened(path) as descriptor:
        yield request_lock(descriptor, path, hold) is not LockAnswer.TAKEN


def is_locked(path: Path) -> bool:
    """Whether some process holds it alone at this moment; leaves no file behind."""
    if not path.exists():
        return False
    with locked_now(path, Hold.SHARED) as is_ours:
        return not is_ours


def conflicts(path: Path) -> bool:
    """Whether locks work on this machine at all: a second request here is refused while the first one holds."""
    with opened(path) as first, opened(path) as second:
        answers = (request_lock(first, path, Hold.ALONE), request_lock(second, path, Hold.ALONE))
    return LockAnswer.TAKEN in answers


def _open(path: Path) -> int:
    try:
        put_folder_aside(path)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in READ_ONLY or not path.exists():
            raise
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _warn(path: Path, error: OSError) -> None:
    if path.parent in _warned:
        return
    _warned.add(path.parent)
    log.warning("%s", unsupported(path, error))


def unsupported(path: Path, error: OSError) -> str:
    """One line: where there are no locks, why, and the fix."""
    where = ""
    with suppress(OSError):
        mount = mount_of(path)
        option = lock_option(mount) or ("noflock" if "noflock" in mount.options else ",".join(mount.options))
        where = f", {mount.file_system} at {mount.mounted_at} ({option})"
    return (
        f"{path}: no locks here ({error.strerror}{where}). Going on by ownership tokens alone. To have locks, mount it"
        " with them (Lustre: flock; NFS: without nolock), or choose another store=."
    )
