"""The source that a function reaches, remembered from one command to the next in the user's cache.

Reading it anew takes a second for the stages of one plan: syntax trees of 150 files. What was found before is taken if
everything that was asked of the file system then has the same answer now (sweep/source/file_answers.py), every byte
of every
file included, with the same Python and the same reader. Otherwise, or where there is no cache that can be read, it is
read anew. So the cache changes no result; no key depends on where it is or whether it is there.
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

FOLDER = "s1-sweep"  # in the user's cache
MOST_ENTRIES = 128  # of about 30 kB
READERS = ("digest.py", "syntax.py", "file_answers.py", "memo.py")
READER = hashlib.sha256(b"".join(Path(__file__).with_name(name).read_bytes() for name in READERS)).hexdigest()


@cache
def remembered_source(
    roots: tuple[str, ...], home: Path | None = None, packages: tuple[str, ...] = ()
) -> Mapping[str, str]:
    """The same as source_of, sooner where nothing has changed. Raises SourceError."""
    entry = _entry(roots, home, packages)
    known = None if entry is None else _known(entry)
    if known is not None:
        return known
    answers = FileAnswers()
    files = read_source(roots, home, packages, answers)
    if entry is not None:
        with suppress(OSError):  # a disk that is full, a home that cannot be written
            _keep(entry, {"files": files, "answers": answers.given})
    return files


def _known(entry: Path) -> Mapping[str, str] | None:
    """What an entry holds, if it is whole and still true."""
    with suppress(StoreError, OSError):
        value = read_sealed(entry)
        if CHECKSUM in value and still_given(value["answers"]):
            return value["files"]
    return None


def _keep(entry: Path, value: Mapping[str, object]) -> None:
    """Written whole or not at all; the oldest entries make room."""
    entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(entry, sealed(value), durable=False)
    entries = sorted(entry.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for old in entries[:-MOST_ENTRIES]:
        old.unlink(missing_ok=True)


def _entry(roots: tuple[str, ...], home: Path | None, packages: tuple[str, ...]) -> Path | None:
    """Its file, named by all that is asked and by what reads; None: there is no place for it."""
    asked = repr((READER, sys.version, str(PROJECT), None if home is None else str(home), roots, packages))
    caches = os.environ.get("XDG_CACHE_HOME", "")
    with suppress(RuntimeError):  # a user without a home
        folder = Path(caches) if Path(caches).is_absolute() else Path.home() / ".cache"
        return folder / FOLDER / f"source-{hashlib.sha256(asked.encode()).hexdigest()[:32]}.json"
    return None
