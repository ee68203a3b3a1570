"""Units that gain nothing from jobs of their own: one job makes them, one after another. Pure.

Every job waits its turn in the queue, for minutes on a busy cluster, and a plan is full of short stages without GPUs.
So a unit joins the chain of one that it waits for, where both ask for the same and that is no GPU, and where

    it starts no later    all else that it waits for is there when the chain begins
    nothing is lost       whatever waits for a unit of the chain waits for this one too: its failure blocks nobody more

of the same plan, that is; another submission waits for the whole job, and is resumed if that fails too late for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweep.plan import Unit

Chain = tuple[Unit, ...]


@dataclass(frozen=True)
class Links:
    """What waits for what, by places in a sequence."""

    waits: tuple[frozenset[int], ...]
    before: tuple[frozenset[int], ...]  # all that must be there first, however far back
    followers: tuple[frozenset[int], ...]  # what waits for it
    depths: tuple[int, ...]  # the longest way down to what waits for nothing


def links_of(makes: Sequence[Iterable[str]], needs: Sequence[Iterable[str]]) -> Links:
    """Of things that make and need what has these addresses; there are no circles (sweep/plan.py)."""
    maker = {address: index for index, made in enumerate(makes) for address in made}
    waits = [frozenset(maker[address] for address in needed if address in maker) for needed in needs]
    followers: list[set[int]] = [set() for _ in waits]
    for index, others in enumerate(waits):
        for each in others:
            followers[each].add(index)
    before: dict[int, frozenset[int]] = {}
    depths: dict[int, int] = {}
    level = 0
    while ready := [at for at, others in enumerate(waits) if at not in depths and others <= depths.keys()]:
        before.update((at, waits[at].union(*(before[each] for each in waits[at]))) for at in ready)
        depths.update(dict.fromkeys(ready, level))
        level += 1
    places = range(len(waits))
    return Links(
        waits=tuple(waits),
        before=tuple(before[at] for at in places),
        followers=tuple(map(frozenset, followers)),
        depths=tuple(depths[at] for at in places),
    )


def chains(units: Sequence[Unit]) -> tuple[Chain, ...]:
    """All units, each in one chain; those that join none are chains of one."""
    links = links_of([[stage.address for stage in unit.stages] for unit in units], [unit.waits_for for unit in units])
    resources = [unit.stages[0].resources for unit in units]
    found: dict[int, list[int]] = {}  # chains by their last unit so far
    for index in sorted(range(len(units)), key=lambda at: links.depths[at]):
        joined = next(
            (
                end
                for end in sorted(links.waits[index] & found.keys())
                if resources[end] == resources[index] and not resources[index].devices
                if _may_join(index, found[end], links)
            ),
            None,
        )
        found[index] = [*(found.pop(joined) if joined is not None else ()), index]
    return tuple(tuple(units[index] for index in chain) for chain in found.values())


def _may_join(index: int, chain: Sequence[int], links: Links) -> bool:
    inside = {*chain, index}
    starts_no_later = links.waits[index] - inside <= links.before[chain[0]]
    others = frozenset[int]().union(*(links.followers[each] for each in chain)) - inside
    return starts_no_later and all(index in links.before[each] for each in others)
