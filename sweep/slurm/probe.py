"""Checks the store from a compute node: the first job runs `python -m sweep.slurm.probe store/submissions/ID JOB`.

Writes probe.json into the submission; `sweep status` shows its warnings. If files cannot be created, linked or renamed,
no stage could be published, so the job ends at once with one line instead of failing after hours of work.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from sweep.claims.file_system import lock_option, mount_of
from sweep.json_files import write_json

LEAST_FREE_GIB = 10.0
LEAST_FREE_INODES = 10_000
MOST_SKEW_S = 5.0
APPEARS_WITHIN_S = 3.0  # NFS caches attributes, so new files take a moment to appear
GIB = 2**30


@dataclass(frozen=True)
class Probe:
    """The content of probe.json."""

    host: str
    at: str
    file_system: str
    mounted_at: str
    options: tuple[str, ...]
    lock_option: str | None  # the mount option that keeps locks local to a machine
    locks: str  # "" if locks exclude each other, else the problem
    is_visible: bool  # whether files written by the submitting host are visible
    skew_s: float  # clock of the file system minus clock of this machine
    free_gib: float
    free_inodes: int | None  # None if the file system does not count them


class StoreUnusable(Exception):
    """No stage could be published from this node; the text is one line."""


def probe(submission: Path, job: str, host: str) -> Probe:
    """Try what workers need in a temporary folder. Raises StoreUnusable."""
    folder = submission / f".probe-{secrets.token_hex(4)}"
    mount = mount_of(submission)
    try:
        _attempt("make a directory", folder, lambda: folder.mkdir())
        skew_s = check_writes(folder)
        space = os.statvfs(submission)
        return Probe(
            host=host,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            file_system=mount.file_system,
            mounted_at=str(mount.mounted_at),
            options=mount.options,
            lock_option=lock_option(mount),
            locks=check_locks(folder / "lock"),
            is_visible=_sees_note(submission / "jobs", job),
            skew_s=round(skew_s, 3),
            free_gib=round(space.f_bavail * space.f_frsize / GIB, 1),
            free_inodes=space.f_favail if space.f_files else None,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def warnings_of(found: Probe) -> Iterator[str]:
    """The problems found, short enough to join on one line."""
    where = f"{found.file_system} at {found.mounted_at}"
    if found.lock_option is not None:
        yield f"locks do not reach other machines ({where}, {found.lock_option})"
    if found.locks:
        yield f"locks: {found.locks} ({where})"
    if not found.is_visible:
        yield f"files of the submitting host are not visible after {APPEARS_WITHIN_S:.0f} s"
    if abs(found.skew_s) > MOST_SKEW_S:
        yield f"the store's clock is {found.skew_s:+.0f} s off the node's"
    if found.free_gib < LEAST_FREE_GIB:
        yield f"{found.free_gib:.1f} GiB free"
    if found.free_inodes is not None and found.free_inodes < LEAST_FREE_INODES:
        yield f"{found.free_inodes:,} inodes free"


def check_writes(folder: Path) -> float:
    """Write, link and rename files as publishing does; returns the clock skew in seconds."""
    first, second, third = folder / "first", folder / "second", folder / "third"
    before = time.time()
    _attempt("write a file", first, lambda: _write(first))
    skew_s = skew(before, first.stat().st_mtime, time.time())
    _attempt("link a file", second, lambda: os.link(first, second))
    try:
        os.link(first, second)
    except FileExistsError:
        pass
    else:
        raise StoreUnusable(
            f"{second}: linking over an existing file succeeds, so two workers could publish one stage."
        )
    _attempt("rename a file", third, lambda: first.replace(third))
    return skew_s


def skew(before: float, stamped: float, after: float) -> float:
    """How far a time stamp lies outside the interval in which it was written, in seconds; negative if before it."""
    return max(stamped - after, 0.0) + min(stamped - before, 0.0)


def _write(path: Path) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write("here\n")
        file.flush()
        os.fsync(file.fileno())


def _attempt(what: str, path: Path, act: Callable[[], object]) -> None:
    try:
        act()
    except OSError as error:
        mount = mount_of(path.parent)
        raise StoreUnusable(
            f"{path}: {socket.gethostname()} cannot {what} ({os.strerror(error.errno or 0)};"
            f" {mount.file_system} at {mount.mounted_at}, {','.join(mount.options[:6])})."
        ) from None


def check_locks(path: Path) -> str:
    """The problem with locks, or "" if a held lock excludes a second one."""
    with path.open("w", encoding="ascii") as one, path.open("a", encoding="ascii") as other:
        try:
            flock(one, LOCK_EX | LOCK_NB)
        except OSError as error:
            return f"not supported, {os.strerror(error.errno or 0)}"
        try:
            flock(other, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return ""
        except OSError as error:
            return "" if error.errno == errno.EACCES else f"refused, {os.strerror(error.errno or 0)}"
    return "two processes can hold the same lock"


def _sees_note(folder: Path, job: str) -> bool:
    """Whether the file that the submitting host wrote before sbatch becomes visible in time."""
    until = time.monotonic() + APPEARS_WITHIN_S
    while not any((folder / f"{job}.{kind}").exists() for kind in ("sending", "job")):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def main(submission: Path, job: str) -> int:
    """Probe and write probe.json. Returns 1, with one line on stderr, if no stage can be published from here."""
    try:
        found = probe(submission, job, socket.gethostname())
        warnings = list(warnings_of(found))
        write_json(submission / "probe.json", {**asdict(found), "warnings": warnings})
    except (StoreUnusable, OSError) as error:
        print(f"store: {error} No stage could be published. Choose another store, or ask the site.", file=sys.stderr)
        return 1
    for line in warnings:
        print(f"store: {line}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), sys.argv[2]))
