"""Read the contents of a store and of the results folder from disk. Read-only.

Sizes are file lengths in bytes, as in `ls -l`, without links and folders. Files that a running sweep creates or removes
meanwhile may or may not be counted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sweep.claims.claim import is_at_work
from sweep.core.identity import KEY_CHARACTERS
from sweep.maintenance.retention import Inventory, RootedStages, StageEntry, StageState, SupersededArtifact
from sweep.plan.code_changes import COMPARISONS
from sweep.results.result import results_in, temporary_paths
from sweep.results.roots import roots
from sweep.slurm.submission import pending_stages
from sweep.store.attempt import copy_faults, restorable
from sweep.store.checksums import changed_files_by_hash
from sweep.store.directory import StageDirectory, Store, StoreError, description_faults
from sweep.store.documents import Place, StageJson
from sweep.store.temporary import is_abandoned, is_token

SHARED = "shared"
LEFTOVERS = ("out.partial", "damaged-*", ".*")  # left by attempts, by repairs, and temporary files
ATTEMPT = re.compile(r"(out|record)-(?P<token>.+?)(\.json)?")  # an attempt's artifact, and its second record


def take_inventory(store: Store, results: Path) -> Inventory:
    """Everything there is; what cannot be read is among the faults."""
    queued = pending_stages(store.root)
    stages: list[StageEntry] = []
    faults: list[str] = []
    for directory in stage_directories(store):
        try:
            described = description(directory)
        except StoreError as error:
            faults.append(str(error))
            described = None
        stages.append(_entry(directory, described, directory.address in queued))
    rooted, unreadable = _rooted_stages(store, results)
    return Inventory(
        stages=tuple(stages),
        shared={path.name: size_of(path) for path in shared_folders(store)},
        beside={path.name: size_of(path) for path in _folders(store.root) if not _is_ours(path)},
        results=tuple(rooted),
        half_published={str(path.relative_to(results)): size_of(path) for path in _half_published(results)},
        aside={str(path.relative_to(store.root)): size_of(path) for path in _killed_comparisons(store)},
        faults=(*faults, *unreadable),
    )


def stage_directories(store: Store) -> Iterator[StageDirectory]:
    """Stage directories of a store, sorted by name and key."""
    for folder in _folders(store.root):
        if folder.name != SHARED:
            yield from (StageDirectory(path) for path in _folders(folder) if _is_key(path.name))


def shared_folders(store: Store) -> list[Path]:
    """Shared folders of a store, one for each batch."""
    return _folders(store.root / SHARED)


def description(directory: StageDirectory) -> StageJson | None:
    """Read stage.json; None if everything was set aside. Raises StoreError if it is missing or damaged."""
    described = _read_description(directory)
    if described and (faults := description_faults(directory, described)):
        raise StoreError(
            f"{directory.address}: {faults[0]}. Run python -m sweep store check --repair, or its sweep, to rewrite it."
        )
    return described


def _read_description(directory: StageDirectory) -> StageJson | None:
    if directory.stage_file.exists():
        return directory.read_stage()
    if directory.is_done:
        raise StoreError(f"{directory.stage_file}: missing. Run python -m sweep store check --repair to rewrite it.")
    return None


def damage(directory: StageDirectory) -> list[str]:
    """All faults of one stage directory; reads every byte of its artifact."""
    if restorable(directory):
        state = "changed since it was published" if directory.is_done else "missing"
        return [f"{directory.record_file.name}: {state}; its second copy and the artifact are intact"]
    return [*directory.faults(changed_files_by_hash), *_description_faults(directory), *copy_faults(directory)]


def _description_faults(directory: StageDirectory) -> list[str]:
    try:
        described = _read_description(directory)
    except StoreError:
        return ["stage.json: missing or not JSON"]
    return description_faults(directory, described) if described else []


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a directory."""
    if path.is_symlink() or not path.is_dir():
        return _length(path)
    return sum(_length(Path(folder) / name) for folder, _, names in os.walk(path) for name in names)


def _length(path: Path) -> int:
    with suppress(FileNotFoundError):  # removed since it was listed
        if not path.is_symlink():
            return path.lstat().st_size
    return 0


