"""Verify the checksums of a store; on request restore files from second copies and set damaged artifacts aside.

Removes nothing: a damaged artifact moves to damaged-<n>/ of its stage, and the next sweep makes the stage again. Reads
every byte of every finished artifact. The pipeline checks and repairs the shared folders of batches, which it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from sweep.claims import claim
from sweep.claims.lock import LockMode
from sweep.core.pipeline import Pipeline
from sweep.json_files import CHECKSUM
from sweep.maintenance.inventory import damage, description, shared_folders, stage_directories
from sweep.results.roots import roots
from sweep.store.attempt import renew_copy, restore, restore_description, set_aside
from sweep.store.checksums import changed_files_by_hash
from sweep.store.directory import StageDirectory, Store, StoreError
from sweep.store.documents import RecordJson


class Repair(Enum):
    """How damage was repaired, or what to do about it."""

    TO_DO = "To repair it: python -m sweep store check --repair."
    AT_WORK = "A worker is running: repair it when that has ended."
    RESTORED = "Restored."
    LEFT = "The next sweep that plans this stage rewrites it."
    SET_ASIDE = "Set aside. The next sweep makes it again."
    REWRITTEN = "Rewritten without it."

    @property
    def is_done(self) -> bool:
        return self in (Repair.SET_ASIDE, Repair.REWRITTEN, Repair.RESTORED)


@dataclass(frozen=True)
class Checked:
    """Check of a stage directory, or of the shared folder of a batch."""

    place: str
    faults: Sequence[str]  # empty: intact
    outcome: Repair | None = None  # of the repair; None without faults


@dataclass(frozen=True)
class _Suspect:
    place: str
    is_at_work: bool
    faults: Callable[[], Sequence[str]]
    repair: Callable[[], Repair]


def verify_store(store: Store, pipeline: Pipeline, repair: bool) -> Iterator[Checked]:
    """Check everything in the store one by one, and repair it on request."""
    with store.held(LockMode.EXCLUSIVE) if repair else nullcontext():
        for suspect in _suspects(store, pipeline):
            faults = suspect.faults()
            yield Checked(suspect.place, faults, _repaired(suspect, repair) if faults else None)


@dataclass(frozen=True)
class Unchecked:
    """Artifacts of earlier versions, which cannot be verified."""

    artifacts: int  # records without checksums of files
    records: int  # records without a checksum of their own and without input digests


def unchecked(store: Store) -> Unchecked:
    """Count the artifacts of earlier versions in a store."""
    records: list[RecordJson] = []
    for directory in stage_directories(store):
        with suppress(StoreError):  # not finished, or reported as damaged
            records.append(directory.read_record())
    return Unchecked(sum("files" not in each for each in records), sum(CHECKSUM not in each for each in records))


def lost(store: Store) -> list[str]:
    """A line for each missing stage that a published result depends on, except those set aside."""
    known, faults = roots(store)
    dependencies = [
        (address, root) for root in known for address, digest in root.result.manifest.digests.items() if digest
    ]
    return [
        *faults,
        *(
            f"{address}: missing, but {root.result.name} depends on it. Run its command with redo= of the stage that"
            f" reads it, or give the result up with python -m sweep store release {root.id}."
            for address, root in dependencies
            if not _is_kept(StageDirectory(store.root / address))
        ),
    ]


def _is_kept(directory: StageDirectory) -> bool:
    return directory.is_done or any(directory.path.glob("damaged-*"))


def _repaired(suspect: _Suspect, repair: bool) -> Repair:
    if not repair:
        return Repair.TO_DO
    if suspect.is_at_work:
        return Repair.AT_WORK
    return suspect.repair()


def _suspects(store: Store, pipeline: Pipeline) -> Iterator[_Suspect]:
    busy: set[str | None] = set()
    for directory in stage_directories(store):
        is_at_work = claim.is_at_work(directory.path)
        faults, repair = partial(damage, directory), partial(_repair_stage, directory)
        yield _Suspect(directory.address, is_at_work, faults, repair)
        with suppress(StoreError):  # reported as damaged
            described = description(directory) if is_at_work else None
            if described is not None:
                busy.add(described["batch"])
    for folder in shared_folders(store):
        faults, repair = partial(_shared_faults, pipeline, folder), partial(_repair_shared, pipeline, folder)
        yield _Suspect(f"shared/{folder.name}", folder.name in busy, faults, repair)


def _repair_stage(directory: StageDirectory) -> Repair:
    """Restore files from second copies; set a damaged artifact aside, never remove it."""
    if restore(directory):
        return Repair.RESTORED
    if directory.faults(changed_files_by_hash):
        set_aside(directory, lambda each: each.faults(changed_files_by_hash))
        return Repair.SET_ASIDE
    if renew_copy(directory) or restore_description(directory):
        return Repair.RESTORED
    return Repair.LEFT


def _repair_shared(pipeline: Pipeline, folder: Path) -> Repair:
    pipeline.repair_shared(folder)
    return Repair.REWRITTEN


def _shared_faults(pipeline: Pipeline, folder: Path) -> Sequence[str]:
    return pipeline.shared(folder).faults
