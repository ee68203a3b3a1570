"""Status of each element of a submission, from the store and from SLURM. Does no I/O.

Where the sources disagree, the first of these that knows the element counts:
    1. records in the store   all stages have one: done, whatever SLURM reports
    2. squeue                 pending or running: waiting, running
    3. failed.json            a stage of it failed
    4. sacct                  how it ended; what sacct still calls running has ended if squeue no longer lists it
    5. scontrol               how it ended, for as long as the controller remembers it
If none of them does, the element has ended in an unknown state, and is lost: SLURM forgets old jobs, and keeps nothing
of an element that is cancelled while its array waits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from sweep.slurm.jobs import Element, SlurmJob

NEVER_SATISFIED = "DependencyNeverSatisfied"  # reason of what SLURM cancelled, as what it waited for failed
WAITED = "Dependency"  # reason that scontrol keeps of what a user cancelled while it waited


class ElementState(Enum):
    """State of one array element; users see the values."""

    DONE = "done"
    RUNNING = "running"
    WAITING = "waiting"
    FAILED = "failed"
    BLOCKED = "blocked"  # something it waits for failed
    CANCELLED = "cancelled"
    LOST = "lost"  # not done, and unknown to SLURM
    LATER = "in a later wave"  # jobs of the submission will submit it
    UNSENT = "not submitted"
    UNKNOWN = "unknown"  # not done, and SLURM does not answer

    @property
    def is_alive(self) -> bool:
        return self in (ElementState.RUNNING, ElementState.WAITING)


class Verdict(IntEnum):
    """State of a whole submission; the numbers are the exit statuses of `sweep status`."""

    DONE = 0
    UNKNOWN = 1
    RUNNING = 3  # or waiting, or in a later wave
    FAILED = 4  # also blocked, cancelled, lost or not submitted


TO_RESUBMIT = (
    ElementState.FAILED,
    ElementState.BLOCKED,
    ElementState.CANCELLED,
    ElementState.LOST,
    ElementState.UNSENT,
)  # the states that `resume` submits again


def verdict(states: Collection[ElementState]) -> Verdict:
    """The state of a submission with elements in these states."""
    if any(each in TO_RESUBMIT for each in states):
        return Verdict.FAILED
    if ElementState.UNKNOWN in states:
        return Verdict.UNKNOWN
    return Verdict.RUNNING if any(each is not ElementState.DONE for each in states) else Verdict.DONE


@dataclass(frozen=True)
class SlurmInfo:
    """One element as SLURM reports it."""

    state: str  # SLURM's name: PENDING, RUNNING, TIMEOUT, ...
    reason: str = ""  # SLURM's word for why it waits or ended
    elapsed: str = ""  # [days-]hours:minutes:seconds
    nodes: str = ""
    exit_code: str = ""  # of an ended job, status:signal
    cancelled_by: str = ""  # user ID; known to sacct only
    starts_at: str = ""  # start, or expected start of a pending job: local time, 2026-11-27T17:38:27
    restarts: int = 0
    peak_memory_gib: float | None = None  # known to sacct only, if the cluster measures it

    @property
    def is_waiting(self) -> bool:
        return self.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")

    @property
    def is_alive(self) -> bool:
        return self.is_waiting or self.state in (
            *("RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING"),
            *("STAGE_OUT", "RESIZING", "RESV_DEL_HOLD", "REQUEUE_FED"),
        )


@dataclass(frozen=True)
class ElementStatus:
    """Status of one element."""

    job: str
    index: int
    element: Element
    job_id: str | None  # "17" or "17_3"; None if never submitted
    state: ElementState
    seen: SlurmInfo | None

    @property
    def is_ending(self) -> bool:
        """Whether it is ending but SLURM does not report the final state yet."""
        return self.state.is_alive and self.seen is not None and self.seen.state == "COMPLETING"


@dataclass(frozen=True)
class StoreInfo:
    """Addresses of finished and failed stages in the store."""

    done: Collection[str]
    failed: Collection[str]
    is_published: bool = False


def element_statuses(
    jobs: Sequence[SlurmJob], ids: Mapping[str, str], disk: StoreInfo, seen: Mapping[str, SlurmInfo] | None
) -> list[ElementStatus]:
    """Status of every element of every job; `seen` is None if SLURM does not answer."""
    found: list[ElementStatus] = []
    stuck: set[str] = set()  # stages of failed and blocked elements
    for job in jobs:
        for index, element in enumerate(job.elements):
            job_id = element_id(job, ids.get(job.name), index)
            known = seen.get(job_id) if seen is not None and job_id is not None else None
            state = _state(element, job_id, disk, seen)
            if is_cut_off(state, known) and not stuck.isdisjoint(element.waits_for):
                state = ElementState.BLOCKED  # SLURM forgets old jobs, and why it cancelled them
            stuck.difference_update(element.stages)
            if state in (ElementState.FAILED, ElementState.BLOCKED):
                stuck.update(address for address in element.stages if address not in disk.done)
            found.append(ElementStatus(job.name, index, element, job_id, state, known))
    return found


def is_cut_off(state: ElementState, seen: SlurmInfo | None) -> bool:
    """Whether SLURM may have cancelled it, because of what it waited for; what a user cancelled stays cancelled."""
    is_by_user = seen is not None and (seen.cancelled_by != "" or seen.reason == WAITED)
    return state is ElementState.LOST or (state is ElementState.CANCELLED and not is_by_user)


def element_id(job: SlurmJob, job_id: str | None, index: int) -> str | None:
    """SLURM's id of one element: "17_3" in an array, "17" for a single job."""
    return job_id if job_id is None or len(job.elements) == 1 else f"{job_id}_{index}"


def _state(element: Element, job_id: str | None, disk: StoreInfo, seen: Mapping[str, SlurmInfo] | None) -> ElementState:
    if all(address in disk.done for address in element.stages) if element.stages else disk.is_published:
        return ElementState.DONE
    if job_id is None:
        return ElementState.UNSENT
    known = seen.get(job_id) if seen is not None else None
    if known is not None and known.is_alive:
        return ElementState.WAITING if known.is_waiting else ElementState.RUNNING
    if any(address in disk.failed for address in element.stages):
        return ElementState.FAILED
    if seen is None:
        return ElementState.UNKNOWN
    if known is None:
        return ElementState.LOST
    if known.state.startswith("CANCELLED"):
        return ElementState.BLOCKED if known.reason == NEVER_SATISFIED else ElementState.CANCELLED
    return ElementState.FAILED


def active_dependencies(job: SlurmJob, now: Sequence[ElementStatus]) -> list[str]:
    """Ids of queued or running elements that make an input of the job, or one of its own stages."""
    needed = {address for element in job.elements for address in (*element.waits_for, *element.stages)}
    return [
        each.job_id
        for each in now
        if each.state.is_alive and each.job_id is not None and needed & set(each.element.stages)
    ]


def latest_statuses(now: Sequence[ElementStatus]) -> list[ElementStatus]:
    """Only the last status of elements that were submitted several times."""
    return list({each.element.stages: each for each in now}.values())


def expand_elements(name: str) -> Iterator[str]:
    """Expand SLURM's array notation: "17_[0-2,5%4]" is 17_0, 17_1, 17_2, 17_5; "17" is itself."""
    job, _, rest = name.partition("_")
    if not rest:
        yield job
        return
    for part in rest.strip("[]").partition("%")[0].split(","):
        bounds = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if bounds:
            low, high, step = int(bounds[1]), int(bounds[2] or bounds[1]), int(bounds[3] or 1)
            yield from (f"{job}_{index}" for index in range(low, high + 1, step))
