"""Replies on disk the moment they are heard, so that a question that was paid for is never asked twice.

answers.jsonl            replies.Reply, one a line, in the order of arrival; only ever appended to
answers.refused.jsonl    the same of a model that was refused, for people to read

A line reaches the operating system at once, and the disk every few lines and at the end: the death of the process loses
nothing, the death of the machine a few answers. A torn last line is cut off, aloud, and its question asked again.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from s1.data.replies import Reply
from s1.records import read_rows

log = logging.getLogger(__name__)

ANSWERS = "answers.jsonl"
SYNC_EVERY = 16  # replies


class Journal:
    """The replies of one stage, by row; one writer at a time."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / ANSWERS
        _cut_torn_line(self._path)
        found = read_rows(self._path, Reply) if self._path.exists() else []
        self.replies = {reply.id: reply for reply in found}
        self._file = self._path.open("a", encoding="utf-8")
        self._unsynced = 0

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sync()
        self._file.close()

    def add(self, reply: Reply) -> None:
        """Keep a reply."""
        self.replies[reply.id] = reply
        self._file.write(json.dumps(asdict(reply), ensure_ascii=False) + "\n")
        self._file.flush()  # the line is the kernel's now, whatever becomes of this process
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY:
            self._sync()

    def set_aside(self) -> None:
        """Nothing of this counts any more: the next attempt begins anew, and what was heard stays readable beside."""
        self._path.replace(self._path.with_suffix(".refused.jsonl"))

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._unsynced = 0


def _cut_torn_line(path: Path) -> None:
    """What a killed writer left of its last line."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        held = file.read()
        whole = held.rfind(b"\n") + 1
        if whole < len(held):
            log.warning("%s: its last line is torn and left out. That question is asked again.", path)
            file.truncate(whole)
