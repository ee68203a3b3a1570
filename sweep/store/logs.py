"""Numbered logs of attempts: log-1.txt, log-2.txt, and log.txt, a link to the newest.

Stages of one worker share the log of the first stage; log.txt of the others points to it.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

LINK = "log.txt"
NUMBERED = re.compile(r"log-(\d+)\.txt")


def new_log(directory: Path) -> Path:
    """Create an empty log with an unused number; safe for concurrent processes."""
    known = [int(found[1]) for path in directory.glob("log-*.txt") if (found := NUMBERED.fullmatch(path.name))]
    for number in itertools.count(max(known, default=0) + 1):
        path = directory / f"log-{number}.txt"
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            return path
    raise AssertionError("numbers do not end")


def point_to_log(log: Path, directory: Path) -> None:
    """Point log.txt of a stage to this log atomically; an existing regular file gets a number."""
    link = directory / LINK
    temporary = directory / f".{LINK}.{secrets.token_hex(4)}"
    if link.is_file() and not link.is_symlink():
        _number(link)
    temporary.symlink_to(os.path.relpath(log, directory))
    temporary.replace(link)


def _number(earlier: Path) -> None:
    """Give an unnumbered log a number, by a hard link because another process may do the same."""
    kept = new_log(earlier.parent)
    temporary = kept.with_name(f".{kept.name}")
    with suppress(FileNotFoundError):
        os.link(earlier, temporary, follow_symlinks=False)
        temporary.replace(kept)
