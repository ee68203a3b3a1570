"""What a store holds, and what of it may go: decided over values. Pure.

A result rests on the stages that its manifest lists and on all their inputs, with the bytes that it cites. Results are
those of the store's roots (sweep/results/roots.py), wherever they lie, and those in the results folder. Of the rest

    stays   what is at work or in a queue; what is unfinished or failed, for the same command goes on from it; all
            inputs of these
    goes    every other finished stage; with `unfinished`, also what is unfinished or failed and not at work
    goes    the shared folder of a batch of which no stage stays
    goes    what dead runs and mends left behind in stages that are not at work; earlier products of these, unless a
            result cites them by digest; what killed comparisons and killed publications made aside
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
    """A product that was good and is superseded."""

    size_bytes: int
    digest: str | None  # None: its record cannot be read


@dataclass(frozen=True)
class RootedStages:
    """A result, and what it rests on."""

    place: str  # for people
    stages: Mapping[str, str]  # digests by address; "": of bytes that it cannot name
    root: str = ""  # its id among the store's roots; "": known by its manifest alone
    is_there: bool = True


@dataclass(frozen=True)
class StageEntry:
    """One stage directory."""

    address: str
    state: StageState
    size_bytes: int  # of all its files
    inputs: frozenset[str] = frozenset()  # addresses
    batch: str | None = None
    label: str = ""  # for people
    is_locked: bool = (
        False  # at work or in a queue; also a finished stage, while its batch is or while it is pending_stages
    )
    leftovers: Mapping[str, int] = field(default_factory=dict[str, int])  # names in the directory, with their bytes
    superseded: Mapping[str, SupersededArtifact] = field(default_factory=dict[str, SupersededArtifact])  # likewise

    @property
    def name(self) -> str:
        return self.address.partition("/")[0]


@dataclass(frozen=True)
class Inventory:
    """One store, and the results that rest on it."""

    stages: tuple[StageEntry, ...] = ()
    shared: Mapping[str, int] = field(default_factory=dict[str, int])  # bytes, by batch
    beside: Mapping[str, int] = field(default_factory=dict[str, int])  # bytes of other folders in it, such as W&B's
    results: tuple[RootedStages, ...] = ()
    half_published: Mapping[str, int] = field(default_factory=dict[str, int])  # bytes, by place below the results
    aside: Mapping[str, int] = field(default_factory=dict[str, int])  # bytes of killed comparisons of code, by place
    faults: tuple[str, ...] = ()  # stages whose inputs cannot be known


class RemovalReason(Enum):
    """Values are what people are told."""

    STAGE = "no result rests on it"
    UNFINISHED = "unfinished or failed"
    SHARED = "no stage of this batch is left"
    LEFTOVER = "left behind"
    SUPERSEDED = "superseded, no result cites it"
    ASIDE = "comparison that was killed"
    HALF_PUBLISHED = "half-published result"


@dataclass(frozen=True)
class Removal:
    kind: RemovalReason
    place: str  # below the store; below the results if half-published
    size_bytes: int
    label: str = ""


def rooted(holdings: Inventory) -> frozenset[str]:
    """Addresses of all that a result rests on, here or no longer here."""
    return _with_inputs(holdings, (address for each in holdings.results for address in each.stages))


def kept_stages(holdings: Inventory, unfinished: bool) -> frozenset[str]:
    """Addresses of the stages that stay; `unfinished` gives those up that are neither done nor at work."""
    roots = [address for each in holdings.results for address in each.stages]
    for stage in holdings.stages:
        if stage.is_locked or (stage.state is not StageState.DONE and not unfinished):
            roots.append(stage.address)
    return _with_inputs(holdings, roots)


def removals(holdings: Inventory, unfinished: bool = False) -> tuple[Removal, ...]:
    """All that may go, stages first."""
    stay = kept_stages(holdings, unfinished)
    going = [stage for stage in holdings.stages if stage.address not in stay]
    staying = [stage for stage in holdings.stages if stage.address in stay]
    batches = {stage.batch for stage in staying}
    return (
        *(Removal(_kind(stage), stage.address, stage.size_bytes, stage.label) for stage in going),
        *_leftovers(stage for stage in staying if not stage.is_locked),
        *_uncited((stage for stage in staying if not stage.is_locked), holdings.results),
        *(Removal(RemovalReason.ASIDE, place, size) for place, size in holdings.aside.items()),
        *(
            Removal(RemovalReason.SHARED, f"shared/{each}", size)
            for each, size in holdings.shared.items()
            if each not in batches
        ),
        *(Removal(RemovalReason.HALF_PUBLISHED, folder, size) for folder, size in holdings.half_published.items()),
    )


def _kind(stage: StageEntry) -> RemovalReason:
    return RemovalReason.STAGE if stage.state is StageState.DONE else RemovalReason.UNFINISHED


def _leftovers(stages: Iterable[StageEntry]) -> Iterator[Removal]:
    for stage in stages:
        for name, size_bytes in stage.leftovers.items():
            yield Removal(RemovalReason.LEFTOVER, f"{stage.address}/{name}", size_bytes)


def _uncited(stages: Iterable[StageEntry], results: Sequence[RootedStages]) -> Iterator[Removal]:
    """Earlier products that no result cites; one of unknown bytes stays where a result names its stage."""
    cited = {(address, digest) for each in results for address, digest in each.stages.items()}
    named = {address for address, _ in cited}
    for stage in stages:
        for name, earlier in stage.superseded.items():
            is_unsure = (earlier.digest is None or (stage.address, "") in cited) and stage.address in named
            if not is_unsure and (stage.address, earlier.digest) not in cited:
                yield Removal(RemovalReason.SUPERSEDED, f"{stage.address}/{name}", earlier.size_bytes)


def _with_inputs(holdings: Inventory, roots: Iterable[str]) -> frozenset[str]:
    inputs = {stage.address: stage.inputs for stage in holdings.stages}
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        address = waiting.pop()
        if address not in found:
            found.add(address)
            waiting.extend(inputs.get(address, ()))
    return frozenset(found)
