"""Units that gain nothing from jobs of their own: one job makes them, one after another. Pure.

Every job waits its turn in the queue, for minutes on a busy cluster, and a plan is full of short stages without GPUs.
So a unit joins the chain of one that it waits for, where both ask for the same and that is no GPU, and where

    it starts no later    all else that it waits for is there when the chain begins
    nothing is lost       whatever waits for a unit of the chain waits for this one too: its failure blocks nobody more

of the same plan, that is; another submission waits for the whole job, and is resumed if that fails too late for it.

From the units of a plan to the jobs of a SLURM queue. Pure.

One job array for all units of the same stage name, depth and resources: its elements are the units, or chains of them
(sweep/slurm/jobs.py). Depth is the longest way down to what waits for nothing, so no array waits for itself. Arrays
longer than the cluster allows are split. A job waits for exactly the jobs that make its inputs:

    after        whole jobs                                        afterok:17
    after_each   arrays whose element i is all that element i of this one needs of them      aftercorr:18

So 1,000 points are a few dozen calls of sbatch, and where points correspond one to one, a failed one holds up no other.

Which part of a plan one batch script can carry out, given what is done. Pure.

here     stages that need no GPU, made before the job's own, as far as nothing of another script stands before them
units    the script's own, likewise; each after those it rests on
later    the first stages of other scripts, which stand in the way of the rest
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweep.core.stage import Resources, Stage
from sweep.plan.graph import Plan, Unit

Chain = tuple[Unit, ...]


@dataclass(frozen=True)
class Links:
    """What waits for what, by places in a sequence."""

    waits: tuple[frozenset[int], ...]
    before: tuple[frozenset[int], ...]  # all that must be there first, however far back
    followers: tuple[frozenset[int], ...]  # what waits for it
    depths: tuple[int, ...]  # the longest way down to what waits for nothing


def links_of(makes: Sequence[Iterable[str]], needs: Sequence[Iterable[str]]) -> Links:
    """Of things that make and need what has these addresses; there are no circles (sweep/plan/graph.py)."""
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


@dataclass(frozen=True)
class Element:
    """What one element of an array makes."""

    steps: tuple[tuple[str, ...], ...]  # one after another: the addresses of the stages that one process makes
    waits_for: tuple[str, ...]  # addresses of what must be there first
    label: str = ""

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(address for step in self.steps for address in step)


@dataclass(frozen=True)
class SlurmJob:
    """One call of sbatch: an array of elements, or a single one."""

    name: str  # "03-answers": what its files in the submission are called
    resources: Resources
    elements: tuple[Element, ...]
    after: tuple[str, ...] = ()  # names of jobs
    after_each: tuple[str, ...] = ()

    @property
    def stage(self) -> str:
        """The stage names of its elements; the job that publishes has none."""
        return self.name.partition("-")[2]


def plan_jobs(units: Sequence[Unit], most_elements: int) -> tuple[SlurmJob, ...]:
    """The jobs that make all units, inputs first; no array has more than `most_elements`."""
    found = chains(units)
    elements = [_element(chain) for chain in found]
    depths = links_of([each.stages for each in elements], [each.waits_for for each in elements]).depths
    groups: dict[tuple[int, str, Resources], list[Element]] = {}
    for depth, chain, element in sorted(zip(depths, found, elements, strict=True), key=lambda each: each[0]):
        name = "+".join(unit.name for unit in chain)
        groups.setdefault((depth, name, chain[0].stages[0].resources), []).append(element)
    jobs: list[SlurmJob] = []
    for (_, name, resources), members in groups.items():
        ordered = _beside_their_inputs(members, jobs)
        for at in range(0, len(ordered), most_elements):
            jobs.append(SlurmJob(f"{len(jobs) + 1:02}-{name}", resources, ordered[at : at + most_elements]))
    return linked(jobs)


def linked(jobs: Iterable[SlurmJob]) -> tuple[SlurmJob, ...]:
    """The jobs with what they wait for of one another."""
    jobs = tuple(jobs)
    places = _places(jobs)
    sizes = {job.name: len(job.elements) for job in jobs}
    return tuple(_linked(job, places, sizes) for job in jobs)


def _linked(job: SlurmJob, places: Mapping[str, tuple[str, int]], sizes: Mapping[str, int]) -> SlurmJob:
    needs: dict[str, list[set[int]]] = {}  # by job: which of its elements each element here needs
    for index, element in enumerate(job.elements):
        for name, at in (places[address] for address in element.waits_for if address in places):
            needs.setdefault(name, [set() for _ in job.elements])[index].add(at)
    one_to_one = [{index} for index in range(len(job.elements))]
    each = {name for name, found in needs.items() if sizes[name] == len(job.elements) > 1 and found == one_to_one}
    order = [name for name in sizes if name in needs]
    return dataclasses.replace(
        job,
        after=tuple(name for name in order if name not in each),
        after_each=tuple(name for name in order if name in each),
    )


def _element(chain: Chain) -> Element:
    steps = tuple(tuple(stage.address for stage in unit.stages) for unit in chain)
    waits_for = {address for unit in chain for address in unit.waits_for}.difference(*steps)
    labels = dict.fromkeys(stage.label for unit in chain for stage in unit.stages if stage.label)
    return Element(steps, tuple(sorted(waits_for)), ", ".join(labels))


def _places(jobs: Iterable[SlurmJob]) -> dict[str, tuple[str, int]]:
    """Which element of which job makes a stage."""
    return {
        address: (job.name, index)
        for job in jobs
        for index, element in enumerate(job.elements)
        for address in element.stages
    }


def _beside_their_inputs(elements: Sequence[Element], jobs: Sequence[SlurmJob]) -> tuple[Element, ...]:
    """In the order of what they wait for, so that arrays correspond where they can."""
    places = _places(jobs)

    def place(element: Element) -> list[tuple[str, int]]:
        return sorted((places[address] for address in element.waits_for if address in places), reverse=True)

    return tuple(sorted(elements, key=place))


@dataclass(frozen=True)
class ScriptShare:
    here: tuple[Stage, ...]
    units: tuple[Unit, ...]
    later: tuple[Stage, ...]


def script_share(work: Plan, script: str, cpu: str) -> ScriptShare:
    """The share of `script`; of that of the scripts without GPU (`cpu`), `here` is all there is."""
    open_here: set[str] = set()  # CPU stages that can be made before the job's own
    open_all: set[str] = set()  # and the job's own
    needed = {stage.address for stage in work.needed}
    later: list[Stage] = []
    for stage in work.needed:
        inputs = {each.address for each in stage.dependencies()} & needed
        if stage.resources.script == cpu and inputs <= open_here:
            open_here.add(stage.address)
            open_all.add(stage.address)
        elif stage.resources.script == script and inputs <= open_all:
            open_all.add(stage.address)
        elif stage.resources.script not in (cpu, script) and inputs <= open_all:
            later.append(stage)
    own = [
        Unit(tuple(stage for stage in unit.stages if stage.address in open_all))
        for unit in work.units
        if unit.stages[0].resources.script == script != cpu
    ]
    units = tuple(unit for unit in own if unit.stages)
    rests = _below({address for unit in units for address in unit.waits_for}, work)
    here = tuple(s for s in work.needed if s.address in open_here and (script == cpu or s.address in rests))
    return ScriptShare(here, units, tuple(later))


def _below(addresses: set[str], work: Plan) -> set[str]:
    """These stages and all that they rest on."""
    inputs = {stage.address: {each.address for each in stage.dependencies()} for stage in work.needed}
    found: set[str] = set()
    waiting = list(addresses)
    while waiting:
        address = waiting.pop()
        if address not in found:
            found.add(address)
            waiting.extend(inputs.get(address, ()))
    return found
