"""File systems that are full or read-only, mounted for the case if this machine allows it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.bases import Bases, clear
from tests.faults.cases import DONE, PAGE_BYTES, SWEEP, WORDS, Seen
from tests.faults.processes import Bench, kill_descendants, settle
from tests.faults.state import plant_users_files
from tests.faults.trial import Skipped, Trial


def disk_full(trial: Trial, bases: Bases) -> None:
    """A file system that is too small; then room is made, and the same command runs again."""
    clear(trial.bench)
    with _mounted(trial.bench.home, _room(trial.case.how, bases.seen)):
        plant_users_files(trial.bench.home)
        trial.begin()
        trial.run(SWEEP)
        settle()
        _mount(trial.bench.home, "remount,size=64m,nr_inodes=100k")
        trial.recover(SWEEP)
        trial.judge()  # while it is there


def _room(how: str, seen: Seen) -> str:
    """Options of a file system that holds a part of what a sweep needs."""
    what, _, percent = how.rstrip("%").partition("-")
    if what == "inodes":
        return f"nr_inodes={max(seen.inodes * int(percent) // 100, 10)}"
    return f"size={max(seen.pages * int(percent) // 100, 6) * PAGE_BYTES}"


def read_only(trial: Trial, bases: Bases) -> None:
    """Of a store that cannot be written: it can be listed and checked, and a sweep says in one line what is wrong."""
    bases.restore(DONE)
    trial.begin()
    words = WORDS[trial.case.how]
    with _mounted_read_only(trial.bench) if trial.case.where == "mount" else _as_nobody(trial.bench):
        done = trial.run(words)
    if trial.case.how in ("store", "check", "prune") and done.status != 0:
        trial.wrong.append(f"`{' '.join(words)}` needs to write: status {done.status}")
    if trial.case.how == "unfinished" and done.status == 0:
        trial.wrong.append("status 0, and nothing can have been written")
    trial.recover(SWEEP)


@contextmanager
def _mounted(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise Skipped(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        kill_descendants()
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", options, str(folder)], check=True)


@contextmanager
def _mounted_read_only(bench: Bench) -> Iterator[None]:
    """The home bound over itself, read-only."""
    done = subprocess.run(["mount", "--bind", bench.home, bench.home], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Skipped(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", bench.home], check=True)
        yield
    finally:
        kill_descendants()
        subprocess.run(["umount", "-l", bench.home], check=True)


@contextmanager
def _as_nobody(bench: Bench) -> Iterator[None]:
    """Commands run as a user who may read everything and write nothing."""
    if os.geteuid() != 0:
        raise Skipped("only root can become another user")
    bench.user = 65534
    try:
        yield
    finally:
        bench.user = None
