"""Hold a store against its checksums; on request restore what has a second copy, and set aside what does not match.

Nothing is removed: what is set aside lies in damaged-<n>/ of its stage, and the next sweep makes the stage again.
Reads every byte of every finished product. What a batch shares is read and repaired by the pipeline, which wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from sweep.claims import claim
from sweep.claims.lock import Hold
from sweep.core.pipeline import Pipeline
from sweep.json_files import CHECKSUM
from sweep.maintenance.inventory import damage, description, shared_folders, stage_directories
from sweep.results.roots import roots
from sweep.store.attempt import renew_copy, restore, restore_description, set_aside
from sweep.store.checksums import changed_files_by_hash
from sweep.store.directory import StageDirectory, Store, StoreError
from sweep.store.documents import RecordJson


class Repair(Enum):
    """What became of the damage, or what to do about it."""

    TO_DO = "To repair it: python -m sweep store check --repair."
    AT_WORK = "A worker is there: repair it when that has ended."
    RESTORED = "Restored."
    LEFT = "The next sweep that plans this stage writes it again."
    SET_ASIDE = "Set aside, the next sweep makes it again."
    REWRITTEN = "Rewritten without it."

    @property
    def is_done(self) -> bool:
        return self in (Repair.SET_ASIDE, Repair.REWRITTEN, Repair.RESTORED)


@dataclass(frozen=True)
class Checked:
    """A stage directory, or the shared folder of a batch."""

    place: str
    faults: Sequence[str]  # none: it is what it was
    mend: Repair | None = None  # of the faults


@dataclass(frozen=True)
class _Suspect:
    place: str
    is_at_work: bool
    faults: Callable[[], Sequence[str]]
    treat: Callable[[], Repair]


def verify_store(store: Store, pipeline: Pipeline, mend: bool) -> Iterator[Checked]:
    """All there is, one after the other, mended on the way if told to."""
    with store.held(Hold.ALONE) if mend else nullcontext():
        for suspect in _suspects(store, pipeline):
            faults = suspect.faults()
            yield Checked(suspect.place, faults, _mended(suspect, mend) if faults else None)


@dataclass(frozen=True)
class Unchecked:
    """Products that earlier versions finished, which are taken as they are."""

    products: int  # of records that know no checksums of files
    records: int  # that carry no checksum of their own, and do not say which bytes of their inputs were read


def unchecked(store: Store) -> Unchecked:
    """How much of a store is from before there were checksums."""
    records: list[RecordJson] = []
    for directory in stage_directories(store):
        with suppress(StoreError):  # not finished, or reported as damaged
            records.append(directory.read_record())
    return Unchecked(sum("files" not in each for each in records), sum(CHECKSUM not in each for each in records))


def lost(store: Store) -> list[str]:
    """A line for each stage that a published result rests on and that is gone; not for what was set aside."""
    known, faults = roots(store)
    rests = [(address, root) for root in known for address, digest in root.result.manifest.digests.items() if digest]
    return [
        *faults,
        *(
            f"{address}: not there, and {root.result.name} rests on it. Its command with redo= of what reads it makes"
            f" it again; python -m sweep store release {root.id} gives the result up."
            for address, root in rests
            if not _is_kept(StageDirectory(store.root / address))
        ),
    ]


def _is_kept(directory: StageDirectory) -> bool:
    return directory.is_done or any(directory.path.glob("damaged-*"))


def _mended(suspect: _Suspect, mend: bool) -> Repair:
    if not mend:
        return Repair.TO_DO
    if suspect.is_at_work:
        return Repair.AT_WORK
    return suspect.treat()


def _suspects(store: Store, pipeline: Pipeline) -> Iterator[_Suspect]:
    busy: set[str | None] = set()
    for directory in stage_directories(store):
        is_at_work = claim.is_at_work(directory.path)
        faults, treat = partial(damage, directory), partial(_treat_stage, directory)
        yield _Suspect(directory.address, is_at_work, faults, treat)
        with suppress(StoreError):  # told as damaged
            described = description(directory) if is_at_work else None
            if described is not None:
                busy.add(described["batch"])
    for folder in shared_folders(store):
        faults, treat = partial(_shared_faults, pipeline, folder), partial(_treat_shared, pipeline, folder)
        yield _Suspect(f"shared/{folder.name}", folder.name in busy, faults, treat)


def _treat_stage(directory: StageDirectory) -> Repair:
    """Restore what a second copy knows; a product that is not what its record says is set aside, never removed."""
    if restore(directory):
        return Repair.RESTORED
    if directory.faults(changed_files_by_hash):
        set_aside(directory, lambda each: each.faults(changed_files_by_hash))
        return Repair.SET_ASIDE
    if renew_copy(directory) or restore_description(directory):
        return Repair.RESTORED
    return Repair.LEFT


def _treat_shared(pipeline: Pipeline, folder: Path) -> Repair:
    pipeline.repair_shared(folder)
    return Repair.REWRITTEN


def _shared_faults(pipeline: Pipeline, folder: Path) -> Sequence[str]:
    return pipeline.shared(folder).faults
