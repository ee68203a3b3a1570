"""The continuation store: tokens that a model has already sampled after a prompt are never generated again.

A *stream* is the continuation of one prompt under one sampling configuration: a list of tokens that only grows, and
that a stop may have ended. A request for m tokens is served from its stream if the stream holds m tokens or has ended;
otherwise the engine generates only the missing rest. So a budget of 16k tokens contains every smaller one, and an
interrupted run loses only what is in flight.

    stream = hash of (prompt ids, stop sequences, whether the first position forbids them, temperature, top_p, seed)

Greedy streams ignore seed and top_p, which cannot change them. A directory belongs to one engine and one model.
model.json holds the digest of the model's files; a model that was retrained to different bytes gets a new directory.

Files: one per writer, `<host>-<pid>-<random>.jsonl`, append-only, so writers need no lock and any number of processes
may read (s1/generate/continuation_files.py). Readers take all complete lines of all files. A line that is torn, damaged
or not a chunk of this model stays in its file, is counted and logged; chunks after the gap become usable once the gap
is generated again. Overlapping chunks must agree; one that does not (two writers, different rounding) is ignored with a
warning. Each line is handed to the operating system immediately and reaches the disk at `sync` and `close`: a process
crash loses no line, a machine crash at most the lines since the last `sync`.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import zlib
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from s1.config.schema import ConfigError
from s1.files.checked_lines import LineWriter
from s1.generate.continuation_files import Chunk, ChunkIndex, ReadStatistics
from s1.generate.engine import Completion, Delta, EngineError, GenerationRequest
from s1.generate.token_ids import TokenBuffer, hash_of, joined

log = logging.getLogger(__name__)

FOLDER = "continuations"  # holds the stores of a stage, or of stages that share them
MODEL_FILE = "model.json"


class Stream:
    """The known part of one continuation."""

    __slots__ = ("ids", "read_tokens", "stop")

    def __init__(self) -> None:
        self.ids = TokenBuffer()  # the stop sequence included
        self.stop: tuple[int, ...] | None = None  # the stop sequence that ended it; None: it has not ended
        self.read_tokens = 0  # how many of the ids were read from files

    def take(self, max_tokens: int) -> Completion | None:
        """The completion an engine would give for `max_tokens`; None if tokens are missing."""
        if self.stop is not None and len(self.ids) <= max_tokens:
            return Completion(self.ids.first(len(self.ids) - len(self.stop)), self.stop)
        if len(self.ids) < max_tokens:
            return None
        return Completion(self.ids.first(max_tokens), None)

    def extend(self, chunk: Chunk) -> bool:
        """Append the new ids of a chunk that starts inside the stream or at its end; False if the two disagree."""
        ids = self.ids.ids
        known = tuple(ids[chunk.at : chunk.at + len(chunk.ids)])
        new = chunk.ids[len(known) :]
        if known != chunk.ids[: len(known)] or (self.stop is not None and new):
            return False
        ends = chunk.stop is not None and chunk.at + len(chunk.ids) == len(ids) + len(new)
        if ends and (*ids[-len(chunk.stop or ()) :], *new)[-len(chunk.stop or ()) :] != chunk.stop:
            return False  # the ids do not end in the stop
        self.ids.extend(new)
        if ends:
            self.stop = chunk.stop
        return True


def stream_key(request: GenerationRequest) -> str:
    """Hash of everything that decides a request's tokens, which excludes max_tokens."""
    sampling = request.sampling
    greedy = sampling.temperature == 0
    others = [
        sorted(request.stop_ids),
        request.forbid_stop_first,
        0 if greedy else [float(sampling.temperature), float(sampling.top_p), request.seed],
    ]
    found = hash_of(request.prompt_ids, start=b"[[")  # of the JSON text [prompt_ids, *others]
    found.update(b"], " + json.dumps(others)[1:].encode("ascii"))
    return found.hexdigest()[:32]


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
        self._index = ChunkIndex.of(directory, vocabulary)
        self._streams: dict[str, Stream] = {}  # those that were needed so far
        self._path = directory / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._lines: LineWriter | None = None  # None until there is something to write

    def __enter__(self) -> Continuations:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def read_statistics(self) -> ReadStatistics:
        return self._index.statistics

    def serve(self, key: str, request: GenerationRequest) -> Completion | None:
        """The completion if the store holds all of it, else None. `key` is the request's `stream_key`."""
        stream = self._stream(key)
        if stream is None:
            return None
        if stream.stop is not None and stream.stop not in request.stop_ids:
            log.warning("stream %s: ended by %s, not a stop of its requests. It is ignored.", key, stream.stop)
            self.read_statistics.rejected_lines += 1
            del self._streams[key]
            return None
        return stream.take(request.max_tokens)

    def read_tokens(self, key: str, tokens: int) -> int:
        """How many of the first `tokens` of a stream were read from files."""
        return min(tokens, self._streams[key].read_tokens)

    def missing(self, key: str, request: GenerationRequest) -> GenerationRequest:
        """The request to the engine for the part that the store lacks."""
        stream = self._stream(key)
        known = 0 if stream is None else len(stream.ids)
        if stream is None or known == 0:
            return request
        return replace(
            request,
            prompt_ids=joined((request.prompt_ids, stream.ids.first(known))),
            max_tokens=request.max_tokens - known,
            forbid_stop_first=False,
            already_sampled=known,
        )

    def append(self, key: str, delta: Delta) -> int:
        """Store a delta that the engine returned for the `missing` request; returns how many tokens are known now.

        Raises EngineError if it does not fit the stream.
        """
        stream = self._stream(key)
        if stream is None:
            stream = self._streams[key] = Stream()
        chunk = Chunk(key, len(stream.ids), delta.ids, delta.end.stop if delta.end else None)
        if not stream.extend(chunk):
            raise EngineError(f"delta {delta}: not ended by its stop, or after a stop. Report this engine bug.")
        if self._lines is None:
            self._lines = LineWriter(self._path)
        self._lines.write(chunk.to_line())
        return len(stream.ids)

    def sync(self) -> None:
        """Flush all lines to the disk."""
        if self._lines is not None:
            self._lines.sync()

    def close(self) -> None:
        if self._lines is not None:
            self.sync()
            self._lines.close()
            self._lines = None

    def _stream(self, key: str) -> Stream | None:
        """What is known of a stream, which is read from the files when it is first needed; None: nothing."""
        stream = self._streams.get(key)
        if stream is None and (chunks := self._index.take(key)):
            stream, disagreeing = merged(chunks)
            for chunk in disagreeing:
                log.warning("stream %s at %d: two writers disagree. The first one is used.", key, chunk.at)
            stream.read_tokens = len(stream.ids)
            self.read_statistics.tokens += len(stream.ids)
            self.read_statistics.rejected_lines += len(disagreeing)
            self._streams[key] = stream
        return stream


def merged(chunks: list[Chunk]) -> tuple[Stream, list[Chunk]]:
    """Join the chunks of one stream up to the first gap; also return the chunks that disagree."""
    stream, disagreeing = Stream(), []
    for chunk in sorted(chunks, key=lambda chunk: chunk.at):
        if chunk.at <= len(stream.ids) and not stream.extend(chunk):
            disagreeing.append(chunk)
    return stream, disagreeing
