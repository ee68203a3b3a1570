"""What the files of a product were when it was published, and whether they still are.

    record.json  "files": {"answers.jsonl": {"bytes": 51234, "sha256": "<64 hex digits>"}, ...}
    hashed.json  {"answers.jsonl": [inode, bytes, mtime_ns, ctime_ns], ...}: which state of each file had that sha256

Paths are relative to the product's directory, with slashes. Two ways to look at them: `reading` hashes every byte, for
whoever reads or publishes a product and for `python -m sweep store check`; `Seen.look` hashes only files whose state is
new, for planning. A product holds its own bytes: a link is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeAlias, TypedDict

from sweep.core.identity import key_of
from sweep.errors import SweepError

PARALLEL_FROM_BYTES = 64 << 20  # less is hashed before a thread has started
HASHING_THREADS = 16


class FileState(TypedDict):
    """One file of a product, as JSON."""

    bytes: int
    sha256: str


Look: TypeAlias = "Callable[[Path, Mapping[str, FileState]], list[str]]"
Inode: TypeAlias = "tuple[int, int, int, int]"  # inode, bytes, mtime_ns, ctime_ns: a write changes at least one
Inodes: TypeAlias = "Mapping[str, Sequence[int]]"  # the content of hashed.json


class LinkError(SweepError, ValueError):
    """A product that points outside itself."""


def file_states(out: Path) -> dict[str, FileState]:
    """Every file below a directory. Raises LinkError at a symbolic link: what it points to could change unseen."""
    paths = sorted(out.rglob("*"))
    for path in paths:
        if path.is_symlink():
            raise LinkError(
                f"out/{path.relative_to(out)}: a link. A product holds its own bytes: write the file itself."
            )
    files = [path for path in paths if path.is_file()]
    hashes = _hashes(files)
    return {
        path.relative_to(out).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256}
        for path, sha256 in zip(files, hashes, strict=True)
    }


def digest_of(files: Mapping[str, FileState]) -> str:
    """Twelve hex digits that stand for the bytes of a product: two machines may give one key two of them."""
    return key_of({name: state["sha256"] for name, state in files.items()})


def changed_files_by_stat(out: Path, files: Mapping[str, FileState]) -> list[str]:
    """Files that are missing or have another size; costs one stat a file."""
    return [fault for name, was in files.items() if (fault := _glance(out / name, f"out/{name}", was))]


def changed_files_by_hash(out: Path, files: Mapping[str, FileState]) -> list[str]:
    """Files that are missing, have other bytes, or were not there; reads every byte, several files at a time."""
    faults = changed_files_by_stat(out, files)
    seen = {fault.partition(":")[0] for fault in faults}
    names = [name for name in files if f"out/{name}" not in seen]
    for name, sha256 in zip(names, _hashes([out / name for name in names]), strict=True):
        if sha256 != files[name]["sha256"]:
            faults.append(f"out/{name}: other bytes than were published")
    return faults + _unknown(out, files)


@dataclass
class HashCache:
    """Files whose bytes were hashed before, by the state that they had then; a state that is new is hashed."""

    inodes: Inodes
    now: dict[str, Sequence[int]] = field(
        default_factory=dict[str, Sequence[int]]
    )  # of the files that `look` found whole

    def look(self, out: Path, files: Mapping[str, FileState]) -> list[str]:
        """Faults as of `reading`; what was hashed in its present state costs one stat."""
        faults = changed_files_by_stat(out, files)
        seen = {fault.partition(":")[0] for fault in faults}
        for name, was in files.items():
            if f"out/{name}" in seen:
                continue
            inode = inode_of(out / name)
            if self.inodes.get(name) != list(inode) and _sha256(out / name, inode) != was["sha256"]:
                faults.append(f"out/{name}: other bytes than were published")
                continue
            self.now[name] = list(inode)
        return faults + _unknown(out, files)


def inode_of(path: Path) -> Inode:
    """The state of a file, for as long as nobody writes to it."""
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def inodes_of(out: Path, names: Sequence[str]) -> Inodes:
    """The content of hashed.json, of files that were just hashed."""
    return {name: inode_of(out / name) for name in names}


def _unknown(out: Path, files: Mapping[str, FileState]) -> list[str]:
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    return [f"out/{name}: not there when it was published" for name in sorted(there.difference(files))]


def _glance(path: Path, name: str, was: FileState) -> str | None:
    try:
        state = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return f"{name}: missing"
    if not stat.S_ISREG(state.st_mode):  # a directory, or a link
        return f"{name}: not a file"
    return None if state.st_size == was["bytes"] else f"{name}: {state.st_size} bytes, {was['bytes']} were published"


def _hashes(paths: Sequence[Path]) -> list[str]:
    """Of each file, in order; hashing releases the interpreter lock, and what is read stays in the page cache."""
    inodes = [inode_of(path) for path in paths]
    if sum(inode[1] for inode in inodes) < PARALLEL_FROM_BYTES or len(paths) == 1:
        return [_sha256(path, inode) for path, inode in zip(paths, inodes, strict=True)]
    with ThreadPoolExecutor(min(HASHING_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(_sha256, paths, inodes))


@cache
def _sha256(path: Path, inode: Inode) -> str:
    """Hashed once by a process for each state of the file: the weights of a batch are an input of all its stages."""
    del inode
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
