"""Files of lines that are only ever appended to, each line with a checksum of its own.

    <crc32, 8 hex digits> <JSON object>

crc32 finds every change within 32 neighbouring bits, so every damaged byte, and misses one in four billion of all other
damages: enough against accidents, in a fifth of the room that a sha256 takes. An empty line is what a failed write may
leave, and no damage.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO


def checked_line(value: Any) -> bytes:
    """A JSON value on a line with its checksum. Half a character, which UTF-8 cannot hold, is escaped."""
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def value_of(line: bytes) -> Any:
    """What `checked_line` was given. Raises ValueError for a torn or damaged line."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        raise ValueError("torn or damaged")
    return json.loads(text)


class LineWriter:
    """Appends lines to a file, which may end in a torn one: that stays alone on its line."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab", buffering=0)  # a line is the kernel's at once, or an error is
        self._torn = _ends_torn(path)

    def write(self, line: bytes) -> None:
        """Append a line. Raises OSError; then part of it may be in the file, and the next one begins on a new line."""
        rest = b"\n" + line if self._torn else line
        self._torn = True
        while rest:
            rest = rest[self._file.write(rest) :]  # a disk that is filling up takes a part
        self._torn = False

    def sync(self) -> None:
        """Bring all lines to the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
