"""Logs of attempts are numbered and kept: log-1.txt, log-2.txt, and log.txt, a link to the newest.

Stages of one worker have one log, that of the first of them; log.txt of the others leads to it.
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
    """An empty log of a number that no attempt has; of two at once each gets its own."""
    known = [int(found[1]) for path in directory.glob("log-*.txt") if (found := NUMBERED.fullmatch(path.name))]
    for number in itertools.count(max(known, default=0) + 1):
        path = directory / f"log-{number}.txt"
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            return path
    raise AssertionError("numbers do not end")


def point_to_log(log: Path, directory: Path) -> None:
    """Make log.txt of a stage lead to this log, at once; a file that is there from before gets a number."""
    link = directory / LINK
    aside = directory / f".{LINK}.{secrets.token_hex(4)}"
    if link.is_file() and not link.is_symlink():
        _number(link)
    aside.symlink_to(os.path.relpath(log, directory))
    aside.replace(link)


def _number(earlier: Path) -> None:
    """The log of an attempt of before there were numbers; a second name, as another process may do the same."""
    kept = new_log(earlier.parent)
    aside = kept.with_name(f".{kept.name}")
    with suppress(FileNotFoundError):
        os.link(earlier, aside, follow_symlinks=False)
        aside.replace(kept)
