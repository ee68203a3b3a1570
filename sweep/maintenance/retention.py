"""Decide which parts of a store `sweep store prune` keeps and removes. Does no I/O.

A result depends on the stages in its manifest and all their inputs, with the digests that it cites. Results are those
of the store's roots (sweep/results/roots.py) and those in the results folder. Everything they depend on is kept. Of the
rest

    keep    running and queued stages; unfinished and failed stages, because the same command resumes them; their inputs
    remove  every other finished stage; with `unfinished`, also unfinished and failed stages that are not running
    remove  the shared folder of a batch without a kept stage
    remove  leftovers of dead runs and repairs in stages that are not running; superseded artifacts of these stages,
            unless a result cites their digest; temporary folders of killed comparisons and publications
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum


class StageState(Enum):
    DONE = "done"
    RUNNING = "running"
    UNFINISHED = "unfinished"  # interrupted, or waiting for its turn
    FAILED = "failed"


@dataclass(frozen=True)
class SupersededArtifact:
    """An intact artifact that redo has replaced."""

    size_bytes: int
    digest: str | None  # None: its record is unreadable


@dataclass(frozen=True)
class RootedStages:
    """A result, and the stages that it depends on."""

    place: str  # path, for display
    stages: Mapping[str, str]  # digests by address; "": unknown digest
    root: str = ""  # ID of its root; "": known only by its manifest
    is_there: bool = True


@dataclass(frozen=True)
class StageEntry:
    """One stage directory."""

    address: str
    state: StageState
    size_bytes: int  # of all its files
    inputs: frozenset[str] = frozenset()  # addresses
    batch: str | None = None
    label: str = ""  # for display
    is_locked: bool = False  # running or queued; also a finished stage while its batch runs or a job waits for it
    leftovers: Mapping[str, int] = field(default_factory=dict[str, int])  # bytes, by name in the directory
    superseded: Mapping[str, SupersededArtifact] = field(
        default_factory=dict[str, SupersededArtifact]
    )  # by name in the directory

    @property
    def name(self) -> str:
        return self.address.partition("/")[0]


@dataclass(frozen=True)
class Inventory:
    """Contents of a store, and the results that depend on it."""

    stages: tuple[StageEntry, ...] = ()
    shared: Mapping[str, int] = field(default_factory=dict[str, int])  # bytes, by batch
    beside: Mapping[str, int] = field(
        default_factory=dict[str, int]
    )  # bytes of other folders in it, such as those of W&B
    results: tuple[RootedStages, ...] = ()
    half_published: Mapping[str, int] = field(default_factory=dict[str, int])  # bytes, by path below the results folder
    aside: Mapping[str, int] = field(default_factory=dict[str, int])  # bytes of killed code comparisons, by path
    faults: tuple[str, ...] = ()  # error lines for stages with unknown inputs


class RemovalReason(Enum):
    """Why something is removed; the values are shown to users."""

    STAGE = "no result rests on it"
    UNFINISHED = "unfinished or failed"
    SHARED = "no stage of this batch is left"
    LEFTOVER = "left behind"
    SUPERSEDED = "superseded, no result cites it"
    ASIDE = "killed comparison"
    HALF_PUBLISHED = "half-published result"


@dataclass(frozen=True)
class Removal:
    kind: RemovalReason
    place: str  # path below the store; below the results folder if half-published
    size_bytes: int
    label: str = ""


def rooted(inventory: Inventory) -> frozenset[str]:
    """Addresses of all stages that results depend on, including missing ones."""
    return _with_inputs(inventory, (address for each in inventory.results for address in each.stages))


def kept_stages(inventory: Inventory, unfinished: bool) -> frozenset[str]:
    """Addresses of the kept stages; with `unfinished`, without those that are neither done nor running."""
    roots = [address for each in inventory.results for address in each.stages]
    for stage in inventory.stages:
        if stage.is_locked or (stage.state is not StageState.DONE and not unfinished):
            roots.append(stage.address)
    return _with_inputs(inventory, roots)


def removals(inventory: Inventory, unfinished: bool = False) -> tuple[Removal, ...]:
    """Everything that may be removed, stages first."""
    addresses = kept_stages(inventory, unfinished)
    removed = [stage for stage in inventory.stages if stage.address not in addresses]
    kept = [stage for stage in inventory.stages if stage.address in addresses]
    batches = {stage.batch for stage in kept}
    return (
        *(Removal(_kind(stage), stage.address, stage.size_bytes, stage.label) for stage in removed),
        *_leftovers(stage for stage in kept if not stage.is_locked),
        *_uncited((stage for stage in kept if not stage.is_locked), inventory.results),
        *(Removal(RemovalReason.ASIDE, place, size) for place, size in inventory.aside.items()),
        *(
            Removal(RemovalReason.SHARED, f"shared/{each}", size)
            for each, size in inventory.shared.items()
            if each not in batches
        ),
        *(Removal(RemovalReason.HALF_PUBLISHED, folder, size) for folder, size in inventory.half_published.items()),
    )


def _kind(stage: StageEntry) -> RemovalReason:
    return RemovalReason.STAGE if stage.state is StageState.DONE else RemovalReason.UNFINISHED


def _leftovers(stages: Iterable[StageEntry]) -> Iterator[Removal]:
    for stage in stages:
        for name, size_bytes in stage.leftovers.items():
            yield Removal(RemovalReason.LEFTOVER, f"{stage.address}/{name}", size_bytes)


def _uncited(stages: Iterable[StageEntry], results: Sequence[RootedStages]) -> Iterator[Removal]:
    """Superseded artifacts that no result cites; one with an unknown digest is kept if a result names its stage."""
    cited = {(address, digest) for each in results for address, digest in each.stages.items()}
    named = {address for address, _ in cited}
    for stage in stages:
        for name, earlier in stage.superseded.items():
            is_unsure = (earlier.digest is None or (stage.address, "") in cited) and stage.address in named
            if not is_unsure and (stage.address, earlier.digest) not in cited:
                yield Removal(RemovalReason.SUPERSEDED, f"{stage.address}/{name}", earlier.size_bytes)


def _with_inputs(inventory: Inventory, roots: Iterable[str]) -> frozenset[str]:
    inputs = {stage.address: stage.inputs for stage in inventory.stages}
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        address = waiting.pop()
        if address not in found:
            found.add(address)
            waiting.extend(inputs.get(address, ()))
    return frozenset(found)
