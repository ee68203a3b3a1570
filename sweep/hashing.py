"""Hash files in parallel threads: hashlib releases the interpreter lock while it works."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeAlias

MAX_THREADS = 16  # beyond that, disks and network file systems are the limit
PARALLEL_FROM_BYTES = 64 << 20  # a smaller amount is hashed before a thread has started

HashFunction: TypeAlias = Callable[[Path], str]


def sha256_of(path: Path) -> str:
    """64 hex digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_if_readable(path: Path) -> str | None:
    """64 hex digits; None for anything but a readable file."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def git_sha1_of(path: Path) -> str:
    """The hash that git, and so the hub, uses for a file outside LFS: 40 hex digits. Raises OSError."""
    with path.open("rb") as file:
        header = f"blob {os.fstat(file.fileno()).st_size}\0".encode("ascii")

        return hashlib.file_digest(file, lambda: hashlib.sha1(header, usedforsecurity=False)).hexdigest()


def each_hashed(paths: Iterable[Path], hash_of: HashFunction = sha256_of) -> dict[Path, str]:
    """Hash every file. Raises OSError.

    The largest files come first, so that no thread starts a large file when the others have finished.
    """
    sizes = {path: path.stat().st_size for path in paths}
    largest_first = sorted(sizes, key=lambda path: sizes[path], reverse=True)
    if len(sizes) < 2 or sum(sizes.values()) < PARALLEL_FROM_BYTES:
        return {path: hash_of(path) for path in largest_first}
    with ThreadPoolExecutor(min(len(sizes), MAX_THREADS, os.cpu_count() or 1)) as pool:
        return dict(zip(largest_first, pool.map(hash_of, largest_first), strict=True))


def hashed_once(paths: Iterable[Path], hash_of: HashFunction = sha256_of) -> dict[Path, str]:
    """Like each_hashed, but this process reads a file only once while it does not change."""
    return each_hashed(paths, lambda path: _hash_of_state(path.resolve(), _state(path), hash_of))


@cache
def _hash_of_state(path: Path, _state: tuple[int, ...], hash_of: HashFunction) -> str:
    return hash_of(path)


def _state(path: Path) -> tuple[int, ...]:
    """Read before the file is hashed: a change in between gives a different state."""
    state = path.stat()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
