"""Replies on disk the moment they arrive, so that a question that was paid for is never asked twice.

answers.jsonl              replies.Reply, one a line with a checksum (s1/files/checked_lines.py), in the order of
arrival
answers.refused.jsonl      the same of a model that was refused, for people to read; then answers.refused-2.jsonl, ...
answers.damaged.jsonl      what was in the place of answers.jsonl and is no file

The file is only ever appended to. A damaged line stays where it is, is named in a warning, and its question asked
again; lines after it count. Of two replies to one question the first counts. Lines of before this version are JSON
without a checksum: they count if they hold a reply as that version wrote it, before all lines with a checksum, and the
log says so. A line that has lost its checksum is no such line.

A line reaches the operating system at once, and the disk every few lines and at the end: the death of the process loses
nothing, the death of the machine a few answers.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from s1.config.schema import ConfigError
from s1.data.replies import Reply
from s1.files.checked_lines import LineWriter, checked_line, value_of
from sweep.core.typed import typed
from sweep.errors import InputError

log = logging.getLogger(__name__)

REPLIES_FILE = "answers.jsonl"
SYNC_EVERY = 16  # replies
CHECKED = re.compile(rb"[0-9a-f]{8} \{")
NAMED_AT_MOST = 10  # numbers of damaged lines in a warning


class ReplyJournal:
    """The replies of one stage, by row; one writer at a time. Raises ConfigError if its file may not be read."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / REPLIES_FILE
        self.damaged_lines = 0
        self.replies = self._read()
        self._lines = LineWriter(self._path)
        self._unsynced = 0

    def __enter__(self) -> ReplyJournal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sync()
        self._lines.close()

    def add(self, reply: Reply) -> None:
        """Keep a reply. Raises OSError if the disk does not take it."""
        self._lines.write(checked_line(asdict(reply)))
        self.replies[reply.id] = reply
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY:
            self._sync()

    def set_aside(self) -> None:
        """Nothing of this counts any more: the next attempt begins anew, and what was received stays beside."""
        self._path.rename(_free(self._path.with_name(f"{self._path.stem}.refused{{}}.jsonl")))

    def _sync(self) -> None:
        self._lines.sync()
        self._unsynced = 0

    def _read(self) -> dict[str, Reply]:
        """The first whole reply of each row."""
        if self._path.is_dir():
            aside = _free(self._path.with_name(f"{self._path.stem}.damaged{{}}.jsonl"))
            self._path.rename(aside)
            log.warning("%s: a directory, not a file. It is set aside as %s; all is asked.", self._path, aside.name)
        replies: dict[str, Reply] = {}
        damaged, repeated, unchecked = [], [], 0
        may_be_old = True
        for number, line in self._numbered_lines():
            may_be_old = may_be_old and not CHECKED.match(line)
            reply = _reply_on(line, may_be_old)
            unchecked += reply is not None and line.startswith(b"{")
            if reply is None:
                damaged.append(number)
            elif reply.id in replies:
                repeated.append(number)
            else:
                replies[reply.id] = reply
        self.damaged_lines = len(damaged)
        self._report(damaged, repeated, unchecked)
        return replies

    def _numbered_lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self._path.open("rb") as file:
                yield from ((number, line) for number, line in enumerate(file, start=1) if line != b"\n")
        except FileNotFoundError:
            return
        except PermissionError as error:
            raise ConfigError(
                f"{self._path}: {error.strerror}, and it holds replies that are paid for. Make it readable: chmod u+rw."
            ) from None

    def _report(self, damaged: list[int], repeated: list[int], unchecked: int) -> None:
        if damaged:
            log.warning("%s line %s: damaged, left out, and asked again.", self._path, _listed(damaged))
        if repeated:
            log.warning("%s line %s: answers a question again. The first reply counts.", self._path, _listed(repeated))
        if unchecked:
            log.warning("%s: %d lines of an earlier version, without checksums, are used.", self._path, unchecked)


def _reply_on(line: bytes, may_be_old: bool) -> Reply | None:
    """None for a torn or damaged line, and for one that holds something else."""
    try:
        value = _of_before(line) if may_be_old and line.startswith(b"{") else value_of(line)
        return typed(Reply, value) if isinstance(value, dict) else None
    except (ValueError, RecursionError, InputError):  # of bytes that are no text, and of JSON, too
        return None


def _of_before(line: bytes) -> Any:
    """A line without a checksum, with spaces as that version wrote them. Raises ValueError for any other."""
    value = json.loads(line)
    if line != json.dumps(value, ensure_ascii=False).encode("utf-8") + b"\n":
        raise ValueError("lost its checksum, or damaged")
    return value


def _listed(numbers: list[int]) -> str:
    more = f" and {len(numbers) - NAMED_AT_MOST} more" if len(numbers) > NAMED_AT_MOST else ""
    return ", ".join(map(str, numbers[:NAMED_AT_MOST])) + more


def _free(pattern: Path) -> Path:
    """The first name that is not taken: "", "-2", "-3", ... in place of {}."""
    names = (pattern.with_name(pattern.name.format(number)) for number in ["", *(f"-{n}" for n in range(2, 10_000))])
    return next(path for path in names if not os.path.lexists(path))
