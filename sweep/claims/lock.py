"""Shared and exclusive file locks (flock); the kernel releases them when their holder dies.

Locks are fast but not reliable: a mount may keep them local to one machine or not support them. Ownership tokens
(sweep/claims/claim.py) are therefore used as well. Without lock support, log one warning and continue.
A lock file that cannot be written is opened for reading, so that a read-only store can be listed and checked.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from enum import Enum
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from functools import cache
from pathlib import Path

from sweep.claims.file_system import lock_option, mount_of
from sweep.json_files import put_folder_aside

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

log = logging.getLogger(__name__)


class LockMode(Enum):
    SHARED = LOCK_SH
    EXCLUSIVE = LOCK_EX


class LockAnswer(Enum):
    """Result of a lock request."""

    OURS = "ours"
    TAKEN = "taken"  # by another process
    UNSUPPORTED = "unsupported"  # the file system has no locks


@contextmanager
def opened(path: Path) -> Generator[int]:
    """Open the lock file, creating it if needed; yield its descriptor and release its locks at the end."""
    descriptor = _open(path)
    try:
        yield descriptor
    finally:
        with suppress(OSError):
            flock(descriptor, LOCK_UN)  # also releases a descriptor that a forked child inherited
        os.close(descriptor)


def request_lock(descriptor: int, path: Path, mode: LockMode, wait: bool = False) -> LockAnswer:
    """Request the lock on an open file. Warns once for each file that cannot be locked."""
    try:
        flock(descriptor, mode.value | (0 if wait else LOCK_NB))
    except BlockingIOError:
        return LockAnswer.TAKEN
    except OSError as error:
        if error.errno == errno.EBADF:  # NFS grants no exclusive lock on a file opened for reading
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from None
        if error.errno not in UNSUPPORTED:
            raise OSError(error.errno, error.strerror, str(path)) from None
        _warn_once(path, error.errno)
        return LockAnswer.UNSUPPORTED
    return LockAnswer.OURS


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Wait for the exclusive lock and hold it."""
    with opened(path) as descriptor:
        request_lock(descriptor, path, LockMode.EXCLUSIVE, wait=True)
        yield


@contextmanager
def locked_now(path: Path, mode: LockMode) -> Generator[bool]:
    """Hold the lock without waiting; yields False if another process has it."""
    with opened(path) as descriptor:
        yield request_lock(descriptor, path, mode) is not LockAnswer.TAKEN


def is_locked(path: Path) -> bool:
    """Whether a process holds the exclusive lock right now. Creates no file."""
    if not path.exists():
        return False
    with locked_now(path, LockMode.SHARED) as is_ours:
        return not is_ours


def conflicts(path: Path) -> bool:
    """Whether locks work on this machine: request the lock twice and see whether the second request is refused."""
    with opened(path) as first, opened(path) as second:
        answers = (request_lock(first, path, LockMode.EXCLUSIVE), request_lock(second, path, LockMode.EXCLUSIVE))
    return LockAnswer.TAKEN in answers


def _open(path: Path) -> int:
    try:
        put_folder_aside(path)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in READ_ONLY or not path.exists():
            raise
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


@cache
def _warn_once(path: Path, number: int) -> None:
    log.warning("%s", unsupported(path, OSError(number, os.strerror(number))))


def unsupported(path: Path, error: OSError) -> str:
    """One line: which path has no locks, why, and the fix."""
    where = ""
    with suppress(OSError):
        mount = mount_of(path)
        option = lock_option(mount) or ("noflock" if "noflock" in mount.options else ",".join(mount.options))
        where = f", {mount.file_system} at {mount.mounted_at} ({option})"
    return (
        f"{path}: no locks here ({error.strerror}{where}). Continuing with ownership tokens only. To get locks,"
        " mount it with them (Lustre: flock; NFS: without nolock), or choose another store=."
    )
