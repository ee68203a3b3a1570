"""Statistics and repair of the continuation stores that stages share (`sweep store`).

<directory>/continuations/**/*.jsonl      s1/generate/continuations.py; the files of one folder form one store
<directory>/continuations/**/engine.json  fingerprint of the engine that wrote them; its key is the folder's name
<directory>/redo-<n>/continuations/...    the same, for stages that were made again with `redo`
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from s1.generate.continuation_files import Chunk, lines_in
from s1.generate.continuations import FOLDER, MODEL_FILE, merged, owner_of
from s1.generate.engines import ENGINE_FILE, engine_text, read_engine
from sweep.core.identity import KEY_CHARACTERS, key_of
from sweep.core.pipeline import SharedReport

NAMED_BY_ENGINE = re.compile(rf"([0-9a-f]{{{KEY_CHARACTERS}}})(-[0-9a-f]+)?")


@dataclass(frozen=True)
class StoreStatistics:
    """Counts over one store."""

    files: int
    streams: int
    tokens: int  # usable tokens
    disagreements: int  # chunks that contradict an earlier writer
    lost_lines: dict[Path, int]  # torn or damaged lines of each file
    unreadable: dict[Path, str]  # reason for each unreadable file


def shared_statistics(directory: Path) -> SharedReport:
    """Report one line for each store and its engine, and one fault for each damaged file."""
    lines: list[str] = []
    faults: list[str] = []
    for folder, files in _stores(directory).items():
        statistics = statistics_of(files)
        lines.append(f"{folder.relative_to(directory)}: {_text(statistics)}")
        for path, lost in statistics.lost_lines.items():
            faults.append(f"{path.relative_to(directory)}: {lost} torn or damaged lines, ignored by every reader")
        for path, why in statistics.unreadable.items():
            faults.append(f"{path.relative_to(directory)}: {why}, ignored by every reader")
        if (folder / MODEL_FILE).exists() and owner_of(folder) is None:
            faults.append(f"{(folder / MODEL_FILE).relative_to(directory)}: damaged, so its store is not used")
        if (folder / ENGINE_FILE).exists():
            written_by = _engine(folder)
            place = (folder / ENGINE_FILE).relative_to(directory)
            (faults if written_by is None else lines).append(written_by or f"{place}: not a fingerprint of an engine")
    return SharedReport(tuple(lines), tuple(faults))


def repair_shared(directory: Path) -> None:
    """Rewrite files without their damaged lines, each atomically; the lost tokens will be generated again.

    A directory in place of a file is renamed. So is a damaged model.json: the store then belongs to the next model that
    uses it, like a store of an earlier version.
    """
    for folder, files in _stores(directory).items():
        statistics = statistics_of(files)
        for path in statistics.lost_lines:
            _rewrite(path)
        for path in filter(Path.is_dir, statistics.unreadable):
            path.rename(path.with_suffix(".damaged"))
        if (folder / MODEL_FILE).exists() and owner_of(folder) is None:
            (folder / MODEL_FILE).rename(folder / f"{MODEL_FILE}.damaged")
        if (folder / ENGINE_FILE).exists() and _engine(folder) is None:
            (folder / ENGINE_FILE).rename(folder / f"{ENGINE_FILE}.damaged")  # the next worker writes it again


def statistics_of(files: list[Path]) -> StoreStatistics:
    """Count what a reader of these files, which form one store, would use and reject."""
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


def _text(statistics: StoreStatistics) -> str:
    text = f"{statistics.streams:,} streams, {statistics.tokens:,} tokens in {statistics.files:,} files"
    if statistics.disagreements:
        text += f"; {statistics.disagreements:,} chunks ignored, because they contradict earlier ones"
    return text


def _engine(folder: Path) -> str | None:
    """One line about the engine that wrote a store; None if engine.json is damaged or belongs to another folder."""
    named = NAMED_BY_ENGINE.fullmatch(folder.name)
    try:
        flat = read_engine(folder)
        return None if named and key_of(flat) != named[1] else f"  {engine_text(flat)}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not text, not JSON, or something else
        return None


def _rewrite(path: Path) -> None:
    """Keep only the valid lines of a file. The replacement is atomic: a reader sees the old file or the new one."""
    aside = path.with_suffix(".aside")
    with path.open("rb") as old, aside.open("wb") as new:
        new.writelines(line for line in old if Chunk.from_line(line))
        new.flush()
        os.fsync(new.fileno())
    aside.replace(path)
