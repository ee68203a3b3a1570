"""Census of the continuation stores that a batch shares: what they hold, what of it cannot be read, and the mend.

<directory>/continuations/**/*.jsonl      s1/generate/continuations.py; files in one folder are one store
<directory>/continuations/**/engine.json  what wrote them, where it is told: a flat mapping
<directory>/redo-<n>/continuations/...    the same, of generations that were made anew
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from s1.generate.continuations import FOLDER, Chunk, Stream
from s1.generate.engines import ENGINE_FILE, engine_text, read_engine
from sweep.contract import SharedReport


@dataclass(frozen=True)
class Census:
    """One store, counted."""

    files: int
    streams: int
    tokens: int  # that a request can be served
    disagreements: int  # chunks left out because an earlier writer says otherwise
    lost_lines: dict[Path, int]  # torn or damaged, by file


def describe(directory: Path) -> SharedReport:
    """A line for each store and its engine, a fault for each file that cannot be read as a whole."""
    lines: list[str] = []
    faults: list[str] = []
    for folder, files in _stores(directory).items():
        census = count(files)
        lines.append(f"{folder.relative_to(directory)}: {_told(census)}")
        for path, lost in census.lost_lines.items():
            faults.append(f"{path.relative_to(directory)}: {lost} torn or damaged lines, left out by every reader")
        if (folder / ENGINE_FILE).exists():
            told = _engine(folder)
            place = (folder / ENGINE_FILE).relative_to(directory)
            (faults if told is None else lines).append(told or f"{place}: not the fingerprint of an engine")
    return SharedReport(tuple(lines), tuple(faults))


def mend(directory: Path) -> None:
    """Rewrite files without the lines that nobody can read, each at once; what those held is generated again."""
    for folder, files in _stores(directory).items():
        for path in count(files).lost_lines:
            _rewrite(path)
        if (folder / ENGINE_FILE).exists() and _engine(folder) is None:
            (folder / ENGINE_FILE).unlink()  # the next worker writes it again


def count(files: list[Path]) -> Census:
    """Count the files of one store, joined as a reader joins them."""
    chunks: dict[str, list[Chunk]] = {}
    lost: dict[Path, int] = {}
    for path in files:
        with path.open("rb") as file:
            for line in file:
                if chunk := Chunk.from_line(line):
                    chunks.setdefault(chunk.stream, []).append(chunk)
                else:
                    lost[path] = lost.get(path, 0) + 1
    streams, disagreements = [], 0
    for found in chunks.values():
        stream = Stream()
        for chunk in sorted(found, key=lambda chunk: chunk.at):
            disagreements += chunk.at <= len(stream.ids) and not stream.extend(chunk)
        streams.append(stream)
    return Census(len(files), len(streams), sum(len(each.ids) for each in streams), disagreements, lost)


def _stores(directory: Path) -> dict[Path, list[Path]]:
    stores: dict[Path, list[Path]] = {}
    for path in sorted(directory.glob(f"**/{FOLDER}/**/*.jsonl")):
        stores.setdefault(path.parent, []).append(path)
    return stores


def _told(census: Census) -> str:
    told = f"{census.streams:,} streams, {census.tokens:,} tokens in {census.files:,} files"
    if census.disagreements:
        told += f"; {census.disagreements:,} chunks left out, their writers disagree with earlier ones"
    return told


def _engine(folder: Path) -> str | None:
    """What wrote a store, on one line; None if that cannot be read."""
    try:
        return f"  {engine_text(read_engine(folder))}"
    except (ValueError, KeyError, TypeError, AttributeError):  # not text, not JSON, or something else
        return None


def _rewrite(path: Path) -> None:
    """Its whole lines only; a reader sees the old file or the new one."""
    aside = path.with_suffix(".aside")
    with path.open("rb") as old, aside.open("wb") as new:
        new.writelines(line for line in old if Chunk.from_line(line))
        new.flush()
        os.fsync(new.fileno())
    aside.replace(path)
