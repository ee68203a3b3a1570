"""Census of the continuation stores that a batch shares: what they hold, what of it cannot be read, and the repair.

<directory>/continuations/**/*.jsonl      s1/generate/continuations.py; files in one folder are one store
<directory>/continuations/**/engine.json  what wrote them: a flat mapping, whose key is the name of the folder
<directory>/redo-<n>/continuations/...    the same, of generations that were made anew
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from s1.generate.continuations import FOLDER, MODEL_FILE, Chunk, lines_in, merged, owner_of
from s1.generate.engines import ENGINE_FILE, engine_text, read_engine
from sweep.core.identity import KEY_CHARACTERS, key_of
from sweep.core.pipeline import SharedReport

NAMED_BY_ENGINE = re.compile(rf"([0-9a-f]{{{KEY_CHARACTERS}}})(-[0-9a-f]+)?")


@dataclass(frozen=True)
class StoreStatistics:
    """One store, counted."""

    files: int
    streams: int
    tokens: int  # that a request can be served
    disagreements: int  # chunks left out because an earlier writer says otherwise
    lost_lines: dict[Path, int]  # torn or damaged, by file
    unreadable: dict[Path, str]  # files, and why


def shared_statistics(directory: Path) -> SharedReport:
    """A line for each store and its engine, a fault for each file that cannot be read as a whole."""
    lines: list[str] = []
    faults: list[str] = []
    for folder, files in _stores(directory).items():
        census = statistics_of(files)
        lines.append(f"{folder.relative_to(directory)}: {_told(census)}")
        for path, lost in census.lost_lines.items():
            faults.append(f"{path.relative_to(directory)}: {lost} torn or damaged lines, left out by every reader")
        for path, why in census.unreadable.items():
            faults.append(f"{path.relative_to(directory)}: {why}, left out by every reader")
        if (folder / MODEL_FILE).exists() and owner_of(folder) is None:
            faults.append(f"{(folder / MODEL_FILE).relative_to(directory)}: damaged, so nobody uses what lies there")
        if (folder / ENGINE_FILE).exists():
            written_by = _engine(folder)
            place = (folder / ENGINE_FILE).relative_to(directory)
            (faults if written_by is None else lines).append(written_by or f"{place}: not the fingerprint of an engine")
    return SharedReport(tuple(lines), tuple(faults))


def repair_shared(directory: Path) -> None:
    """Rewrite files without the lines that nobody can read, each at once; what those held is generated again.

    What is no file is set aside, and so is a mark that does not say any more which model's a store is: then it belongs
    to the first model that asks, as one of an earlier version does.
    """
    for folder, files in _stores(directory).items():
        census = statistics_of(files)
        for path in census.lost_lines:
            _rewrite(path)
        for path in filter(Path.is_dir, census.unreadable):
            path.rename(path.with_suffix(".damaged"))
        if (folder / MODEL_FILE).exists() and owner_of(folder) is None:
            (folder / MODEL_FILE).rename(folder / f"{MODEL_FILE}.damaged")
        if (folder / ENGINE_FILE).exists() and _engine(folder) is None:
            (folder / ENGINE_FILE).rename(folder / f"{ENGINE_FILE}.damaged")  # the next worker writes it again


def statistics_of(files: list[Path]) -> StoreStatistics:
    """Count the files of one store, joined as a reader joins them."""
    chunks: dict[str, list[Chunk]] = {}
    lost: dict[Path, int] = {}
    unreadable: dict[Path, str] = {}
    for path in files:
        try:
            for _, chunk in lines_in(path):
                if chunk:
                    chunks.setdefault(chunk.stream, []).append(chunk)
                else:
                    lost[path] = lost.get(path, 0) + 1
        except OSError as error:
            unreadable[path] = str(error.strerror)
    joined = [merged(found) for found in chunks.values()]
    tokens = sum(len(stream.ids) for stream, _ in joined)
    return StoreStatistics(len(files), len(joined), tokens, sum(len(others) for _, others in joined), lost, unreadable)


def _stores(directory: Path) -> dict[Path, list[Path]]:
    stores: dict[Path, list[Path]] = {}
    for path in sorted(directory.glob(f"**/{FOLDER}/**/*.jsonl")):
        stores.setdefault(path.parent, []).append(path)
    return stores


def _told(census: StoreStatistics) -> str:
    told = f"{census.streams:,} streams, {census.tokens:,} tokens in {census.files:,} files"
    if census.disagreements:
        told += f"; {census.disagreements:,} chunks left out, their writers disagree with earlier ones"
    return told


def _engine(folder: Path) -> str | None:
    """What wrote a store, on one line; None if that cannot be read, or if the folder is not named after it."""
    named = NAMED_BY_ENGINE.fullmatch(folder.name)
    try:
        flat = read_engine(folder)
        return None if named and key_of(flat) != named[1] else f"  {engine_text(flat)}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not text, not JSON, or something else
        return None


def _rewrite(path: Path) -> None:
    """Its whole lines only; a reader sees the old file or the new one."""
    aside = path.with_suffix(".aside")
    with path.open("rb") as old, aside.open("wb") as new:
        new.writelines(line for line in old if Chunk.from_line(line))
        new.flush()
        os.fsync(new.fileno())
    aside.replace(path)
