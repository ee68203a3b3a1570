"""Append-only files with a checksum on each line.

    <crc32, 8 hex digits> <JSON object>

crc32 detects every change within 32 consecutive bits, so every damaged byte, and misses one in four billion of all
other changes: enough against accidents, and an eighth of the length of a sha256. A failed write may leave an empty
line, which is not damage.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO


def checked_line(value: Any) -> bytes:
    """Format a JSON value as a line with its checksum. Lone surrogates, which UTF-8 cannot encode, are escaped."""
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def value_of(line: bytes) -> Any:
    """Parse a line written by `checked_line`. Raises ValueError for a torn or damaged line."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        raise ValueError("torn or damaged")
    return json.loads(text)


class LineWriter:
    """Appends lines to a file. If the file ends in a torn line, new lines start after it."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab", buffering=0)  # unbuffered, so that errors show at once
        self._torn = _ends_torn(path)

    def write(self, line: bytes) -> None:
        """Append a line. Raises OSError; part of it may then be in the file, and the next write starts a new line."""
        rest = b"\n" + line if self._torn else line
        self._torn = True
        while rest:
            rest = rest[self._file.write(rest) :]  # a full disk may accept only a part
        self._torn = False

    def sync(self) -> None:
        """Flush all lines to disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
