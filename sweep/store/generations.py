"""Products made anew: the good one they supersede, what a batch keeps apart for them, and whether they differ.

A stage that is made anew keeps its key. Its earlier product is moved to superseded-<n>/ beside it and its generation
goes up by one. What its batch shares is not continued from either: a fresh folder redo-<n>/ takes its place, also for
stages of the batch that are planned later.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from sweep.claims.claim import WAIT, Rule
from sweep.json_files import sealed
from sweep.store.attempt import move_to
from sweep.store.directory import StageDirectory, StoreError, write_json

REDO = re.compile(r"redo-(\d+)")


def supersede(directory: StageDirectory, generation: int, rule: Rule = WAIT) -> None:
    """Set the finished product of a generation aside, to be made anew; nothing if it has been already."""
    with directory.locked(rule):
        if not directory.is_done or directory.generation != generation:
            return
        write_json(directory.generation_file, sealed({"generation": generation + 1}))  # first: it may only go up
        shutil.rmtree(directory.scratch, ignore_errors=True)
        move_to(directory, "superseded")


def shared_now(folder: Path) -> Path:
    """Where a batch keeps what it shares: its folder, or the newest that a redo began."""
    numbers = _redos(folder)
    return folder / f"redo-{max(numbers)}" if numbers else folder


def renew_shared(folder: Path) -> None:
    """Begin a fresh folder for what a batch shares; nothing if it shares nothing so far."""
    now = shared_now(folder)
    if now.is_dir() and any(now.iterdir()):
        (folder / f"redo-{max(_redos(folder), default=0) + 1}").mkdir(exist_ok=True)


Made: TypeAlias = "Mapping[tuple[str, str], Sequence[Path]]"  # directories by request key and digest of the product


def described(folder: Path) -> Made:
    """The finished stages of one name: those under one entry differ in code alone and have the same bytes."""
    found: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.glob("*/record.json")):
        directory = StageDirectory(path.parent)
        with suppress(StoreError, OSError):  # a damaged one is no witness
            request_key = directory.read_record().get("request_key")
            if request_key is not None:
                found.setdefault((request_key, directory.digest), []).append(directory.path)
    return found


def same_as(path: Path, made: Made) -> list[Path]:
    """Of the stages that were made, those that this one differs from in code alone, with the same bytes."""
    directory = StageDirectory(path)
    request_key = directory.read_stage().get("request_key")
    if request_key is None:
        return []
    return [each for each in made.get((request_key, directory.digest), ()) if each != path]


def digest_at(path: Path) -> str:
    """Of the product of a finished stage, by its directory."""
    return StageDirectory(path).digest


def _redos(folder: Path) -> list[int]:
    found = (REDO.fullmatch(path.name) for path in folder.glob("redo-*"))
    return [int(each[1]) for each in found if each]
