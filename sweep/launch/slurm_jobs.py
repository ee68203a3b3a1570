"""From the units of a plan to the jobs of a SLURM queue. Pure.

One job array for all units of the same stage name, depth and resources: its elements are the units. Depth is the
longest way from a unit down to one that waits for nothing, so no array waits for itself. An array longer than the
cluster allows is split. A job waits for exactly the jobs that make its inputs:

    after        whole jobs                                        afterok:17
    after_each   arrays whose element i is all that element i of this one needs of them      aftercorr:18

So 1,000 points are a few dozen calls of sbatch, and where points correspond one to one, a failed one holds up no other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweep.plan import Unit
from sweep.stage import Resources


@dataclass(frozen=True)
class Element:
    """What one process makes: stages, by their addresses, and the addresses of what must be there first."""

    stages: tuple[str, ...]
    waits_for: tuple[str, ...]
    label: str = ""


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
        """The stage name of its elements; the job that publishes has none."""
        return self.name.partition("-")[2]


def plan_jobs(units: Sequence[Unit], most_elements: int) -> tuple[SlurmJob, ...]:
    """The jobs that make all units, inputs first; no array has more than `most_elements`."""
    groups: dict[tuple[int, str, Resources], list[Element]] = {}
    for depth, unit in sorted(zip(_depths(units), units, strict=True), key=lambda each: each[0]):
        groups.setdefault((depth, unit.name, unit.stages[0].resources), []).append(_element(unit))
    jobs: list[SlurmJob] = []
    for (_, name, resources), elements in groups.items():
        ordered = _beside_their_inputs(elements, jobs)
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


def _element(unit: Unit) -> Element:
    labels = dict.fromkeys(stage.label for stage in unit.stages if stage.label)
    return Element(tuple(stage.address for stage in unit.stages), tuple(sorted(unit.waits_for)), ", ".join(labels))


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


def _depths(units: Sequence[Unit]) -> list[int]:
    """How many units stand below each; a plan has no circles (sweep/plan.py)."""
    made_in = {stage.address: index for index, unit in enumerate(units) for stage in unit.stages}
    waits = {
        index: {made_in[address] for address in unit.waits_for if address in made_in}
        for index, unit in enumerate(units)
    }
    depths: dict[int, int] = {}
    level = 0
    while ready := [index for index, others in waits.items() if index not in depths and others <= depths.keys()]:
        depths.update(dict.fromkeys(ready, level))
        level += 1
    return [depths[index] for index in range(len(units))]
