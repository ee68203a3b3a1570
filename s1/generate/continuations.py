"""The continuation store: what a model was already heard to say after a prompt is never generated again.

A *stream* is everything that follows one prompt under one way of sampling: a list of tokens that only grows, and that a
stop may have ended. A request for m tokens is served from its stream if it holds m or has ended; else only the missing
rest is asked of the engine. So a budget of 16k tokens contains every smaller one, and an interrupted run loses no more
than what is in flight.

    stream = hash of (prompt ids, stop sequences, whether the first position forbids them, temperature, top_p, seed)

Greedy streams ignore seed and top_p, which cannot change them. One directory belongs to one engine, and to one model:
model.json says of which bytes; a model that was made again with others gets a directory of its own.

Files: one per writer, `<host>-<pid>-<random>.jsonl`, only ever appended to, so writers need no lock and any number may
read. Each line is a checksum and a chunk of a stream:

    <crc32, 8 hex digits> {"stream": "<32 hex digits>", "at": 96, "ids": [17, 4, 2], "stop": [2]}

`at` is the place of the first id in its stream; `ids` contain the stop sequence if there is one. Reading takes all
whole lines of all files. A torn or damaged line, or one that holds no chunk of this model, is left where it is, counted
and logged; chunks behind the gap it leaves are used again once the gap is generated again. Chunks that overlap must
agree; one that does not (two writers, two roundings) is left out, also with a warning. A line reaches the operating
system at once, and the disk at `sync` and `close`: the death of the process loses no line, the death of the machine at
most those since the last `sync`.
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

FOLDER = "continuations"  # what a batch, or a stage alone, keeps its stores in
MODEL_FILE = "model.json"


@dataclass
class Stream:
    """What is known of one continuation."""

    ids: list[int] = field(default_factory=list)  # the stop sequence included
    stop: tuple[int, ...] | None = None  # ended by it
    read_tokens: int = 0  # of the ids: those that were in the files when they were opened

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
        ends = chunk.stop is not None and chunk.at + len(chunk.ids) == len(self.ids) + len(new)
        if ends and (*self.ids, *new)[-len(chunk.stop or ()) :] != chunk.stop:
            return False  # the stop is no end of what it stopped
        self.ids.extend(new)
        if ends:
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
        return checked_line({"stream": self.stream, "at": self.at, "ids": self.ids, "stop": self.stop})

    @classmethod
    def from_line(cls, line: bytes) -> Chunk | None:
        """None for a torn or damaged line, and for one that holds something else."""
        try:
            match value_of(line):
                case {"stream": str(stream), "at": int(at), "ids": list(ids), "stop": stop, **rest} if not rest:
                    is_chunk = _are_ids([at]) and _are_ids(ids) and (stop is None or _may_end(ids, stop))
                    return cls(stream, at, tuple(ids), None if stop is None else tuple(stop)) if is_chunk else None
        except ValueError:
            pass
        return None


def _may_end(ids: list[int], stop: Any) -> bool:
    """A stop may have begun before these ids."""
    return _are_ids(stop) and bool(stop) and (not ids or ids[-len(stop) :] == stop[-len(ids) :])


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and set(map(type, value)) <= {int} and min(value, default=0) >= 0


def stream_key(request: GenerationRequest) -> str:
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


@dataclass
class Reading:
    """What was found in the files of a store when it was opened."""

    tokens: int = 0  # that a request can be served
    rejected_lines: int = 0  # torn, damaged, of something else, or in disagreement with an earlier one
    digest: str | None = None  # of the chunks that were read, 12 hex digits; None: there were none


def folder_of_model(folder: Path, digest: str) -> Path:
    """Where the continuations of a model of these bytes lie: `folder`, unless it is another's, or its mark is damaged.

    A folder of before this version does not say whose it is: it belongs to the first that asks.
    """
    _make(folder)
    mark, aside = folder / MODEL_FILE, folder / f".{MODEL_FILE}.{secrets.token_hex(4)}"
    aside.write_text(json.dumps(_owned_by(digest)) + "\n", encoding="ascii")
    try:
        os.link(aside, mark)  # the first of several
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    owner = owner_of(folder)
    if owner == digest:
        return folder
    whose = f"of the model {owner}, not {digest}" if owner else f"whose, its {MODEL_FILE} does not say any more"
    log.warning("%s: %s. Its continuations are not used.", folder, whose)
    return folder.with_name(f"{folder.name}-{digest}")


def owner_of(folder: Path) -> str | None:
    """The digest of the model that wrote there; None if its mark is damaged. Raises FileNotFoundError without one."""
    try:
        match json.loads((folder / MODEL_FILE).read_text(encoding="ascii")):
            case {"digest": str(digest), **rest} if _owned_by(digest) == {"digest": digest, **rest}:
                return digest
    except FileNotFoundError:
        raise
    except (OSError, ValueError):
        pass
    return None


def _owned_by(digest: str) -> dict[str, str]:
    return {"digest": digest, "crc32": f"{zlib.crc32(digest.encode('ascii', 'replace')):08x}"}


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(f"{directory}: a file, where continuations are kept. Move it away.") from None


class Continuations:
    """The streams of one directory, and this process's file in it.

    `vocabulary`: ids beyond it are no continuation by this model; None: not known. Raises ConfigError if the directory
    is none.
    """

    def __init__(self, directory: Path, vocabulary: int | None = None) -> None:
        _make(directory)
        self.reading = Reading()
        self._streams = _read(directory, vocabulary, self.reading)
        self._path = directory / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._lines: LineWriter | None = None  # until there is something to write

    def __enter__(self) -> Continuations:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def serve(self, key: str, request: GenerationRequest) -> Completion | None:
        """The completion, if all of it is known; `key` is the request's stream key, here and below."""
        stream = self._streams.get(key)
        if stream is None:
            return None
        if stream.stop is not None and stream.stop not in request.stop_ids:
            log.warning("stream %s: ended by %s, which its requests do not ask for. It is left out.", key, stream.stop)
            self.reading.rejected_lines += 1
            del self._streams[key]
            return None
        return stream.take(request.max_tokens)

    def read_tokens(self, key: str, tokens: int) -> int:
        """How many of the first so many of a stream were in the files when they were opened."""
        return min(tokens, self._streams[key].read_tokens)

    def missing(self, key: str, request: GenerationRequest) -> GenerationRequest:
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

    def learn(self, key: str, portion: Delta) -> None:
        """Keep a portion of the engine's answer to what was `missing`."""
        stream = self._streams.setdefault(key, Stream())
        chunk = Chunk(key, len(stream.ids), portion.ids, portion.end.stop if portion.end else None)
        if not stream.extend(chunk):
            raise EngineError(f"portion {portion}: it does not end in its stop, or follows one. See the engine.")
        if self._lines is None:
            self._lines = LineWriter(self._path)
        self._lines.write(chunk.to_line())

    def sync(self) -> None:
        """Bring all lines to the disk."""
        if self._lines is not None:
            self._lines.sync()

    def close(self) -> None:
        if self._lines is not None:
            self.sync()
            self._lines.close()
            self._lines = None


