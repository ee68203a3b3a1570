"""The continuation store: what a model was already heard to say after a prompt is never generated again.

A *stream* is everything that follows one prompt under one way of sampling: a list of tokens that only grows, and that a
stop may have ended. A request for m tokens is served from its stream if it holds m or has ended; else only the missing
rest is asked of the engine. So a budget of 16k tokens contains every smaller one, and an interrupted run loses no more
than what is in flight.

    stream = hash of (prompt ids, stop sequences, whether the first position forbids them, temperature, top_p, seed)

Greedy streams ignore seed and top_p, which cannot change them. One directory belongs to one model and one engine.

Files: one per writer, `<host>-<pid>-<random>.jsonl`, only ever appended to, so writers need no lock and any number may
read. Each line is a checksum and a chunk of a stream:

    <crc32, 8 hex digits> {"stream": "<32 hex digits>", "at": 96, "ids": [17, 4, 2], "stop": [2]}

`at` is the place of the first id in its stream; `ids` contain the stop sequence if there is one. Reading takes all
whole lines of all files. A torn or damaged line is left where it is, counted, and said aloud; chunks behind the gap it
leaves are used again once the gap is generated again. Chunks that overlap must agree; one that does not (two writers,
two roundings) is left out, also aloud. A line reaches the operating system at once, and the disk at `sync` and `close`:
the death of the process loses no line, the death of the machine at most those since the last `sync`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import socket
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from s1.generate.engine import Completion, Portion, Request

log = logging.getLogger(__name__)

FOLDER = "continuations"  # what a batch, or a stage alone, keeps its stores in


@dataclass
class Stream:
    """What is known of one continuation."""

    ids: list[int] = field(default_factory=list)  # the stop sequence included
    stop: tuple[int, ...] | None = None  # ended by it

    def take(self, max_tokens: int) -> Completion | None:
        """What an engine would answer to a request for so many tokens; None while some are missing."""
        if self.stop is not None and len(self.ids) <= max_tokens:
            return Completion(tuple(self.ids[: -len(self.stop)]), self.stop)
        if len(self.ids) < max_tokens:
            return None
        return Completion(tuple(self.ids[:max_tokens]), None)

    def extend(self, chunk: Chunk) -> bool:
        """Add what is new in a chunk that begins inside the stream or right after it; False if they disagree."""
        known = self.ids[chunk.at : chunk.at + len(chunk.ids)]
        new = chunk.ids[len(known) :]
        if known != list(chunk.ids[: len(known)]) or (self.stop is not None and new):
            return False
        self.ids.extend(new)
        if chunk.stop is not None and chunk.at + len(chunk.ids) == len(self.ids):
            self.stop = chunk.stop
        return True


@dataclass(frozen=True)
class Chunk:
    """A line of a file."""

    stream: str
    at: int
    ids: tuple[int, ...]
    stop: tuple[int, ...] | None

    def to_line(self) -> bytes:
        payload = {"stream": self.stream, "at": self.at, "ids": self.ids, "stop": self.stop}
        text = json.dumps(payload, separators=(",", ":")).encode("ascii")
        return b"%08x %s\n" % (zlib.crc32(text), text)

    @classmethod
    def from_line(cls, line: bytes) -> Chunk | None:
        """None for a torn or damaged line."""
        checksum, _, text = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
            return None
        payload = json.loads(text)
        stop = payload["stop"]
        return cls(payload["stream"], payload["at"], tuple(payload["ids"]), None if stop is None else tuple(stop))


def stream_key(request: Request) -> str:
    """Which stream a request reads from: all that decides its tokens, so not how many are wanted."""
    sampling = request.sampling
    greedy = sampling.temperature == 0
    decides = [
        request.prompt_ids,
        sorted(request.stop_ids),
        request.forbid_stop_first,
        0 if greedy else [float(sampling.temperature), float(sampling.top_p), request.seed],
    ]
    return hashlib.sha256(json.dumps(decides).encode("ascii")).hexdigest()[:32]


class Continuations:
    """The streams of one directory, and this process's file in it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._streams = _read(directory)
        self._path = directory / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._file: BinaryIO | None = None  # until there is something to write

    def __enter__(self) -> Continuations:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def serve(self, key: str, request: Request) -> Completion | None:
        """The completion, if all of it is known; `key` is the request's stream key, here and below."""
        stream = self._streams.get(key)
        return stream.take(request.max_tokens) if stream else None

    def missing(self, key: str, request: Request) -> Request:
        """What to ask the engine for: the request without the part that is known."""
        stream = self._streams.get(key)
        if stream is None or not stream.ids:
            return request
        return replace(
            request,
            prompt_ids=request.prompt_ids + tuple(stream.ids),
            max_tokens=request.max_tokens - len(stream.ids),
            forbid_stop_first=False,
            already=len(stream.ids),
        )

    def learn(self, key: str, portion: Portion) -> None:
        """Keep a portion of the engine's answer to what was `missing`."""
        stream = self._streams.setdefault(key, Stream())
        chunk = Chunk(key, len(stream.ids), portion.ids, portion.end.stop if portion.end else None)
        stream.extend(chunk)
        if self._file is None:
            self._file = self._path.open("ab")
        self._file.write(chunk.to_line())
        self._file.flush()  # the line is the kernel's now, whatever becomes of this process

    def sync(self) -> None:
        """Bring all lines to the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None


def _read(directory: Path) -> dict[str, Stream]:
    chunks: dict[str, list[Chunk]] = {}
    for path in sorted(directory.glob("*.jsonl")):
        for chunk in _chunks(path):
            chunks.setdefault(chunk.stream, []).append(chunk)
    return {key: _merged(key, found) for key, found in chunks.items()}


def _chunks(path: Path) -> Iterator[Chunk]:
    damaged = 0
    with path.open("rb") as file:
        for line in file:
            chunk = Chunk.from_line(line)
            damaged += chunk is None
            if chunk is not None:
                yield chunk
    if damaged:
        log.warning("%s: %d torn or damaged lines left out. What they held will be generated again.", path, damaged)


def _merged(key: str, chunks: list[Chunk]) -> Stream:
    """Join chunks in the order of their places, as far as no gap lies between them."""
    stream = Stream()
    for chunk in sorted(chunks, key=lambda chunk: chunk.at):
        if chunk.at <= len(stream.ids) and not stream.extend(chunk):
            log.warning("stream %s at %d: two writers disagree. The first is kept.", key, chunk.at)
    return stream
