"""Explain errors of the file system in one line: the path, what is wrong, and the fix."""

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
REMEDIES = {
    errno.ENOENT: "cannot be opened or made, no such file or folder. Check the path",
    errno.ENAMETOOLONG: "the name is too long. Choose a shorter one",
    errno.ENOSPC: "no space left on the device. Free space, then run the command again",
    errno.EDQUOT: "your disk quota is used up. Free space, then run the command again",
    errno.EMFILE: "too many open files. Raise the limit (ulimit -n), then run the command again",
    errno.ELOOP: "a link that leads to itself. Remove it",
}


def is_refused(error: BaseException) -> bool:
    """Whether the file system denied this user reading or writing."""
    return isinstance(error, OSError) and error.errno in (*DENIED, errno.EROFS) and error.filename is not None


def explained(error: OSError) -> str:
    """One line about an error of the file system; the text of an error without a path, such as of a connection."""
    if isinstance(error, NotADirectoryError | FileExistsError) and error.filename is not None:
        path = Path(os.fsdecode(error.filename))
        place = next((each for each in (path, *path.parents) if os.path.lexists(each)), path)
        return f"{place}: not a folder, but a folder is needed here. Move it away, then run the command again."
    if error.filename is None:
        return _explained_without_path(error)
    path = Path(os.fsdecode(error.filename))
    if not is_refused(error):
        what = (error.strerror or "cannot be used").lower()
        return f"{path}: {REMEDIES.get(error.errno or 0, f'{what}. Check the path and its file system')}."
    if error.errno == errno.EROFS:
        return f"{path}: cannot be written, {_mounted(path)} is read-only. Mount it writable, or choose another store=."
    place = _refusing(path)
    return f"{path}: {_verb(place)} by {account_name()}. {_owner(place)}"


def _explained_without_path(error: OSError) -> str:
    if error.errno == errno.ENOENT and not _has_working_directory():
        return "working directory: it was removed. Change to a folder that exists, then run the command again."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE):
        return f"a file or the output of this command: {REMEDIES[error.errno]}."
    return str(error)


def _has_working_directory() -> bool:
    try:
        return Path.cwd().is_dir()
    except FileNotFoundError:
        return False


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
