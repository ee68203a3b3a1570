"""The files of a continuation store: one per writer, append-only, a chunk of a stream on each line.

    <crc32, 8 hex digits> {"stream":"<32 hex digits>","at":96,"ids":[17,4,2],"stop":[2]}

`at` is the position of the first id in its stream; `ids` include the stop sequence if there is one.

Opening a store checks each line's checksum and notes where the lines of each stream are; the ids are parsed when their
stream is first needed.
"""

from __future__ import annotations

import hashlib
import logging
import re
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s1.files.checked_lines import checked_line, value_of
from sweep.core.identity import KEY_CHARACTERS

log = logging.getLogger(__name__)

# What `Chunk.to_line` writes, up to the ids.
OWN_LINE = re.compile(rb'([0-9a-f]{8}) {"stream":"([0-9a-f]{32})","at":')
OFFSET_BITS = 40  # of a place: the number of the file, then the offset in it
MAX_ID = 2**32 - 1


@dataclass(frozen=True)
class Chunk:
    """Consecutive ids of a stream: one line of a file."""

    stream: str
    at: int
    ids: tuple[int, ...]
    stop: tuple[int, ...] | None

    def to_line(self) -> bytes:
        return checked_line({"stream": self.stream, "at": self.at, "ids": self.ids, "stop": self.stop})

    @classmethod
    def from_line(cls, line: bytes) -> Chunk | None:
        """Parse a line; None if it is torn, damaged or not a chunk."""
        try:
            match value_of(line):
                case {"stream": str(stream), "at": int(at), "ids": list(ids), "stop": stop, **rest} if not rest:
                    is_chunk = _are_ids([at]) and _are_ids(ids) and (stop is None or _can_end_with(ids, stop))
                    return cls(stream, at, tuple(ids), None if stop is None else tuple(stop)) if is_chunk else None
        except ValueError:
            pass
        return None


def _can_end_with(ids: list[int], stop: Any) -> bool:
    """Whether ids may end in this stop, which may have started before them."""
    return _are_ids(stop) and bool(stop) and (not ids or ids[-len(stop) :] == stop[-len(ids) :])


def _are_ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and set(map(type, value)) <= {int}
        and min(value, default=0) >= 0
        and max(value, default=0) <= MAX_ID
    )


def lines_in(path: Path) -> Iterator[tuple[bytes, Chunk | None]]:
    """Yield each line of a file with its chunk, or None if the line is not a chunk. Raises OSError."""
    with path.open("rb") as file:
        yield from ((line, Chunk.from_line(line)) for line in file if line != b"\n")


@dataclass
class ReadStatistics:
    """Counts over the files of a store. What only the ids show is counted once their stream is read."""

    tokens: int = 0  # usable tokens
    rejected_lines: int = 0  # torn, damaged, not a chunk of this model, or contradicting an earlier chunk
    digest: str | None = None  # of all lines that were there at the opening, 12 hex digits; None: no chunks


@dataclass
class ChunkIndex:
    """Where the chunks of each stream are. `vocabulary`: chunks with ids beyond it are rejected; None: unknown."""

    vocabulary: int | None
    statistics: ReadStatistics = field(default_factory=ReadStatistics)
    _paths: list[Path] = field(default_factory=list[Path])
    _places: dict[str, array[int]] = field(default_factory=dict[str, "array[int]"])

    @classmethod
    def of(cls, directory: Path, vocabulary: int | None) -> ChunkIndex:
        """Read all files of a directory."""
        index = cls(vocabulary)
        digest = hashlib.sha256()
        for path in sorted(directory.glob("*.jsonl")):
            index._add_file(path, digest)
        index.statistics.digest = digest.hexdigest()[:KEY_CHARACTERS] if index._places else None
        return index

    def take(self, stream: str) -> list[Chunk]:
        """Read the chunks of a stream, in the order of files and lines, and forget where they are."""
        chunks: list[Chunk] = []
        by_file: dict[int, list[int]] = {}
        for place in self._places.pop(stream, ()):
            by_file.setdefault(place >> OFFSET_BITS, []).append(place & ((1 << OFFSET_BITS) - 1))
        for number, offsets in by_file.items():
            chunks.extend(self._chunks_at(self._paths[number], offsets, stream))
        return chunks

    def _add_file(self, path: Path, digest: Any) -> None:
        first = len(self._paths) << OFFSET_BITS
        self._paths.append(path)
        rejected = offset = 0
        try:
            with path.open("rb") as file:
                for line in file:
                    stream = _stream_of(line)
                    if stream is not None:
                        self._places.setdefault(stream, array("Q")).append(first + offset)
                        digest.update(line)
                    elif line != b"\n":
                        rejected += 1
                    offset += len(line)
        except OSError as error:
            rejected += 1
            _warn_unreadable(path, error)
        self._reject(path, rejected)

    def _chunks_at(self, path: Path, offsets: list[int], stream: str) -> Iterator[Chunk]:
        rejected = 0
        try:
            with path.open("rb") as file:
                for offset in offsets:
                    file.seek(offset)
                    chunk = Chunk.from_line(file.readline())
                    if chunk is None or chunk.stream != stream or self._is_foreign(chunk):
                        rejected += 1
                    else:
                        yield chunk
        except OSError as error:
            rejected += 1
            _warn_unreadable(path, error)
        self._reject(path, rejected)

    def _is_foreign(self, chunk: Chunk) -> bool:
        return self.vocabulary is not None and max(chunk.ids, default=0) >= self.vocabulary

    def _reject(self, path: Path, lines: int) -> None:
        self.statistics.rejected_lines += lines
        if lines:
            log.warning("%s: %d damaged or foreign lines ignored. Their tokens will be generated again.", path, lines)


def _warn_unreadable(path: Path, error: OSError) -> None:
    log.warning("%s: %s. Its tokens will be generated again.", path, error.strerror)


def _stream_of(line: bytes) -> str | None:
    """The stream of a line, without parsing its ids if we wrote it; None if it is torn, damaged or not a chunk."""
    own = OWN_LINE.match(line)
    if own is None:
        chunk = Chunk.from_line(line)
        return None if chunk is None else chunk.stream
    is_sound = line.endswith(b"\n") and int(own[1], 16) == zlib.crc32(line[9:-1])
    return own[2].decode("ascii") if is_sound else None
