"""Explain permission errors in one line: the path, its owner, and the fix."""

from __future__ import annotations

import errno
import grp
import os
import stat
from contextlib import suppress
from pathlib import Path

from sweep.accounts import account_name
from sweep.claims.file_system import mount_of

DENIED = (errno.EACCES, errno.EPERM)


def is_refused(error: BaseException) -> bool:
    """Whether the file system denied this user reading or writing."""
    return isinstance(error, OSError) and error.errno in (*DENIED, errno.EROFS) and error.filename is not None


def explained(error: OSError) -> str:
    """One line about a permission error or a blocked path; the text of any other error."""
    if isinstance(error, NotADirectoryError | FileExistsError) and error.filename is not None:
        path = Path(os.fsdecode(error.filename))
        place = next((each for each in (path, *path.parents) if os.path.lexists(each)), path)
        return f"{place}: not a folder, but a folder is needed here. Move it away, then run the command again."
    if error.filename is None or not is_refused(error):
        return str(error)
    path = Path(os.fsdecode(error.filename))
    if error.errno == errno.EROFS:
        return f"{path}: cannot be written, {_mounted(path)} is read-only. Mount it writable, or choose another store=."
    place = _refusing(path)
    return f"{path}: {_verb(place)} by {account_name()}. {_owner(place)}"


def _refusing(path: Path) -> Path:
    """The path that denies access: the file, or the nearest visible folder above it."""
    place = path.absolute()
    if os.path.lexists(place) and not _may(place, os.R_OK | os.W_OK):
        return place
    return next((above for above in place.parents if os.path.lexists(above)), place)


def _verb(place: Path) -> str:
    needs = os.R_OK | os.X_OK if place.is_dir() else os.R_OK
    return "cannot be written" if _may(place, needs) else "cannot be read"


def _owner(place: Path) -> str:
    try:
        status = place.stat()
    except OSError:
        return "Ask its owner, or choose another store=."
    owner, group = _named(status.st_uid, status.st_gid)
    mode = stat.filemode(status.st_mode)
    change = "g+rwxs" if stat.S_ISDIR(status.st_mode) else "g+rw"
    return (
        f"{place} is {mode} {owner}:{group}. In a shared store, use umask 002, and let the owner run"
        f" chmod {change} {place} once. Or choose another store=."
    )


def _named(owner: int, group: int) -> tuple[str, str]:
    with suppress(KeyError):
        return account_name(owner), grp.getgrgid(group).gr_name
    return account_name(owner), str(group)


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _mounted(path: Path) -> str:
    with suppress(OSError):
        mount = mount_of(path)
        return f"{mount.file_system} at {mount.mounted_at}"
    return "its file system"