def lines_in(path: Path) -> Iterator[tuple[bytes, Chunk | None]]:
    """Each line of a file with its chunk; None for one that holds none. Raises OSError."""
    with path.open("rb") as file:
        yield from ((line, Chunk.from_line(line)) for line in file if line != b"\n")


def merged(chunks: list[Chunk]) -> tuple[Stream, list[Chunk]]:
    """Chunks of one stream joined by their places, as far as no gap lies between them; and those that disagree."""
    stream, others = Stream(), []
    for chunk in sorted(chunks, key=lambda chunk: chunk.at):
        if chunk.at <= len(stream.ids) and not stream.extend(chunk):
            others.append(chunk)
    return stream, others


def _read(directory: Path, vocabulary: int | None, reading: Reading) -> dict[str, Stream]:
    chunks: dict[str, list[Chunk]] = {}
    digest = hashlib.sha256()
    for path in sorted(directory.glob("*.jsonl")):
        for line, chunk in _chunks(path, vocabulary, reading):
            chunks.setdefault(chunk.stream, []).append(chunk)
            digest.update(line)
    streams = {key: _merged(key, found, reading) for key, found in chunks.items()}
    reading.digest = digest.hexdigest()[:KEY_CHARACTERS] if chunks else None
    return streams


def _chunks(path: Path, vocabulary: int | None, reading: Reading) -> Iterator[tuple[bytes, Chunk]]:
    rejected = 0
    try:
        for line, chunk in lines_in(path):
            if chunk is None or (vocabulary is not None and max(chunk.ids, default=0) >= vocabulary):
                rejected += 1
            else:
                yield line, chunk
    except OSError as error:
        rejected += 1
        log.warning("%s: %s. What it held will be generated again.", path, error.strerror)
    if rejected:
        log.warning("%s: %d damaged or foreign lines left out. What they held will be generated again.", path, rejected)
    reading.rejected_lines += rejected


def _merged(key: str, chunks: list[Chunk], reading: Reading) -> Stream:
    stream, others = merged(chunks)
    for chunk in others:
        log.warning("stream %s at %d: two writers disagree. The first is kept.", key, chunk.at)
    stream.read_tokens = len(stream.ids)
    reading.tokens += len(stream.ids)
    reading.rejected_lines += len(others)
    return stream
