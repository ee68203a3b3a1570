"""Say what may not be written or read, whose it is, and the fix: one line in place of a traceback."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

from sweep.claims.file_system import mount_of

DENIED = (errno.EACCES, errno.EPERM)


def is_refused(error: BaseException) -> bool:
    """Whether the file system refuses to let this user read or write."""
    return isinstance(error, OSError) and error.errno in (*DENIED, errno.EROFS) and error.filename is not None


def explained(error: OSError) -> str:
    """One line for people; of other errors than those of permission, their own words."""
    if isinstance(error, NotADirectoryError | FileExistsError) and error.filename is not None:
        path = Path(os.fsdecode(error.filename))
        place = next((each for each in (path, *path.parents) if os.path.lexists(each)), path)
        return f"{place}: in the way, where a folder is to be. Move it away, then run the command again."
    if error.filename is None or not is_refused(error):
        return str(error)
    path = Path(os.fsdecode(error.filename))
    if error.errno == errno.EROFS:
        return (
            f"{path}: cannot be written, {_mounted(path)} is read-only. Mount it for writing, or choose another store=."
        )
    place = _refusing(path)
    return f"{path}: {_verb(place)} by {_user()}. {_owner(place)}"


def _refusing(path: Path) -> Path:
    """What refuses: the file, if it is there and may not be used, or the nearest folder above it that can be seen."""
    place = path.absolute()
    if os.path.lexists(place) and not _may(place, os.R_OK | os.W_OK):
        return place
    return next((above for above in place.parents if os.path.lexists(above)), place)


def _verb(place: Path) -> str:
    needs = os.R_OK | os.X_OK if place.is_dir() else os.R_OK
    return "may not be written" if _may(place, needs) else "may not be read"


def _owner(place: Path) -> str:
    try:
        status = place.stat()
    except OSError:
        return "Ask whoever owns it, or choose another store=."
    owner, group = _named(status.st_uid, status.st_gid)
    mode = stat.filemode(status.st_mode)
    change = "g+rwxs" if stat.S_ISDIR(status.st_mode) else "g+rw"
    return (
        f"{place} is {mode} {owner}:{group}. In a store of several people: umask 002, and once, by its owner,"
        f" chmod {change} {place}; or choose another store=."
    )


def _named(owner: int, group: int) -> tuple[str, str]:
    names = [str(owner), str(group)]
    with suppress(KeyError):
        names[0] = pwd.getpwuid(owner).pw_name
    with suppress(KeyError):
        names[1] = grp.getgrgid(group).gr_name
    return names[0], names[1]


def _user() -> str:
    with suppress(KeyError, OSError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return f"user {os.geteuid()}"


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _mounted(path: Path) -> str:
    with suppress(OSError):
        mount = mount_of(path)
        return f"{mount.file_system} at {mount.mounted_at}"
    return "its file system"
