"""Turn the units of a plan into SLURM jobs. Does no I/O.

units -> chains   Every job waits in the queue, for minutes on a busy cluster, and a plan has many short stages without
                  GPUs. So one job runs several units in sequence. A unit joins the chain of a unit it waits for if both
                  request the same resources and no GPU, if joining does not delay it (everything else it waits for is
                  finished before the chain starts), and if its failure would block nothing more (all units that wait
                  for the chain also wait for it). Units of other plans are ignored: they wait for the whole job.
chains -> jobs    Chains of the same stage names, depth and resources are the elements of one job array. Depth is the
                  longest dependency path down to a chain without dependencies, so no element waits for its own
                  array. Arrays longer than the cluster allows are split. A job waits for exactly the jobs that make
                  its inputs:
                      after        whole jobs                                                  afterok:17
                      after_each   arrays where element i needs only element i of the other    aftercorr:18
                  So 1,000 points take a few dozen sbatch calls, and where points correspond one to one, a failed point
                  blocks no other.
scripts           The part of a plan that a batch script can run when a person submits it (`script_work`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweep.core.stage import Resources, Stage
from sweep.plan.graph import Plan, Unit

Chain = tuple[Unit, ...]
Place = tuple[str, int]  # name of a job, index of its element


@dataclass(frozen=True)
class Dependencies:
    """Dependency graph of a sequence of units or elements, as indices into the sequence."""

    waits: tuple[frozenset[int], ...]
    before: tuple[frozenset[int], ...]  # all direct and indirect dependencies
    followers: tuple[frozenset[int], ...]  # those that depend on it directly
    depths: tuple[int, ...]  # length of the longest dependency path; 0 without dependencies


def dependencies_of(makes: Sequence[Iterable[str]], needs: Sequence[Iterable[str]]) -> Dependencies:
    """Build the graph from the addresses that each one makes and needs. Assumes no cycles (sweep/plan/graph.py)."""
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
    return Dependencies(
        waits=tuple(waits),
        before=tuple(before[at] for at in places),
        followers=tuple(map(frozenset, followers)),
        depths=tuple(depths[at] for at in places),
    )


def chains(units: Sequence[Unit]) -> tuple[Chain, ...]:
    """Group units into chains. A unit that can join no other is a chain of one."""
    dependencies = dependencies_of(
        [[stage.address for stage in unit.stages] for unit in units], [unit.waits_for for unit in units]
    )
    resources = [unit.stages[0].resources for unit in units]
    found: dict[int, list[int]] = {}  # chains by their last unit
    for index in sorted(range(len(units)), key=lambda at: dependencies.depths[at]):
        joined = next(
            (
                end
                for end in sorted(dependencies.waits[index] & found.keys())
                if resources[end] == resources[index] and not resources[index].devices
                if _can_join(index, found[end], dependencies)
            ),
            None,
        )
        found[index] = [*(found.pop(joined) if joined is not None else ()), index]
    return tuple(tuple(units[index] for index in chain) for chain in found.values())


def _can_join(index: int, chain: Sequence[int], dependencies: Dependencies) -> bool:
    """Whether joining the chain neither delays the unit nor makes its failure block more units."""
    inside = {*chain, index}
    others = (each for one in chain for each in dependencies.followers[one] if each not in inside)
    # Of a chain that many units wait for, the first ones usually decide: do not collect them all.
    if not all(index in dependencies.before[each] for each in others):
        return False
    return dependencies.waits[index] - inside <= dependencies.before[chain[0]]


def elements_text(count: int) -> str:
    """ "1 element", "20 elements"."""
    return f"{count} element{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Element:
    """The work of one array element."""

    steps: tuple[tuple[str, ...], ...]  # run in sequence, one process each: addresses of its stages
    waits_for: tuple[str, ...]  # addresses of stages that must be finished first
    label: str = ""

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(address for step in self.steps for address in step)


@dataclass(frozen=True)
class SlurmJob:
    """One call of sbatch: an array of elements, or a single one."""

    name: str  # "03-traces": the stem of its files in the submission
    resources: Resources
    elements: tuple[Element, ...]
    after: tuple[str, ...] = ()  # names of jobs
    after_each: tuple[str, ...] = ()

    @property
    def stage(self) -> str:
        """The stage names of its elements; "publish" for the job that publishes the result."""
        return self.name.partition("-")[2]


def plan_jobs(units: Sequence[Unit], most_elements: int) -> tuple[SlurmJob, ...]:
    """The jobs that run all units, inputs first; no array has more than `most_elements`."""
    found = chains(units)
    elements = [_element(chain) for chain in found]
    depths = dependencies_of([each.stages for each in elements], [each.waits_for for each in elements]).depths
    groups: dict[tuple[int, str, Resources], list[Element]] = {}
    for depth, chain, element in sorted(zip(depths, found, elements, strict=True), key=lambda each: each[0]):
        name = "+".join(unit.name for unit in chain)
        groups.setdefault((depth, name, chain[0].stages[0].resources), []).append(element)
    jobs: list[SlurmJob] = []
    places: dict[str, Place] = {}
    for (_, name, resources), members in groups.items():
        ordered = _aligned_with_inputs(members, places)
        for at in range(0, len(ordered), most_elements):
            jobs.append(SlurmJob(f"{len(jobs) + 1:02}-{name}", resources, ordered[at : at + most_elements]))
            places.update(_places(jobs[-1:]))
    return link_jobs(jobs)


def link_jobs(jobs: Iterable[SlurmJob]) -> tuple[SlurmJob, ...]:
    """Fill in which jobs each job waits for."""
    jobs = tuple(jobs)
    places = _places(jobs)
    sizes = {job.name: len(job.elements) for job in jobs}
    return tuple(_link_job(job, places, sizes) for job in jobs)


def _link_job(job: SlurmJob, places: Mapping[str, Place], sizes: Mapping[str, int]) -> SlurmJob:
    needs: dict[str, set[tuple[int, int]]] = {}  # by job: pairs of an element of ours and one of its that it needs
    for index, element in enumerate(job.elements):
        for name, at in (places[address] for address in element.waits_for if address in places):
            needs.setdefault(name, set()).add((index, at))
    one_to_one = {(index, index) for index in range(len(job.elements))}
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


def _places(jobs: Iterable[SlurmJob]) -> dict[str, Place]:
    """Job name and element index of each stage, by address."""
    return {
        address: (job.name, index)
        for job in jobs
        for index, element in enumerate(job.elements)
        for address in element.stages
    }


def _aligned_with_inputs(elements: Sequence[Element], places: Mapping[str, Place]) -> tuple[Element, ...]:
    """Sort elements by the elements they wait for, so that arrays match one to one where possible."""

    def place(element: Element) -> list[Place]:
        return sorted((places[address] for address in element.waits_for if address in places), reverse=True)

    return tuple(sorted(elements, key=place))


@dataclass(frozen=True)
class ScriptWork:
    """The part of a plan that one batch script can run now."""

    here: tuple[Stage, ...]  # CPU stages that the submitted script runs first, because its own units need them
    units: tuple[Unit, ...]  # the script's own, in order
    later: tuple[Stage, ...]  # stages for other scripts, with all inputs present once this script is done


def script_work(work: Plan, script: str, cpu: str) -> ScriptWork:
    """Select what `script` can run now. For the CPU script (`cpu`), everything is in `here`."""
    runnable_on_cpu: set[str] = set()  # CPU stages that can run before the script's own
    runnable: set[str] = set()  # those and the script's own
    needed = {stage.address for stage in work.needed}
    later: list[Stage] = []
    for stage in work.needed:
        inputs = {each.address for each in stage.dependencies()} & needed
        if stage.resources.script == cpu and inputs <= runnable_on_cpu:
            runnable_on_cpu.add(stage.address)
            runnable.add(stage.address)
        elif stage.resources.script == script and inputs <= runnable:
            runnable.add(stage.address)
        elif stage.resources.script not in (cpu, script) and inputs <= runnable:
            later.append(stage)
    own = [
        Unit(tuple(stage for stage in unit.stages if stage.address in runnable))
        for unit in work.units
        if unit.stages[0].resources.script == script != cpu
    ]
    units = tuple(unit for unit in own if unit.stages)
    rests = _with_inputs({address for unit in units for address in unit.waits_for}, work)
    here = tuple(s for s in work.needed if s.address in runnable_on_cpu and (script == cpu or s.address in rests))
    return ScriptWork(here, units, tuple(later))


def _with_inputs(addresses: set[str], work: Plan) -> set[str]:
    """These stages and everything they depend on."""
    inputs = {stage.address: {each.address for each in stage.dependencies()} for stage in work.needed}
    found: set[str] = set()
    waiting = list(addresses)
    while waiting:
        address = waiting.pop()
        if address not in found:
            found.add(address)
            waiting.extend(inputs.get(address, ()))
    return found
