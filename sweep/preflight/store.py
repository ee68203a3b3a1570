"""Checks of the store from a node: publishing, locks and renames between nodes, clocks, free space.

They take a `Group`, through which the processes of a job meet; a single process is a group of one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any, Protocol

from sweep.claims.file_system import mount_of
from sweep.preflight.check import Check, failed, passed, skipped
from sweep.slurm.probe import (
    APPEARS_WITHIN_S,
    GIB,
    LEAST_FREE_GIB,
    MOST_SKEW_S,
    StoreUnusable,
    check_locks,
    check_writes,
    skew,
)

ANOTHER_STORE = "Choose a store on a shared file system with locks and links (store=DIR), or ask the site."


class Group(Protocol):
    """The processes of a job."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def gathered(self, value: Any) -> list[Any]:
        """The value of every rank, on every rank; all ranks wait for each other."""
        ...


def check_publishing(folder: Path) -> Check:
    """Create, link and rename files as publishing does, and hold a lock twice. `folder` must not exist."""
    name = "store: publishing"
    try:
        folder.mkdir(parents=True)
        check_writes(folder)
        problem = check_locks(folder / "lock")
    except (StoreUnusable, OSError) as error:
        return failed(name, str(error), ANOTHER_STORE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    mount = mount_of(folder.parent)
    if problem:
        return failed(name, f"locks: {problem} ({mount.file_system} at {mount.mounted_at})", ANOTHER_STORE)
    return passed(name, f"files, links, renames and locks work ({mount.file_system} at {mount.mounted_at})")


def check_between_nodes(folder: Path, group: Group, hosts: Sequence[str]) -> Check:
    """Whether a lock of rank 0 excludes the other ranks, a rename reaches them, and one of them wins a link."""
    name = "store: between nodes"
    if group.size == 1:
        return skipped(name, "one process; a job of several nodes checks it")
    try:
        problems = _problems_between(folder, group)
    finally:
        group.gathered(None)
        if group.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
    if problems:
        return failed(name, "; ".join(dict.fromkeys(problems)), ANOTHER_STORE)
    return passed(name, f"locks, renames and links of {group.size} processes on {len(set(hosts))} nodes agree")


def _problems_between(folder: Path, group: Group) -> list[str]:
    """What went wrong on any rank; every rank makes the same calls of `gathered`, whatever happens on it."""
    found: list[str] = []
    first, aside, taken = folder / "renamed", folder / "aside", folder / "taken"
    if group.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        aside.write_text("complete\n", encoding="ascii")
        aside.replace(first)
    group.gathered(None)
    if not _appears(first):
        found.append(f"rank {group.rank} does not see a renamed file after {APPEARS_WITHIN_S:.0f} s")
    with (folder / "lock").open("a", encoding="ascii") as lock:
        if group.rank == 0:
            flock(lock, LOCK_EX | LOCK_NB)
        group.gathered(None)
        if group.rank and _can_lock(lock.fileno()):
            found.append(f"rank {group.rank} gets a lock that rank 0 holds")
        group.gathered(None)
    own = folder / f"own-{group.rank}"
    own.write_text(str(group.rank), encoding="ascii")
    group.gathered(None)
    wins = sum(group.gathered(_links(own, taken)))
    if wins != 1:
        found.append(f"{wins} of {group.size} processes created the same file, so a stage could be published twice")
    return [each for problems in group.gathered(found) for each in problems]


def _appears(path: Path) -> bool:
    until = time.monotonic() + APPEARS_WITHIN_S
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _can_lock(descriptor: int) -> bool:
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except OSError:
        return False
    return True


def _links(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def check_clocks(folder: Path, group: Group) -> Check:
    """The clock of the store against that of the nodes, and those of the nodes against each other."""
    name = "clocks"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"stamp-{group.rank}"
    before = time.time()
    file.touch()
    of_store_s = skew(before, file.stat().st_mtime, time.time())
    file.unlink()
    group.gathered(None)  # all ranks leave this call within milliseconds
    times = group.gathered(time.time())
    between_s = max(times) - min(times)
    stores = group.gathered(of_store_s)
    furthest_s = round(max(stores, key=abs), 1) + 0.0  # never -0.0
    measured = f"the store's is {furthest_s:+.1f} s off the nodes', nodes differ by {between_s:.1f} s"
    if max(abs(furthest_s), between_s) > MOST_SKEW_S:
        return failed(name, measured, f"Ask the site to set the clocks (NTP): more than {MOST_SKEW_S:.0f} s mislead.")
    return passed(name, measured)


def check_space(store: Path, needed_gib: float | None) -> Check:
    """Free space of the store, against what the plan writes (None: unknown)."""
    space = os.statvfs(store)
    free_gib = space.f_bavail * space.f_frsize / GIB
    least_gib = max(LEAST_FREE_GIB, needed_gib or 0.0)
    measured = f"{free_gib:,.0f} GiB free" + (f", the plan writes about {needed_gib:,.1f} GiB" if needed_gib else "")
    if free_gib < least_gib:
        advice = (
            f"Free space (sweep store prune), or choose another store (store=DIR): {least_gib:,.0f} GiB are needed."
        )
        return failed("disk", measured, advice)
    return passed("disk", measured)
