"""From the units of a plan to the jobs of a SLURM queue. Pure.

One job array for all units of the same stage name, depth and resources: its elements are the units, or chains of them
(sweep/launch/chains.py). Depth is the longest way down to what waits for nothing, so no array waits for itself. Arrays
longer than the cluster allows are split. A job waits for exactly the jobs that make its inputs:

    after        whole jobs                                        afterok:17
    after_each   arrays whose element i is all that element i of this one needs of them      aftercorr:18

So 1,000 points are a few dozen calls of sbatch, and where points correspond one to one, a failed one holds up no other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweep.launch.chains import Chain, chains, links_of
from sweep.plan import Unit
from sweep.stage import Resources


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
