"""Plans that are larger than a limit of submitted jobs: packed into fewer elements and sent in waves. Does no I/O.

pack    An array with more elements than the limit runs several of its units per element, one after the other, at most
        MOST_PACKED. A unit that fails does not stop the others of its element.
waves   A wave is what fits into the queue now, inputs first. Jobs of the submission send the next one
        (sweep/slurm/feed.py). An element is sent once its inputs are finished or are made in the same wave, so no
        element of a later wave is cancelled because an element of an earlier one failed.

A job that is sent in part is sent as a job of its own, "03-traces.r2". What was never sent keeps its name.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sweep.errors import InputError
from sweep.slurm.jobs import Element, SlurmJob, elements_text, link_jobs
from sweep.slurm.status import (
    TO_RESUBMIT,
    ElementState,
    ElementStatus,
    element_id,
    is_cut_off,
    latest_statuses,
)

MOST_PACKED = 8  # units in an element: a longer row of units loses more when its node is lost
LEAST_LIMIT = 3  # a job that sends a wave, one element, and the job that sends the next wave
LEAST_SHARE = 4  # a wave is sent when a quarter of the limit is free: one sbatch call for many elements
BOUNDARY: tuple[str, ...] = ()  # an empty step between the units of a packed element
TO_FEED = (ElementState.UNSENT, ElementState.BLOCKED)  # what jobs may send; `resume` also sends what failed


def refuse_small_limit(elements: int, limit: int | None, is_set: bool) -> None:
    """Raises InputError if waves within this limit would never go on. `is_set`: in the settings, not by accounting."""
    if limit is None or limit >= LEAST_LIMIT or elements <= limit:
        return
    subject = f"launch.max_submit_jobs {limit}" if is_set else f"limit of your submitted jobs {limit}"
    cure = f"Set it to {LEAST_LIMIT} or more" if is_set else "Ask for a higher one, or choose another account or QOS"
    raise InputError(
        f"{subject}: too small to send {elements_text(elements)} in waves. Each wave needs {LEAST_LIMIT}: the job that"
        f" sends it, an element, and the job that sends the next one. {cure}."
    )


def later_line(count: int, limit: int | None, next_look: str = "") -> str:
    """What status says of the elements in a later wave; `next_look`: when a job looks again whether there is room."""
    most = f" (at most {limit} jobs at a time)" if limit else ""
    line = (
        f"{elements_text(count)} in a later wave{most}: jobs of the submission submit {'it' if count == 1 else 'them'}."
    )
    return f"{line} The queue is full; the next look is at {next_look}." if next_look else line


def packed(jobs: Sequence[SlurmJob], limit: int | None, most_elements: int) -> tuple[SlurmJob, ...]:
    """The jobs, with long arrays packed if all of them exceed the limit, and no array above `most_elements`."""
    if limit is None or sum(len(job.elements) for job in jobs) <= limit:
        return tuple(jobs)
    found: list[SlurmJob] = []
    for job in jobs:
        units = min(MOST_PACKED, math.ceil(len(job.elements) / limit))
        elements = [_pack(job.elements[at : at + units]) for at in range(0, len(job.elements), units)]
        for at in range(0, len(elements), most_elements):
            name = f"{len(found) + 1:02}-{job.stage}"
            found.append(SlurmJob(name, job.resources, tuple(elements[at : at + most_elements])))
    return link_jobs(found)


def _pack(elements: Sequence[Element]) -> Element:
    if len(elements) == 1:
        return elements[0]
    steps = [step for each in elements for step in (BOUNDARY, *each.steps)][1:]
    waits_for = {address for each in elements for address in each.waits_for}
    labels = dict.fromkeys(each.label for each in elements if each.label)
    return Element(tuple(steps), tuple(sorted(waits_for)), ", ".join(labels))


@dataclass(frozen=True)
class Room:
    """How many elements may be sent now."""

    free: int | None  # None: no limit is known
    limit: int | None = None
    is_idle: bool = False  # nothing of the submission is queued or running, so nothing else would send later
    may_wait: bool = False  # elements may be sent before their inputs are finished, if everything fits


@dataclass(frozen=True)
class Wave:
    """Jobs to send now, and how many elements could be sent later."""

    jobs: tuple[SlurmJob, ...]
    left: int = 0


def next_wave(
    jobs: Sequence[SlurmJob], now: Sequence[ElementStatus], done: Collection[str], room: Room, most_elements: int
) -> Wave:
    """The jobs to send now: elements that are not sent yet and whose inputs are finished or made in this wave.

    Nothing is sent for what a failed, cancelled or lost element blocks.
    """
    sendable = list(_sendable(now, done))
    is_all = room.free is None or len(sendable) <= room.free
    ready = sendable if room.may_wait and is_all else _ready(sendable, now, done)
    free = len(ready) if room.free is None else max(0, room.free)
    if len(sendable) > min(free, len(ready)):
        free -= room.free is not None  # for the job that sends the next wave
        least = 1 if room.is_idle or room.limit is None else max(1, room.limit // LEAST_SHARE)
        if free < min(least, len(ready)):
            return Wave((), len(sendable))
    taken = ready[: max(0, free)]
    return Wave(jobs_of(jobs, taken, most_elements), len(sendable) - len(taken))


def resubmission(jobs: Sequence[SlurmJob], now: Sequence[ElementStatus], most_elements: int) -> tuple[SlurmJob, ...]:
    """Jobs for everything that is neither done nor in the queue, which `resume` submits."""
    return jobs_of(jobs, [each for each in latest_statuses(now) if each.state in TO_RESUBMIT], most_elements)


def _sendable(now: Sequence[ElementStatus], done: Collection[str]) -> Iterator[ElementStatus]:
    """Elements that can still be made without `resume`, inputs first."""
    ended = set[str]()  # stages that nothing will make
    for each in latest_statuses(now):
        missing = {address for address in each.element.stages if address not in done}
        if each.state in TO_FEED and ended.isdisjoint(each.element.waits_for):
            yield each
        elif each.state in TO_RESUBMIT or each.state is ElementState.UNKNOWN:
            ended |= missing


def _ready(
    sendable: Sequence[ElementStatus], now: Sequence[ElementStatus], done: Collection[str]
) -> list[ElementStatus]:
    """Those whose inputs are finished, come from other submissions, or are made by ready elements before them."""
    own = {address for each in now for address in each.element.stages}
    present = set(done)
    ready: list[ElementStatus] = []
    for each in sendable:
        if all(address in present or address not in own for address in each.element.waits_for):
            ready.append(each)
            present.update(each.element.stages)
    return ready


def jobs_of(jobs: Sequence[SlurmJob], chosen: Sequence[ElementStatus], most_elements: int) -> tuple[SlurmJob, ...]:
    """Jobs for these elements: a job that was never sent keeps its name if all of it is chosen."""
    by_name = {job.name: job for job in jobs}
    groups: dict[str, list[ElementStatus]] = {}
    for each in chosen:
        groups.setdefault(_base(each.job), []).append(each)
    turns = last_turns(jobs)
    found: list[SlurmJob] = []
    for base, members in groups.items():
        for at in range(0, len(members), most_elements):
            part = members[at : at + most_elements]
            job, elements = by_name[part[0].job], tuple(each.element for each in part)
            name = job.name
            if part[0].job_id is not None or elements != job.elements:
                turns[base] += 1
                name = f"{base}.r{turns[base]}"
            found.append(dataclasses.replace(job, name=name, elements=elements, after=(), after_each=()))
    return link_jobs(found)


def last_turns(jobs: Sequence[SlurmJob]) -> dict[str, int]:
    """The number of the last turn of each job: 3 if there is "02-points.r3"."""
    found: dict[str, int] = {}
    for job in jobs:
        base, _, turn = job.name.partition(".r")
        found[base] = max(found.get(base, 1), int(turn or 1))
    return found


def _base(job: str) -> str:
    return job.partition(".r")[0]


def with_later_waves(
    now: Sequence[ElementStatus], done: Collection[str], state: ElementState = ElementState.LATER
) -> list[ElementStatus]:
    """The statuses while jobs of the submission feed the queue: what they will submit is in a later wave.

    `state` is UNKNOWN if it is not known whether there are such jobs.
    """
    found = now
    if state is ElementState.UNKNOWN:  # what else is unknown may be in the queue
        found = [dataclasses.replace(each, state=ElementState.WAITING) if each.state is state else each for each in now]
    later = {each.element.stages for each in _sendable(found, done)}
    return [dataclasses.replace(each, state=state) if each.element.stages in later else each for each in now]


def cut_off_by(interrupted: Collection[str], now: Sequence[ElementStatus]) -> list[str]:
    """Names, as in `name_of`, of the elements that SLURM cancels when these stages end without being finished."""
    missing, found = set(interrupted), list[str]()
    for each in now:
        if each.state is ElementState.WAITING and not missing.isdisjoint(each.element.waits_for):
            missing.update(each.element.stages)
            found.append(name_of(each))
    return found


def with_cut_off(now: Sequence[ElementStatus], cut_off: Collection[str]) -> list[ElementStatus]:
    """The statuses, with what SLURM cancelled because of an interrupted job blocked: jobs submit it again."""
    return [
        dataclasses.replace(each, state=ElementState.BLOCKED)
        if name_of(each) in cut_off and is_cut_off(each.state, each.seen)
        else each
        for each in now
    ]


def name_of(status: ElementStatus) -> str:
    """The name of one submission of an element, "02-total.r2_0"."""
    return f"{status.job}_{status.index}"


def with_jobs(
    now: Sequence[ElementStatus], jobs: Sequence[SlurmJob], ids: Mapping[str, str] = MappingProxyType({})
) -> list[ElementStatus]:
    """The statuses after these jobs were written: waiting in the queue if they have an id, else not submitted."""
    found = {each.element.stages: each for each in now}
    for job in jobs:
        state = ElementState.WAITING if job.name in ids else ElementState.UNSENT
        for index, each in enumerate(job.elements):
            job_id = element_id(job, ids.get(job.name), index)
            found[each.stages] = ElementStatus(job.name, index, each, job_id, state, None)
    return list(found.values())
