"""Plan a graph against a store: which finished stages are made again, and why.

    damaged     its artifact changed since it was published: set aside and made again
    over_limit  damaged, but too expensive to make again automatically: the command stops
    restored    its record is lost or damaged, but the second copy and the artifact are intact: nothing is made again
    again       requested by redo=; a FINAL stage also if an input is made again, or changed since the stage read it

An EXPENSIVE or UPSTREAM stage whose input has changed is reported, but not made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sweep.claims.claim import Rule, is_at_work
from sweep.core.identity import cite, shortened
from sweep.core.pipeline import Graph
from sweep.core.stage import CodePolicy, Stage
from sweep.errors import InputError
from sweep.plan.graph import Plan, plan
from sweep.store.attempt import point_to, published_before, records, restorable, restore, set_aside
from sweep.store.checksums import Inodes
from sweep.store.directory import OUT, StageDirectory, Store, StoreError, describe, write_json
from sweep.store.documents import RecordJson
from sweep.store.generations import renew_shared, supersede

REDO = "redo"


@dataclass(frozen=True)
class Damage:
    """A finished artifact that changed since it was published."""

    fault: str  # "out/table.csv: changed since it was published"
    usd: float | None  # price of making it again, from its record or the estimate; None: unknown


@dataclass(frozen=True)
class Planned:
    work: Plan
    stages: tuple[Stage, ...]  # all stages of the graph, inputs first
    damaged: Mapping[str, Damage]  # by address, as are the next fields
    again: Mapping[str, str]  # why a finished stage is made again
    stale: Mapping[str, str]  # input that changed since a reused stage read it
    over_limit: Mapping[str, Damage] = field(
        default_factory=dict[str, Damage]
    )  # damaged and not made again automatically
    generations: Mapping[str, int] = field(
        default_factory=dict[str, int]
    )  # the one to supersede, of each stage made again; another process may be first
    restored: tuple[str, ...] = ()
    hashed: Mapping[str, Inodes] = field(
        default_factory=dict[str, Inodes]
    )  # inode states of files that planning hashed and found intact


def planned(graph: Graph, store: Store, redo: Sequence[str] = ()) -> Planned:
    """Plan a graph. Raises InputError for a name in `redo` that no stage of the graph has."""
    stages = plan([graph.artifact], lambda stage: False).needed
    _refuse_unknown(redo, stages)
    inspection = _Inspection(store, _redo_addresses(redo, stages))
    for stage in stages:
        inspection.judge(stage)
    redone = [stage for stage in stages if stage.address in inspection.again]
    work = plan([*redone, graph.artifact], inspection.is_sound)
    damaged = {address: Damage(fault, _usd(graph, store, address)) for address, fault in inspection.damaged.items()}
    return Planned(
        work,
        stages,
        damaged,
        again=inspection.again,
        stale=inspection.stale,
        over_limit=_over_limit(damaged, stages, inspection.redo, graph.remake_limit_usd),
        generations={address: StageDirectory(store.root / address).generation for address in inspection.again},
        restored=tuple(inspection.restored),
        hashed=inspection.hashed,
    )


def recover(store: Store, found: Planned) -> None:
    """Restore lost files and save the states of hashed files; sets nothing aside."""
    for stage in found.stages:
        directory = store.directory(stage)
        if stage.address in found.restored:
            with directory.locked(Rule(wait=False)) as is_ours:  # if not, a worker has it and will publish it
                if is_ours:
                    restore(directory)
        with suppress(StoreError, OSError):
            if directory.is_done and not (directory.path / OUT).exists():
                point_to(directory, directory.out)
        if directory.is_done and not directory.stage_file.is_file():
            write_json(directory.stage_file, describe(stage), durable=False)
    for address, inodes in found.hashed.items():
        with suppress(OSError):  # a read-only store: the next plan hashes the files again
            write_json(StageDirectory(store.root / address).hashed_file, inodes, durable=False)


def clear(store: Store, found: Planned, take_over: bool = False) -> None:
    """Restore lost files, set aside everything that is made again, and renew shared folders of redone batches."""
    rule = Rule(take_over=take_over)
    recover(store, found)
    for address in found.damaged:
        set_aside(StageDirectory(store.root / address), _faults, rule)
    asked = [stage for stage in found.stages if found.again.get(stage.address) == REDO]
    for batch in {stage.batch for stage in asked if stage.batch is not None}:
        renew_shared(store.shared(batch))
    for address, generation in found.generations.items():
        supersede(StageDirectory(store.root / address), generation, rule)


@dataclass
class _Inspection:
    """State of the store for one graph; reads each record once."""

    store: Store
    redo: frozenset[str]  # addresses
    damaged: dict[str, str] = field(default_factory=dict[str, str])
    again: dict[str, str] = field(default_factory=dict[str, str])
    stale: dict[str, str] = field(default_factory=dict[str, str])
    restored: list[str] = field(default_factory=list[str])
    hashed: dict[str, Inodes] = field(default_factory=dict[str, Inodes])
    records: dict[str, RecordJson | None] = field(  # None: not finished, or damaged
        default_factory=dict[str, RecordJson | None]
    )

    def judge(self, stage: Stage) -> None:
        """Decide whether a finished stage is made again; call it for the inputs first."""
        record = self._record(stage)
        if stage.address in self.redo and self.store.is_done(stage):
            self.again[stage.address] = REDO
            return
        if record is None:
            return
        made_again = next((each.address for each in stage.dependencies() if each.address in self.again), None)
        reason = f"{made_again} is made again" if made_again else self._changed_input(stage, record)
        if reason is not None:
            (self.again if stage.code is CodePolicy.FINAL else self.stale)[stage.address] = reason

    def is_sound(self, stage: Stage) -> bool:
        """Whether it is finished, intact, and not to be made again."""
        if stage.address in self.restored:  # its artifact was hashed
            return stage.address not in self.again
        directory = self.store.directory(stage)
        if not directory.is_done:
            self._note_earlier_damage(stage, directory)
            return False
        faults, inodes = directory.new_faults()
        if faults:
            self.damaged[stage.address] = faults[0]
        elif inodes:
            self.hashed[stage.address] = inodes
        return not faults and stage.address not in self.again

    def _note_earlier_damage(self, stage: Stage, directory: StageDirectory) -> None:
        """Record the damage of a stage that lost its record, or was set aside and not made again."""
        if is_at_work(directory.path):
            return
        if published_before(directory) is not None:
            self.damaged[stage.address] = f"{directory.record_file.name}: missing"
        elif earlier := sorted(directory.path.glob("damaged-*")):
            self.damaged[stage.address] = f"set aside before, in {earlier[-1].name}/"

    def _changed_input(self, stage: Stage, record: RecordJson) -> str | None:
        """The first input that changed since this stage read it."""
        read = record.get("inputs", {})
        for each in stage.dependencies():
            before, now = read.get(each.address), self._digest(each) if each.address in read else None
            if before is not None and now is not None and before != now:
                return f"{shortened(cite(each.address, before))} was read, but it is @{now[:4]} now"
        return None

    def _digest(self, stage: Stage) -> str | None:
        record = self._record(stage)
        return None if record is None else self.store.directory(stage).digest_by(record)

    def _record(self, stage: Stage) -> RecordJson | None:
        if stage.address not in self.records:
            self.records[stage.address] = self._read(stage)
        return self.records[stage.address]

    def _read(self, stage: Stage) -> RecordJson | None:
        directory = self.store.directory(stage)
        with suppress(StoreError, OSError):  # not finished, or damaged
            return directory.read_record()
        record = None if is_at_work(directory.path) else restorable(directory)
        if record is not None:
            self.restored.append(stage.address)
        return record


def _faults(directory: StageDirectory) -> list[str]:
    if published_before(directory) is not None:
        return [f"{directory.record_file.name}: missing"]
    return directory.new_faults()[0]


def _usd(graph: Graph, store: Store, address: str) -> float | None:
    """Price of a damaged artifact, from its record or the estimate; None: unknown."""
    directory = StageDirectory(store.root / address)
    for place in (directory, *map(StageDirectory, sorted(directory.path.glob("damaged-*"), reverse=True))):
        for record in records(place):
            return float(record["usd"])
    return graph.estimates[address].usd if address in graph.estimates else None


def _over_limit(
    damaged: Mapping[str, Damage], stages: Sequence[Stage], redo: frozenset[str], limit_usd: float | None
) -> dict[str, Damage]:
    """Damaged expensive artifacts not covered by redo=, if their total price is above the limit."""
    if limit_usd is None:
        return {}
    expensive = {stage.address for stage in stages if stage.code is CodePolicy.EXPENSIVE} - redo
    found = {address: damage for address, damage in damaged.items() if address in expensive}
    prices = [damage.usd for damage in found.values()]
    is_within = all(usd is not None for usd in prices) and sum(usd or 0.0 for usd in prices) <= limit_usd
    return {} if is_within else found


def _redo_addresses(redo: Sequence[str], stages: Sequence[Stage]) -> frozenset[str]:
    """Addresses of the stages with these names; a sharded stage is redone with all its shards."""
    chosen = {stage.address for stage in stages if stage.name in redo}
    for stage in stages:
        parts = {stage.address, *(shard.address for shard in stage.shards)}
        if stage.shards and parts & chosen:
            chosen |= parts
    return frozenset(chosen)


def _refuse_unknown(redo: Sequence[str], stages: Sequence[Stage]) -> None:
    known = dict.fromkeys(stage.name for stage in stages)
    for name in redo:
        if name not in known:
            raise InputError(f"redo {name}: no such stage in this command. Known here: {', '.join(known)}.")
