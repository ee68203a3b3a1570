"""The continuation store: tokens that a model has already sampled after a prompt are never generated again.

A *stream* is the continuation of one prompt under one sampling configuration: a list of tokens that only grows, and
that a stop may have ended. A request for m tokens is served from its stream if the stream holds m tokens or has ended;
otherwise the engine generates only the missing rest. So a budget of 16k tokens contains every smaller one, and an
interrupted run loses only what is in flight.

    stream = hash of (prompt ids, stop sequences, whether the first position forbids them, temperature, top_p, seed)

Greedy streams ignore seed and top_p, which cannot change them. A directory belongs to one engine and one model.
model.json holds the digest of the model's files; a model that was retrained to different bytes gets a new directory.

Files: one per writer, `<host>-<pid>-<random>.jsonl`, append-only, so writers need no lock and any number of processes
may read. Each line is a checksum and a chunk of a stream:

    <crc32, 8 hex digits> {"stream": "<32 hex digits>", "at": 96, "ids": [17, 4, 2], "stop": [2]}

`at` is the position of the first id in its stream; `ids` include the stop sequence if there is one. Readers take all
complete lines of all files. A line that is torn, damaged or not a chunk of this model stays in its file, is counted and
logged; chunks after the gap become usable once the gap is generated again. Overlapping chunks must agree; one that does
not (two writers, different rounding) is ignored with a warning. Each line is handed to the operating system
immediately and reaches the disk at `sync` and `close`: a process crash loses no line, a machine crash at most the lines
since the last `sync`.
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
from typing import Any

from s1.config.schema import ConfigError
from s1.files.checked_lines import LineWriter, checked_line, value_of
from s1.generate.engine import Completion, Delta, EngineError, GenerationRequest
from sweep.core.identity import KEY_CHARACTERS

log = logging.getLogger(__name__)

FOLDER = "continuations"  # holds the stores of a stage, or of stages that share them
MODEL_FILE = "model.json"


@dataclass
class Stream:
    """The known part of one continuation."""

    ids: list[int] = field(default_factory=list)  # the stop sequence included
    stop: tuple[int, ...] | None = None  # the stop sequence that ended it; None: it has not ended
    read_tokens: int = 0  # how many of the ids were read from files when the store was opened

    def take(self, max_tokens: int) -> Completion | None:
        """The completion an engine would give for `max_tokens`; None if tokens are missing."""
        if self.stop is not None and len(self.ids) <= max_tokens:
            return Completion(tuple(self.ids[: -len(self.stop)]), self.stop)
        if len(self.ids) < max_tokens:
            return None
        return Completion(tuple(self.ids[:max_tokens]), None)

    def extend(self, chunk: Chunk) -> bool:
        """Append the new ids of a chunk that starts inside the stream or at its end; False if the two disagree."""
        known = self.ids[chunk.at : chunk.at + len(chunk.ids)]
        new = chunk.ids[len(known) :]
        if known != list(chunk.ids[: len(known)]) or (self.stop is not None and new):
            return False
        ends = chunk.stop is not None and chunk.at + len(chunk.ids) == len(self.ids) + len(new)
        if ends and (*self.ids, *new)[-len(chunk.stop or ()) :] != chunk.stop:
            return False  # the ids do not end in the stop
        self.ids.extend(new)
        if ends:
            self.stop = chunk.stop
        return True


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
    return isinstance(value, list) and set(map(type, value)) <= {int} and min(value, default=0) >= 0


def stream_key(request: GenerationRequest) -> str:
    """Hash of everything that decides a request's tokens, which excludes max_tokens."""
    sampling = request.sampling
    greedy = sampling.temperature == 0
    decides = [
        request.prompt_ids,
        sorted(request.stop_ids),
        request.forbid_stop_first,
        0 if greedy else [float(sampling.temperature), float(sampling.top_p), request.seed],
    ]
    return hashlib.sha256(json.dumps(decides).encode("ascii")).hexdigest()[:32]


@dataclass
class ReadStatistics:
    """Counts over the files of a store when it was opened."""

    tokens: int = 0  # usable tokens
    rejected_lines: int = 0  # torn, damaged, not a chunk of this model, or contradicting an earlier chunk
    digest: str | None = None  # of the chunks that were read, 12 hex digits; None: no chunks


def folder_of_model(folder: Path, digest: str) -> Path:
    """The folder for continuations of the model with this digest.

    That is `folder`, or a sibling if `folder` belongs to another model or its model.json is damaged. A folder of an
    earlier version has no model.json: it belongs to the first model that uses it.
    """
    _make_directory(folder)
    mark, aside = folder / MODEL_FILE, folder / f".{MODEL_FILE}.{secrets.token_hex(4)}"
    aside.write_text(json.dumps(_owner_record(digest)) + "\n", encoding="ascii")
    try:
        os.link(aside, mark)  # atomic: only the first process creates it
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    owner = owner_of(folder)
    if owner == digest:
        return folder
    why = f"belongs to the model {owner}, not {digest}" if owner else f"its {MODEL_FILE} is damaged"
    log.warning("%s: %s. Its continuations are not used.", folder, why)
    return folder.with_name(f"{folder.name}-{digest}")


def owner_of(folder: Path) -> str | None:
    """Digest of the model that owns a folder; None if model.json is damaged. Raises FileNotFoundError without one."""
    try:
        match json.loads((folder / MODEL_FILE).read_text(encoding="ascii")):
            case {"digest": str(digest), **rest} if _owner_record(digest) == {"digest": digest, **rest}:
                return digest
    except FileNotFoundError:
        raise
    except (OSError, ValueError):
        pass
    return None


