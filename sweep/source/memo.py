"""Cache source digests between commands, in the user's cache folder.

Computing them takes a second for the stages of one plan, because it parses 150 files. A cache entry is valid if all
file system queries of its computation have the same answers now (sweep/source/file_answers.py), which covers every byte
of every file, and if Python and this package are the same. So the cache never changes a result, and no key depends on
it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from sweep.json_files import CHECKSUM, StoreError, read_sealed, sealed, write_json
from sweep.source.digest import PROJECT, read_source
from sweep.source.file_answers import FileAnswers, still_given

FOLDER = "s1-sweep"  # in the user's cache folder
MAX_ENTRIES = 128  # of about 30 kB
READERS = ("digest.py", "syntax.py", "file_answers.py", "memo.py")
READER = hashlib.sha256(b"".join(Path(__file__).with_name(name).read_bytes() for name in READERS)).hexdigest()


@cache
def remembered_source(
    roots: tuple[str, ...], home: Path | None = None, packages: tuple[str, ...] = ()
) -> Mapping[str, str]:
    """Like source_of, but cached. Raises SourceError."""
    entry = _entry(roots, home, packages)
    known = None if entry is None else _known(entry)
    if known is not None:
        return known
    answers = FileAnswers()
    files = read_source(roots, home, packages, answers)
    if entry is not None:
        with suppress(OSError):  # a full disk, or a read-only home
            _keep(entry, {"files": files, "answers": answers.given})
    return files


def _known(entry: Path) -> Mapping[str, str] | None:
    """Content of a cache entry, if it is intact and valid."""
    with suppress(StoreError, OSError):
        value = read_sealed(entry)
        if CHECKSUM in value and still_given(value["answers"]):
            return value["files"]
    return None


def _keep(entry: Path, value: Mapping[str, object]) -> None:
    """Write an entry atomically and remove the oldest ones."""
    entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(entry, sealed(value), durable=False)
    entries = sorted(entry.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for old in entries[:-MAX_ENTRIES]:
        old.unlink(missing_ok=True)


def _entry(roots: tuple[str, ...], home: Path | None, packages: tuple[str, ...]) -> Path | None:
    """Path of the cache entry for these arguments; None without a cache folder."""
    request = repr((READER, sys.version, str(PROJECT), None if home is None else str(home), roots, packages))
    caches = os.environ.get("XDG_CACHE_HOME", "")
    with suppress(RuntimeError):  # a user without a home folder
        folder = Path(caches) if Path(caches).is_absolute() else Path.home() / ".cache"
        return folder / FOLDER / f"source-{hashlib.sha256(request.encode()).hexdigest()[:32]}.json"
    return None
