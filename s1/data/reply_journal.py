"""Journal of replies: each is stored as soon as it arrives, so that no request is paid for twice.

answers.jsonl              replies.Reply, one checksummed line each (s1/files/checked_lines.py), in order of arrival
answers.refused.jsonl      the replies of a failed trial, archived for people to read; then answers.refused-2.jsonl, ...
answers.damaged.jsonl      a directory that was found under the name answers.jsonl

The file is append-only. A damaged line stays in place, is reported in a warning, and its question is sent again; lines
after it are still read. If a question has two replies, the first is used. Earlier versions wrote JSON lines without
checksums: these are accepted, with a warning, if they precede all checksummed lines and are formatted as that version
wrote them. A line that merely lost its checksum does not match that.

A line reaches the operating system at once, and the disk every few lines and at the end: a killed process loses
nothing, a machine crash loses a few replies.
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
CHECKSUMMED = re.compile(rb"[0-9a-f]{8} \{")
LINES_SHOWN = 10  # line numbers in a warning


class ReplyJournal:
    """The replies of one stage, by row id; one writer at a time. Raises ConfigError if the file is not readable."""

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
        """Store a reply. Raises OSError if it cannot be written."""
        self._lines.write(checked_line(asdict(reply)))
        self.replies[reply.id] = reply
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY:
            self._sync()

    def archive(self) -> None:
        """Rename the journal to answers.refused.jsonl; the next attempt starts from scratch."""
        self._path.rename(_free(self._path.with_name(f"{self._path.stem}.refused{{}}.jsonl")))

    def _sync(self) -> None:
        self._lines.sync()
        self._unsynced = 0

    def _read(self) -> dict[str, Reply]:
        """The first undamaged reply of each row."""
        if self._path.is_dir():
            aside = _free(self._path.with_name(f"{self._path.stem}.damaged{{}}.jsonl"))
            self._path.rename(aside)
            log.warning(
                "%s: a directory, not a file. Renamed it to %s; every question is sent.", self._path, aside.name
            )
        replies: dict[str, Reply] = {}
        damaged, repeated, unchecked = [], [], 0
        may_be_old = True
        for number, line in self._numbered_lines():
            may_be_old = may_be_old and not CHECKSUMMED.match(line)
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
                f"{self._path}: {error.strerror}; it holds replies that were paid for. Make it readable: chmod u+rw."
            ) from None

    def _report(self, damaged: list[int], repeated: list[int], unchecked: int) -> None:
        if damaged:
            log.warning("%s line %s: damaged; the questions are sent again.", self._path, _listed(damaged))
        if repeated:
            log.warning("%s line %s: a second reply to a question; the first is used.", self._path, _listed(repeated))
        if unchecked:
            log.warning("%s: using %d lines of an earlier version, without checksums.", self._path, unchecked)


def _reply_on(line: bytes, may_be_old: bool) -> Reply | None:
    """Parse a line; None if it is torn, damaged, or not a reply."""
    try:
        value = _unchecked_value(line) if may_be_old and line.startswith(b"{") else value_of(line)
        return typed(Reply, value) if isinstance(value, dict) else None
    except (ValueError, RecursionError, InputError):  # ValueError also covers invalid UTF-8 and invalid JSON
        return None


def _unchecked_value(line: bytes) -> Any:
    """Parse a line without a checksum, in the exact format of earlier versions. Raises ValueError for any other."""
    value = json.loads(line)
    if line != json.dumps(value, ensure_ascii=False).encode("utf-8") + b"\n":
        raise ValueError("lost its checksum, or damaged")
    return value


def _listed(numbers: list[int]) -> str:
    more = f" and {len(numbers) - LINES_SHOWN} more" if len(numbers) > LINES_SHOWN else ""
    return ", ".join(map(str, numbers[:LINES_SHOWN])) + more


def _free(pattern: Path) -> Path:
    """The first unused path, with "", "-2", "-3", ... in place of {}."""
    names = (pattern.with_name(pattern.name.format(number)) for number in ["", *(f"-{n}" for n in range(2, 10_000))])
    return next(path for path in names if not os.path.lexists(path))