def _owner_record(digest: str) -> dict[str, str]:
    return {"digest": digest, "crc32": f"{zlib.crc32(digest.encode('ascii', 'replace')):08x}"}


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(
            f"{directory}: is a file, but the continuation store needs a directory. Move it away."
        ) from None


class Continuations:
    """The streams of one directory, and this process's file in it.

    `vocabulary`: lines with ids beyond it are rejected; None: unknown. Raises ConfigError if `directory` is a file.
    """

    def __init__(self, directory: Path, vocabulary: int | None = None) -> None:
        _make_directory(directory)
        self.read_statistics = ReadStatistics()
        self._streams = _read(directory, vocabulary, self.read_statistics)
        self._path = directory / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._lines: LineWriter | None = None  # None until there is something to write

    def __enter__(self) -> Continuations:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def serve(self, key: str, request: GenerationRequest) -> Completion | None:
        """The completion if the store holds all of it, else None. `key` is the request's `stream_key`."""
        stream = self._streams.get(key)
        if stream is None:
            return None
        if stream.stop is not None and stream.stop not in request.stop_ids:
            log.warning("stream %s: ended by %s, not a stop of its requests. It is ignored.", key, stream.stop)
            self.read_statistics.rejected_lines += 1
            del self._streams[key]
            return None
        return stream.take(request.max_tokens)

    def read_tokens(self, key: str, tokens: int) -> int:
        """How many of the first `tokens` of a stream were read from files when the store was opened."""
        return min(tokens, self._streams[key].read_tokens)

    def missing(self, key: str, request: GenerationRequest) -> GenerationRequest:
        """The request to the engine for the part that the store lacks."""
        stream = self._streams.get(key)
        if stream is None or not stream.ids:
            return request
        return replace(
            request,
            prompt_ids=request.prompt_ids + tuple(stream.ids),
            max_tokens=request.max_tokens - len(stream.ids),
            forbid_stop_first=False,
            already_sampled=len(stream.ids),
        )

    def append(self, key: str, delta: Delta) -> None:
        """Store a delta that the engine returned for the `missing` request.

        Raises EngineError if it does not fit the stream.
        """
        stream = self._streams.setdefault(key, Stream())
        chunk = Chunk(key, len(stream.ids), delta.ids, delta.end.stop if delta.end else None)
        if not stream.extend(chunk):
            raise EngineError(f"delta {delta}: not ended by its stop, or after a stop. Report this engine bug.")
        if self._lines is None:
            self._lines = LineWriter(self._path)
        self._lines.write(chunk.to_line())

    def sync(self) -> None:
        """Flush all lines to the disk."""
        if self._lines is not None:
            self._lines.sync()

    def close(self) -> None:
        if self._lines is not None:
            self.sync()
            self._lines.close()
            self._lines = None


def lines_in(path: Path) -> Iterator[tuple[bytes, Chunk | None]]:
    """Yield each line of a file with its chunk, or None if the line is not a chunk. Raises OSError."""
    with path.open("rb") as file:
        yield from ((line, Chunk.from_line(line)) for line in file if line != b"\n")


def merged(chunks: list[Chunk]) -> tuple[Stream, list[Chunk]]:
    """Join the chunks of one stream up to the first gap; also return the chunks that disagree."""
    stream, disagreeing = Stream(), []
    for chunk in sorted(chunks, key=lambda chunk: chunk.at):
        if chunk.at <= len(stream.ids) and not stream.extend(chunk):
            disagreeing.append(chunk)
    return stream, disagreeing


def _read(directory: Path, vocabulary: int | None, statistics: ReadStatistics) -> dict[str, Stream]:
    chunks: dict[str, list[Chunk]] = {}
    digest = hashlib.sha256()
    for path in sorted(directory.glob("*.jsonl")):
        for line, chunk in _chunks(path, vocabulary, statistics):
            chunks.setdefault(chunk.stream, []).append(chunk)
            digest.update(line)
    streams = {key: _merged(key, found, statistics) for key, found in chunks.items()}
    statistics.digest = digest.hexdigest()[:KEY_CHARACTERS] if chunks else None
    return streams


def _chunks(path: Path, vocabulary: int | None, statistics: ReadStatistics) -> Iterator[tuple[bytes, Chunk]]:
    rejected = 0
    try:
        for line, chunk in lines_in(path):
            if chunk is None or (vocabulary is not None and max(chunk.ids, default=0) >= vocabulary):
                rejected += 1
            else:
                yield line, chunk
    except OSError as error:
        rejected += 1
        log.warning("%s: %s. Its tokens will be generated again.", path, error.strerror)
    if rejected:
        log.warning("%s: %d damaged or foreign lines ignored. Their tokens will be generated again.", path, rejected)
    statistics.rejected_lines += rejected


def _merged(key: str, chunks: list[Chunk], statistics: ReadStatistics) -> Stream:
    stream, disagreeing = merged(chunks)
    for chunk in disagreeing:
        log.warning("stream %s at %d: two writers disagree. The first one is used.", key, chunk.at)
    stream.read_tokens = len(stream.ids)
    statistics.tokens += len(stream.ids)
    statistics.rejected_lines += len(disagreeing)
    return stream
