"""What of a graph is made again although it is finished, and the plan that follows.

    damaged   its product is no longer what was published
    again     asked for by redo=; of a FINAL stage also: what it rests on is made again, or was since it read it

Nothing else is made again: an EXPENSIVE or UPSTREAM stage that read other bytes than its input has now is reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweep.contract import Graph
from sweep.errors import InputError
from sweep.generations import renew_shared, supersede
from sweep.identity import cite, shortened
from sweep.plan import Plan, plan
from sweep.stage import CodePolicy, Stage
from sweep.store import StageDirectory, Store, StoreError

REDO = "redo"


@dataclass(frozen=True)
class Planned:
    work: Plan
    stages: tuple[Stage, ...]  # all of the graph, inputs first
    damaged: Mapping[str, str]  # by address: what is wrong with a finished product that is made again
    again: Mapping[str, str]  # by address: why a finished stage is made again
    stale: Mapping[str, str]  # by address: what a finished stage read that is something else now; it is reused


def planned(graph: Graph, store: Store, redo: Sequence[str] = ()) -> Planned:
    """Raises InputError for names in `redo` that no stage of the graph has."""
    stages = plan([graph.product], lambda stage: False).needed
    _refuse_unknown(redo, stages)
    look = _Look(store, _whole_and_shards(redo, stages))
    for stage in stages:
        look.judge(stage)
    anew = [stage for stage in stages if stage.address in look.again]
    work = plan([*anew, graph.product], look.is_sound)
    return Planned(work, stages, look.damaged, look.again, look.stale)


def clear(store: Store, found: Planned) -> None:
    """Set aside what is to be made again; what it shared with its batch is not continued."""
    for address in found.damaged:
        StageDirectory(store.root / address).set_aside(StageDirectory.faults)
    asked = [stage for stage in found.stages if found.again.get(stage.address) == REDO]
    for batch in {stage.batch for stage in asked if stage.batch is not None}:
        renew_shared(store.shared(batch))
    for address in found.again:
        supersede(StageDirectory(store.root / address))


@dataclass
class _Look:
    """The store as the stages of one graph see it; each record is read once."""

    store: Store
    redo: frozenset[str]  # addresses
    damaged: dict[str, str] = field(default_factory=dict)
    again: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str | None] = field(default_factory=dict)

    def judge(self, stage: Stage) -> None:
        """Whether a finished stage is made again; its inputs were judged before."""
        if not self.store.is_done(stage):
            return
        if stage.address in self.redo:
            self.again[stage.address] = REDO
            return
        made_again = next((each.address for each in stage.rests_on() if each.address in self.again), None)
        reason = f"{made_again} is made again" if made_again else self._other_bytes(stage)
        if reason is not None:
            (self.again if stage.code is CodePolicy.FINAL else self.stale)[stage.address] = reason

    def is_sound(self, stage: Stage) -> bool:
        """Finished, whole, and not to be made again."""
        faults = self.store.directory(stage).faults()
        if faults:
            self.damaged[stage.address] = faults[0]
        return self.store.is_done(stage) and not faults and stage.address not in self.again

    def _other_bytes(self, stage: Stage) -> str | None:
        """An input that is not what this product was made from."""
        try:
            read = self.store.directory(stage).read_record().get("inputs", {})
        except StoreError:  # found by is_sound
            return None
        for each in stage.rests_on():
            before, now = read.get(each.address), self._digest(each) if each.address in read else None
            if before is not None and now is not None and before != now:
                return f"{shortened(cite(each.address, before))} was read, which is @{now[:4]} now"
        return None

    def _digest(self, stage: Stage) -> str | None:
        if stage.address not in self.digests:
            directory = self.store.directory(stage)
            try:
                self.digests[stage.address] = directory.digest if directory.is_done else None
            except StoreError:
                self.digests[stage.address] = None
        return self.digests[stage.address]


def _whole_and_shards(redo: Sequence[str], stages: Sequence[Stage]) -> frozenset[str]:
    """Addresses of the stages of these names; what is made in shards is made anew with all of them."""
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
