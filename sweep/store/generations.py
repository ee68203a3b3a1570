"""Redo of finished stages: supersede their artifacts, renew shared batch folders, find equal artifacts.

A redone stage keeps its key. Its earlier artifact moves to superseded-<n>/, and its generation goes up by one. Its
batch starts with an empty shared folder redo-<n>/, which stages of the batch that are planned later use too.
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
    """Set the finished artifact of a generation aside for a redo, unless that has already happened."""
    with directory.locked(rule):
        if not directory.is_done or directory.generation != generation:
            return
        write_json(
            directory.generation_file, sealed({"generation": generation + 1})
        )  # first, because it must never go down
        shutil.rmtree(directory.scratch, ignore_errors=True)
        move_to(directory, "superseded")


def shared_now(folder: Path) -> Path:
    """The current shared folder of a batch: its folder, or the newest redo-<n>/ in it."""
    numbers = _redos(folder)
    return folder / f"redo-{max(numbers)}" if numbers else folder


def renew_shared(folder: Path) -> None:
    """Create an empty shared folder for a batch, unless the current one is empty."""
    now = shared_now(folder)
    if now.is_dir() and any(now.iterdir()):
        (folder / f"redo-{max(_redos(folder), default=0) + 1}").mkdir(exist_ok=True)


Made: TypeAlias = "Mapping[tuple[str, str], Sequence[Path]]"  # directories by request key and digest of the artifact


def described(folder: Path) -> Made:
    """Finished stages of one name, grouped: stages of a group differ only in code and have the same bytes."""
    found: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.glob("*/record.json")):
        directory = StageDirectory(path.parent)
        with suppress(StoreError, OSError):  # damaged records are skipped
            request_key = directory.read_record().get("request_key")
            if request_key is not None:
                found.setdefault((request_key, directory.digest), []).append(directory.path)
    return found


def same_as(path: Path, made: Made) -> list[Path]:
    """The other stages in `made` that differ from this one only in code and have the same bytes."""
    directory = StageDirectory(path)
    request_key = directory.read_stage().get("request_key")
    if request_key is None:
        return []
    return [each for each in made.get((request_key, directory.digest), ()) if each != path]


def digest_at(path: Path) -> str:
    """Digest of the artifact in a stage directory."""
    return StageDirectory(path).digest


def _redos(folder: Path) -> list[int]:
    found = (REDO.fullmatch(path.name) for path in folder.glob("redo-*"))
    return [int(each[1]) for each in found if each]
