"""Remove from a store what sweep/maintenance/holdings.py says may go; without `yes` only say what that is.

A record goes before its product, so a prune that is killed leaves no finished stage with half a product. Logs that a
removed stage kept for its batch are copied to the stages that stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from sweep.claims.claim import Rule
from sweep.claims.lock import Hold
from sweep.maintenance.holdings import Removal, RemovalReason, RootedStages, removals
from sweep.maintenance.inventory import stage_directories, take_inventory
from sweep.store.directory import StageDirectory, Store, StoreError
from sweep.store.temporary import remove


@dataclass(frozen=True)
class Pruned:
    gone: Sequence[Removal]  # or to go
    waiting: Sequence[Removal]  # what only `unfinished` gives up
    elsewhere: Sequence[RootedStages] = ()  # results that are not where they were published, and keep their stages


def prune(store: Store, results: Path, yes: bool, unfinished: bool) -> Pruned:
    """Decide, and remove if told to. Raises StoreError if what something rests on cannot be read."""
    with store.held(Hold.ALONE) if yes else nullcontext():
        holdings = take_inventory(store, results)
        if holdings.faults:
            raise StoreError("\n".join(holdings.faults))
        going = removals(holdings, unfinished)
        if yes:
            _keep_logs(store, {each.place for each in going})
            for each in going:
                _remove(store, results, each)
    everything = () if unfinished else removals(holdings, unfinished=True)
    waiting = [each for each in everything if each.kind is RemovalReason.UNFINISHED]
    return Pruned(going, waiting, [each for each in holdings.results if not each.is_there])


def _keep_logs(store: Store, going: Collection[str]) -> None:
    """Stages of one worker share one log, as links to the first of them."""
    for directory in stage_directories(store):
        log = directory.log_file
        if directory.address in going or not log.is_symlink() or not log.exists():
            continue
        if StageDirectory(log.resolve().parent).address in going:
            aside = log.with_name(f".{log.name}")
            shutil.copyfile(log, aside)
            aside.replace(log)


def _remove(store: Store, results: Path, going: Removal) -> None:
    if going.kind is RemovalReason.HALF_PUBLISHED:
        remove(results / going.place)
    elif going.kind in (RemovalReason.SHARED, RemovalReason.ASIDE):
        _delete(store.root / going.place)
    else:
        name, key, *inner = going.place.split("/")
        _remove_stage(StageDirectory(store.root / name / key), inner)


def _remove_stage(directory: StageDirectory, inner: Collection[str]) -> None:
    """The whole directory, or something in it. Raises StoreError if a worker came to it since it was looked at."""
    with directory.locked(Rule(wait=False)) as is_ours:
        if not is_ours:
            raise StoreError(f"{directory.address}: a worker just came to it. Prune again when that has ended.")
        if inner:
            _delete(directory.path.joinpath(*inner))
            return
        directory.record_file.unlink(missing_ok=True)
        _delete(directory.path)


def _delete(path: Path) -> None:
    """And the folder it was in, if it was the last there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if not any(path.parent.iterdir()):
        path.parent.rmdir()
