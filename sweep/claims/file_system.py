"""Find the mount of a path, and whether its file locks (flock) hold on every machine that shares it.

Only `mount_of` does I/O: it reads /proc/self/mountinfo. With local locks, a second machine gets a lock that the
first one holds and no call fails, so the mount options are the only evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NFS = ("nfs", "nfs4")
CLUSTERED = ("gfs2", "ocfs2")
SMB = ("cifs", "smb3")
# FUSE keeps flock local unless the file system implements it; these do not.
LOCAL_FUSE = ("fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.goofys", "fuse.gcsfuse", "fuse.mount-s3")


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo."""

    file_system: str  # "nfs4", "lustre", "ext4"
    options: tuple[str, ...]  # mount and file system options: "rw", "local_lock=none"
    mounted_at: Path


def mount_of(path: Path) -> Mount:
    """The mount that holds a path, which need not exist. Raises OSError without /proc."""
    return mount_among(mounts_of(MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")), path.resolve())


def mounts_of(mountinfo: str) -> list[Mount]:
    """Parse mountinfo and keep its order: a mount over another one comes later."""
    return [mount for mount in map(_mount, mountinfo.split("\n")) if mount is not None]


def mount_among(mounts: Iterable[Mount], path: Path) -> Mount:
    """The deepest mount above a resolved path; of several at one mount point the last, which hides the others."""
    found = Mount("unknown", (), Path("/"))
    for mount in mounts:
        is_deeper = len(mount.mounted_at.parts) >= len(found.mounted_at.parts)
        if is_deeper and path.is_relative_to(mount.mounted_at):
            found = mount
    return found


def locks_are_local(mount: Mount) -> bool:
    """Whether other machines do not see a lock held on this one."""
    return lock_option(mount) is not None


def lock_option(mount: Mount) -> str | None:
    """The mount option or file system type that makes locks local; None if locks hold on every machine."""
    if mount.file_system in LOCAL_FUSE:
        return mount.file_system
    return next((option for option in mount.options if option in _keeping_locks_local(mount.file_system)), None)


def _keeping_locks_local(file_system: str) -> tuple[str, ...]:
    if file_system in NFS:  # local_lock=posix does not affect flock
        return ("nolock", "local_lock=flock", "local_lock=all")
    if file_system == "lustre":
        return ("localflock",)
    if file_system in CLUSTERED:
        return ("localflocks",)
    return ("nobrl",) if file_system in SMB else ()


def _mount(line: str) -> Mount | None:
    """`36 35 98:0 /root /mounted/at rw,noatime master:1 - ext4 /dev/root rw,errors=continue`"""
    of_mount, separator, of_file_system = line.partition(" - ")
    first, last = of_mount.split(" "), of_file_system.split(" ")
    if not separator or len(first) < 6 or len(last) < 2:
        return None
    options = [*first[5].split(","), *(last[2].split(",") if len(last) > 2 else [])]
    return Mount(last[0], tuple(dict.fromkeys(map(_unescaped, options))), Path(_unescaped(first[4])))


def _unescaped(text: str) -> str:
    r"""Mountinfo writes a space as \040."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