def _entry(directory: StageDirectory, described: StageJson | None, is_queued: bool) -> StageEntry:
    """Queued stages count as locked, because a lock held on another node may not be visible here."""
    locked = is_at_work(directory.path)
    places: list[Place] = []
    if described is not None:
        places += [place for places in described["inputs"].values() for place in places]
        places += [] if directory.is_done else described["shards"]  # a finished stage does not need them
    return StageEntry(
        address=directory.address,
        state=_state(directory, locked),
        size_bytes=size_of(directory.path),
        inputs=frozenset(place["stage"] for place in places if "stage" in place),
        batch=None if described is None else described["batch"],
        label="" if described is None else described.get("label", ""),
        is_locked=locked or is_queued,
        leftovers={path.name: size_of(path) for path in _leftovers(directory)},
        superseded={path.name: SupersededArtifact(size_of(path), _digest(path)) for path in _superseded(directory)},
    )


def _state(directory: StageDirectory, locked: bool) -> StageState:
    if directory.is_done:
        return StageState.DONE
    if locked:
        return StageState.RUNNING
    return StageState.FAILED if directory.failed_file.exists() else StageState.UNFINISHED


def _leftovers(directory: StageDirectory) -> list[Path]:
    found = [path for pattern in LEFTOVERS for path in sorted(directory.path.glob(pattern))]
    found += _attempts(directory)
    return [*found, directory.scratch] if directory.is_done and directory.scratch.exists() else found


def _attempts(directory: StageDirectory) -> list[Path]:
    """Leftover attempts.

    Of a finished stage: all but the current artifact and its record copy. Of an unfinished one: those from which no
    record can be restored, an artifact without record copy or a record copy without artifact.
    """
    tokens: dict[str, list[Path]] = {}
    for path in sorted(directory.path.iterdir()) if directory.path.is_dir() else ():
        if not path.is_symlink() and (match := ATTEMPT.fullmatch(path.name)):
            tokens.setdefault(match["token"], []).append(path)
    try:
        named = directory.out.name if directory.is_done else None
    except StoreError:  # with a damaged record, it may be any of them
        return []
    return [
        path
        for paths in tokens.values()
        if named not in (names := {path.name for path in paths}) and (named is not None or len(names) == 1)
        for path in paths
    ]


def _superseded(directory: StageDirectory) -> list[Path]:
    return sorted(directory.path.glob("superseded-*"))


def _digest(superseded: Path) -> str | None:
    try:
        return StageDirectory(superseded).digest
    except (StoreError, OSError):
        return None


def _rooted_stages(store: Store, results: Path) -> tuple[list[RootedStages], list[str]]:
    """All results with a root in the store or in the results folder, and an error line for each unreadable one."""
    known, faults = roots(store)
    here, unreadable = results_in(results)
    known_paths = {(str(root.result.path), root.result.manifest.digest) for root in known}
    found = [
        RootedStages(str(each.result.path), each.result.manifest.digests, each.id, each.is_there) for each in known
    ]
    found += [
        RootedStages(str(each.path), each.manifest.digests)
        for each in here
        if (str(each.path.resolve()), each.manifest.digest) not in known_paths
    ]
    return found, [*faults, *unreadable]


def _half_published(results: Path) -> list[Path]:
    """Temporary folders of killed publications."""
    return [
        path for folder in _folders(results) for path, made_by in temporary_paths(folder) if is_abandoned(path, made_by)
    ]


def _killed_comparisons(store: Store) -> list[Path]:
    """Temporary stores that sweep/plan/code_changes.py could not remove, unless a process uses them."""
    return [
        path
        for path in _folders(store.root / COMPARISONS)
        if not any(is_at_work(lock.parent) for lock in path.rglob("lock"))
        and (is_abandoned(path, path.name) if is_token(path.name) else True)
    ]


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []


def _is_ours(folder: Path) -> bool:
    return folder.name == SHARED or any(_is_key(path.name) for path in folder.iterdir())


def _is_key(name: str) -> bool:
    return re.fullmatch(rf"[0-9a-f]{{{KEY_CHARACTERS}}}", name) is not None
