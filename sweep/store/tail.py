"""Tails: what a stage measures while it runs, a JSON object per line, for whoever follows it.

    <stage>/scratch/tail-<stream>.jsonl     {"step": 12, "loss": 1.93, ...}

The first field is the stream's axis; it increases from line to line, also across attempts. A tail is a convenience: if
it cannot be written, the stage continues without it. It is removed with the scratch folder once the stage is done.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from sweep.plain_values import is_table

FLUSH_INTERVAL_S = 2.0  # lines wait this long to be written together
PREFIX, SUFFIX = "tail-", ".jsonl"

Row: TypeAlias = Mapping[str, float]


@dataclass(frozen=True)
class Stream:
    """One kind of measurement."""

    name: str
    axis: str  # the field that increases

    def file(self, scratch: Path) -> Path:
        """Its file in the scratch folder of a stage."""
        return scratch / f"{PREFIX}{self.name}{SUFFIX}"


MACHINE = Stream("machine", "seconds")  # load of processors and memory, sampled by the worker


@dataclass
class TailWriter:
    """Writes one stream of one stage; at most one process at a time. Never raises OSError."""

    stream: Stream
    scratch: Path
    flush_interval_s: float = FLUSH_INTERVAL_S
    clock: Callable[[], float] = time.monotonic
    _waiting: list[Row] = field(default_factory=list[Row])
    _written_at: float | None = None
    _is_torn: bool = True  # the file may end within a line

    @property
    def file(self) -> Path:
        return self.stream.file(self.scratch)

    def restart(self, rows: Iterable[Row]) -> None:
        """Replace the file by these rows: those that the attempt continues from."""
        self._waiting.clear()
        temporary = self.file.with_name(f".{self.file.name}.{secrets.token_hex(4)}")
        try:
            temporary.write_bytes(_lines(rows))
            temporary.replace(self.file)
        except OSError:
            with suppress(OSError):
                temporary.unlink()

    def add(self, row: Row) -> None:
        """Append a row; it is on disk after `flush_interval_s` and another row, or after `flush`."""
        self._waiting.append(row)
        if self._written_at is None or self.clock() - self._written_at >= self.flush_interval_s:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait; drop them if they cannot be written."""
        if not self._waiting:
            return
        content, self._waiting, self._written_at = _lines(self._waiting), [], self.clock()
        try:
            # Unbuffered, so that an error leaves nothing to write later. Does not create the folder: it is gone when
            # the stage has been published.
            with self.file.open("ab", buffering=0) as file:
                written = file.write(b"\n" + content if self._is_torn and file.tell() else content)
            self._is_torn = written is None or written < len(content)
        except OSError:
            self._is_torn = True


@dataclass
class TailReader:
    """Reads the rows that were added to a tail since the last call."""

    file: Path
    _inode: int = -1
    _offset: int = 0  # bytes of complete lines that were read

    def new_rows(self) -> list[Row]:
        """The new rows, or all of a replaced file. Lines that are no row are skipped."""
        try:
            with self.file.open("rb") as file:
                state = os.fstat(file.fileno())
                if state.st_ino != self._inode or state.st_size < self._offset:
                    self._inode, self._offset = state.st_ino, 0
                file.seek(self._offset)
                content = file.read()
        except OSError:  # not written yet, or removed
            return []
        complete = content[: content.rfind(b"\n") + 1]
        self._offset += len(complete)
        return rows_in(complete)


def rows_in(content: bytes) -> list[Row]:
    """The rows of a tail, in order; torn and damaged lines are skipped."""
    found = (_row(line) for line in content.splitlines())
    return [row for row in found if row is not None]


def last_row(file: Path) -> Row | None:
    """The last row of a tail; None without one."""
    rows = TailReader(file).new_rows()
    return rows[-1] if rows else None


def after(rows: Sequence[Row], axis: str, last: float | None) -> list[Row]:
    """Rows whose axis increases from row to row, starting above `last`; None: from the first."""
    found: list[Row] = []
    for row in rows:
        at = row.get(axis)
        if at is not None and (last is None or at > last):
            found.append(row)
            last = at
    return found


def _row(line: bytes) -> Row | None:
    try:
        value: object = json.loads(line)
    except ValueError:
        return None
    if not is_table(value):
        return None
    return {name: each for name, each in value.items() if isinstance(each, int | float) and not isinstance(each, bool)}


def _lines(rows: Iterable[Row]) -> bytes:
    return "".join(json.dumps(dict(row)) + "\n" for row in rows).encode()
