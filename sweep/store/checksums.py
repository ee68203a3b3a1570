"""Checksums of an artifact's files when it was published, and checks against them.

    record.json  "files": {"answers.jsonl": {"bytes": 51234, "sha256": "<64 hex digits>"}, ...}
    hashed.json  {"answers.jsonl": [inode, bytes, mtime_ns, ctime_ns], ...}: the file state that had this sha256

Paths are relative to the artifact's directory, with slashes. `changed_files_by_hash` hashes every byte; workers,
publishing and `python -m sweep store check` use it. `HashCache.check` hashes only files that were touched since the
last plan. An artifact contains its own bytes: links are refused.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypedDict

from sweep.core.identity import key_of
from sweep.errors import SweepError
from sweep.hashing import hashed_once


class FileState(TypedDict):
    """One file of an artifact, as in record.json."""

    bytes: int
    sha256: str


FileCheck: TypeAlias = "Callable[[Path, Mapping[str, FileState]], list[str]]"
Inode: TypeAlias = "tuple[int, int, int, int]"  # inode, bytes, mtime_ns, ctime_ns; a write changes at least one of them
Inodes: TypeAlias = "Mapping[str, Sequence[int]]"  # the content of hashed.json


class LinkError(SweepError, ValueError):
    """An artifact that contains a symbolic link."""


def file_states(out: Path) -> dict[str, FileState]:
    """State of every file below a directory. Raises LinkError for a symbolic link, whose target could change."""
    paths = sorted(out.rglob("*"))
    for path in paths:
        if path.is_symlink():
            raise LinkError(
                f"out/{path.relative_to(out)}: a symbolic link, whose target could change. Write the file itself."
            )
    files = [path for path in paths if path.is_file()]
    hashes = hashed_once(files)
    return {path.relative_to(out).as_posix(): {"bytes": path.stat().st_size, "sha256": hashes[path]} for path in files}


def digest_of(files: Mapping[str, FileState]) -> str:
    """12 hex digits of the hash of an artifact's bytes. Two machines can produce different digests for one key."""
    return key_of({name: state["sha256"] for name, state in files.items()})


def changed_files_by_stat(out: Path, files: Mapping[str, FileState]) -> list[str]:
    """Faults: files that are missing or have another size. Costs one stat per file."""
    return [fault for name, was in files.items() if (fault := _stat_fault(out / name, f"out/{name}", was))]


def changed_files_by_hash(out: Path, files: Mapping[str, FileState]) -> list[str]:
    """Faults: files that are missing, changed, or were added. Reads every byte, in parallel."""
    faults = changed_files_by_stat(out, files)
    seen = {fault.partition(":")[0] for fault in faults}
    names = [name for name in files if f"out/{name}" not in seen]
    hashes = hashed_once(out / name for name in names)
    for name in names:
        if hashes[out / name] != files[name]["sha256"]:
            faults.append(f"out/{name}: changed since it was published")
    return faults + _added(out, files)


@dataclass
class HashCache:
    """States of files that were hashed before; only a file in a new state is hashed again."""

    inodes: Inodes
    now: dict[str, Sequence[int]] = field(
        default_factory=dict[str, Sequence[int]]
    )  # of the files that `check` found intact

    def check(self, out: Path, files: Mapping[str, FileState]) -> list[str]:
        """Faults as from changed_files_by_hash; a file in a known state costs one stat."""
        faults = changed_files_by_stat(out, files)
        seen = {fault.partition(":")[0] for fault in faults}
        for name, was in files.items():
            if f"out/{name}" in seen:
                continue
            inode = inode_of(out / name)
            if self.inodes.get(name) != list(inode) and hashed_once([out / name])[out / name] != was["sha256"]:
                faults.append(f"out/{name}: changed since it was published")
                continue
            self.now[name] = list(inode)
        return faults + _added(out, files)


def inode_of(path: Path) -> Inode:
    """State of a file; it stays the same until somebody writes to the file."""
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def inodes_of(out: Path, names: Sequence[str]) -> Inodes:
    """Content of hashed.json for files that were just hashed."""
    return {name: inode_of(out / name) for name in names}


def _added(out: Path, files: Mapping[str, FileState]) -> list[str]:
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    return [f"out/{name}: added after it was published" for name in sorted(there.difference(files))]


def _stat_fault(path: Path, name: str, was: FileState) -> str | None:
    try:
        state = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return f"{name}: missing"
    if not stat.S_ISREG(state.st_mode):  # a directory, or a link
        return f"{name}: not a file"
    return None if state.st_size == was["bytes"] else f"{name}: {state.st_size} bytes, {was['bytes']} were published"
