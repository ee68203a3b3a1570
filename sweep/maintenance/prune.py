"""Remove everything from a store that sweep/maintenance/retention.py allows; without `yes` only list it.

Removes a record before its artifact, so that a killed prune leaves no finished stage with half an artifact. Copies the
log of a removed stage to kept stages that share it.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from sweep.claims.claim import Rule
from sweep.claims.lock import LockMode
from sweep.maintenance.inventory import stage_directories, take_inventory
from sweep.maintenance.retention import Removal, RemovalReason, RootedStages, removals
from sweep.store.directory import StageDirectory, Store, StoreError
from sweep.store.temporary import remove


@dataclass(frozen=True)
class Pruned:
    gone: Sequence[Removal]  # removed, or to be removed
    waiting: Sequence[Removal]  # removed only with `unfinished`
    elsewhere: Sequence[RootedStages] = ()  # results that were moved or deleted, and still keep their stages


def prune(store: Store, results: Path, yes: bool, unfinished: bool) -> Pruned:
    """List removals, and with `yes` carry them out. Raises StoreError if a dependency cannot be read."""
    with store.held(LockMode.EXCLUSIVE) if yes else nullcontext():
        inventory = take_inventory(store, results)
        if inventory.faults:
            raise StoreError("\n".join(inventory.faults))
        removed = removals(inventory, unfinished)
        if yes:
            _keep_logs(store, {each.place for each in removed})
            for each in removed:
                _remove(store, results, each)
    everything = () if unfinished else removals(inventory, unfinished=True)
    waiting = [each for each in everything if each.kind is RemovalReason.UNFINISHED]
    return Pruned(removed, waiting, [each for each in inventory.results if not each.is_there])


def _keep_logs(store: Store, removed: Collection[str]) -> None:
    """Copy logs of removed stages to the stages that link to them."""
    for directory in stage_directories(store):
        log = directory.log_file
        if directory.address in removed or not log.is_symlink() or not log.exists():
            continue
        if StageDirectory(log.resolve().parent).address in removed:
            temporary = log.with_name(f".{log.name}")
            shutil.copyfile(log, temporary)
            temporary.replace(log)


def _remove(store: Store, results: Path, removal: Removal) -> None:
    if removal.kind is RemovalReason.HALF_PUBLISHED:
        remove(results / removal.place)
    elif removal.kind in (RemovalReason.SHARED, RemovalReason.ASIDE):
        _delete(store.root / removal.place)
    else:
        name, key, *inner = removal.place.split("/")
        _remove_stage(StageDirectory(store.root / name / key), inner)


def _remove_stage(directory: StageDirectory, inner: Collection[str]) -> None:
    """Remove a stage directory, or a path in it. Raises StoreError if a worker has claimed it since."""
    with directory.locked(Rule(wait=False)) as is_ours:
        if not is_ours:
            raise StoreError(f"{directory.address}: a worker has just begun it. Prune again when it has ended.")
        if inner:
            _delete(directory.path.joinpath(*inner))
            return
        directory.record_file.unlink(missing_ok=True)
        _delete(directory.path)


def _delete(path: Path) -> None:
    """Remove a path, and its folder if that is empty then."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if not any(path.parent.iterdir()):
        path.parent.rmdir()
