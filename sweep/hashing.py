"""Hashes of files, several at once: hashlib lets go of the interpreter, so threads use several cores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

THREADS_AT_MOST = 8  # beyond that, discs and network file systems are what limits


def sha256_of(path: Path) -> str:
    """64 hex digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_sha1_of(path: Path) -> str:
    """What git, and so the hub, calls a file that is no LFS file: 40 hex digits. Raises OSError."""
    with path.open("rb") as file:
        header = f"blob {os.fstat(file.fileno()).st_size}\0".encode("ascii")

        return hashlib.file_digest(file, lambda: hashlib.sha1(header, usedforsecurity=False)).hexdigest()


def each_hashed(paths: Iterable[Path], hash_of: Callable[[Path], str] = sha256_of) -> dict[Path, str]:
    """The hash of every file, the largest first, so that no thread is left with it at the end. Raises OSError."""
    largest_first = sorted(paths, key=lambda path: path.stat().st_size, reverse=True)
    if not largest_first:
        return {}
    threads = min(len(largest_first), THREADS_AT_MOST, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(largest_first, pool.map(hash_of, largest_first), strict=True))


def hashed_once(paths: Iterable[Path], hash_of: Callable[[Path], str] = sha256_of) -> dict[Path, str]:
    """The same, but a file is read once in the life of this process, as long as nobody has touched it."""
    states = {path: (hash_of.__name__, path.resolve(), *_state(path)) for path in paths}
    new = each_hashed([path for path, state in states.items() if state not in _known], hash_of)
    for path, digest in new.items():
        _known[states[path]] = digest
    return {path: _known[state] for path, state in states.items()}


_known: dict[tuple[Hashable, ...], str] = {}


def _state(path: Path) -> tuple[int, ...]:
    """Looked at before the file is read: a change meanwhile makes it another state."""
    state = path.stat()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
