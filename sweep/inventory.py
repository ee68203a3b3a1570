"""Read a store and the results beside it from the disk; changes nothing.

Bytes are the lengths of the files as `ls -l` tells them; links and the folders themselves count nothing. Files that
come and go while a sweep is at work are counted if they are seen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweep.checksums import reading
from sweep.claim import is_at_work
from sweep.holdings import Holding, Holdings, State
from sweep.identity import KEY_CHARACTERS, key_of
from sweep.launch.submission import awaited
from sweep.store import StageDirectory, Store, StoreError, read_json

SHARED = "shared"
LEFTOVERS = ("out.partial", "damaged-*", "superseded-*", ".*")  # of an attempt, a repair, a redo, a file being written
HALF_PUBLISHED = re.compile(r"\.(.+)\.(new|old)")


def take(store: Store, results: Path) -> Holdings:
    """Everything there is. Raises StoreError for a manifest that cannot be read: what it rests on is not known."""
    stages, faults, queued = [], [], awaited(store.root)
    for directory in stage_directories(store):
        try:
            described = description(directory)
        except StoreError as error:
            faults.append(str(error))
            described = {}
        stages.append(_holding(directory, described, directory.address in queued))
    half = {path.name: size_of(path) for path in _half_published(results)}
    return Holdings(
        stages=tuple(stages),
        shared={path.name: size_of(path) for path in shared_folders(store)},
        beside={path.name: size_of(path) for path in _folders(store.root) if not _is_ours(path)},
        results={
            path.parent.name: _rests_on(path)
            for path in sorted(results.glob("*/manifest.json"))
            if path.parent.name not in half
        },
        half_published=half,
        faults=tuple(faults),
    )


def stage_directories(store: Store) -> Iterator[StageDirectory]:
    """By name and key."""
    for folder in _folders(store.root):
        if folder.name != SHARED:
            yield from (StageDirectory(path) for path in _folders(folder) if _is_key(path.name))


def shared_folders(store: Store) -> list[Path]:
    """One for each batch."""
    return _folders(store.root / SHARED)


def description(directory: StageDirectory) -> Mapping[str, Any]:
    """stage.json; a directory from which all was set aside has none. Raises StoreError if it cannot be read."""
    if directory.stage_file.exists():
        return directory.read_stage()
    if directory.is_done:
        raise StoreError(f"{directory.stage_file}: missing. Remove the directory; it will be made again.")
    return {}


def damage(directory: StageDirectory) -> list[str]:
    """What is wrong with one stage directory; reads every byte of its product."""
    try:
        described = description(directory)
    except StoreError:
        return ["stage.json: missing or not JSON"]
    faults = directory.faults(reading)
    if described and key_of(described["identity"]) != directory.path.name:
        faults.append("stage.json: describes another stage")
    return faults


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a directory."""
    if path.is_symlink() or not path.is_dir():
        return _length(path)
    return sum(_length(Path(folder) / name) for folder, _, names in os.walk(path) for name in names)


def _length(path: Path) -> int:
    with suppress(FileNotFoundError):  # gone since it was listed
        if not path.is_symlink():
            return path.lstat().st_size
    return 0


def _holding(directory: StageDirectory, described: Mapping[str, Any], is_queued: bool) -> Holding:
    """What is queued counts as at work: a lock that a process on another node holds may not be seen here."""
    locked = is_at_work(directory.path)
    inputs = [place for places in described.get("inputs", {}).values() for place in places]
    shards = [] if directory.is_done else described.get("shards", [])  # what is made is whole without them
    return Holding(
        address=directory.address,
        state=_state(directory, locked),
        size_bytes=size_of(directory.path),
        inputs=frozenset(place["stage"] for place in [*inputs, *shards] if "stage" in place),
        batch=described.get("batch"),
        label=described.get("label", ""),
        is_locked=locked or is_queued,
        leftovers={path.name: size_of(path) for path in _leftovers(directory)},
    )


def _state(directory: StageDirectory, locked: bool) -> State:
    if directory.is_done:
        return State.DONE
    if locked:
        return State.RUNNING
    return State.FAILED if directory.failed_file.exists() else State.UNFINISHED


def _leftovers(directory: StageDirectory) -> list[Path]:
    found = [path for pattern in LEFTOVERS for path in sorted(directory.path.glob(pattern))]
    return [*found, directory.scratch] if directory.is_done and directory.scratch.exists() else found


def _rests_on(manifest: Path) -> frozenset[str]:
    stages = read_json(manifest).get("stages")
    if not isinstance(stages, dict):
        raise StoreError(f"{manifest}: names no stages. Move this result away, or make it again.")
    return frozenset(stages)


def _half_published(results: Path) -> list[Path]:
    """What a killed sweep left beside a result that stands; alone, it may be all there is of that result."""
    return [
        path
        for path in _folders(results)
        if (name := HALF_PUBLISHED.fullmatch(path.name)) and (results / name[1]).exists()
    ]


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []


def _is_ours(folder: Path) -> bool:
    return folder.name == SHARED or any(_is_key(path.name) for path in folder.iterdir())


def _is_key(name: str) -> bool:
    return re.fullmatch(rf"[0-9a-f]{{{KEY_CHARACTERS}}}", name) is not None
