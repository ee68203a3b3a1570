"""Walltime limits of jobs, from the estimated time of their stages. Does no I/O.

A short limit lets the scheduler start a job earlier, between others. A job that reaches its limit is requeued and
continues, so a limit that is too short costs a restart and loses nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from sweep.core.launch import JobSettings, Launch
from sweep.core.pipeline import CostEstimate
from sweep.slurm.jobs import Element, SlurmJob
from sweep.slurm.sbatch import requested_resources
from sweep.slurm.site_answers import Partition

UNKNOWN_MINUTES = 24 * 60  # limit of a job without an estimate
LEAST_MINUTES = 30
LOAD_MINUTES = 10  # to start Python and load a model from a shared file system
STEP_MINUTES = 10  # limits are multiples of this


def with_walltimes(
    jobs: Sequence[SlurmJob],
    estimates: Mapping[str, CostEstimate],
    launch: Launch,
    partitions: Callable[[], Sequence[Partition]],
) -> tuple[SlurmJob, ...]:
    """The jobs with limits that they may request: of their stages or the settings, else from the estimates."""
    known = partitions()
    found: list[SlurmJob] = []
    for job in jobs:
        longest = longest_minutes(launch.settings_of(job.resources.script), known)
        if requested_resources(job.resources, launch).minutes is None:
            found.append(_with_minutes(job, limit_minutes(_job_seconds(job, estimates), launch, longest)))
        else:
            found.append(_at_most(job, launch, longest))
    return tuple(found)


def within_limits(
    jobs: Sequence[SlurmJob], launch: Launch, partitions: Callable[[], Sequence[Partition]]
) -> tuple[SlurmJob, ...]:
    """The jobs, whose limits are set, with limits that they may request."""
    known = partitions()
    return tuple(
        _at_most(job, launch, longest_minutes(launch.settings_of(job.resources.script), known)) for job in jobs
    )


def _at_most(job: SlurmJob, launch: Launch, longest: int | None) -> SlurmJob:
    """The job, with its limit lowered to the longest: with more it would wait for ever."""
    minutes = requested_resources(job.resources, launch).minutes
    is_longer = minutes is not None and longest is not None and minutes > longest
    return _with_minutes(job, longest) if is_longer else job


def limit_minutes(seconds: float | None, launch: Launch, longest: int | None) -> int:
    """The limit of a job that is estimated to take `seconds` (None: unknown), at most `longest`."""
    if seconds is None:
        wanted = UNKNOWN_MINUTES
    else:
        minutes = launch.walltime_margin * seconds / 60 + LOAD_MINUTES
        wanted = max(LEAST_MINUTES, STEP_MINUTES * math.ceil(minutes / STEP_MINUTES))
    return wanted if longest is None else min(wanted, longest)


def longest_minutes(settings: JobSettings, partitions: Sequence[Partition]) -> int | None:
    """The longest limit that jobs with these settings may request; None: unlimited, or unknown."""
    names = settings.partition.split(",") if settings.partition else None
    chosen = [each for each in partitions if (each.name in names if names else each.is_default)]
    return min(filter(None, (settings.minutes_limit, *(each.minutes for each in chosen))), default=None)


def _job_seconds(job: SlurmJob, estimates: Mapping[str, CostEstimate]) -> float | None:
    """The time of its longest element; None if that of any is unknown."""
    found = [_element_seconds(each, estimates) for each in job.elements]
    return max((each for each in found if each is not None), default=0.0) if None not in found else None


def _element_seconds(element: Element, estimates: Mapping[str, CostEstimate]) -> float | None:
    if any(address not in estimates for address in element.stages):
        return None
    found = [estimates[address].wall_seconds for address in element.stages]
    return sum(each for each in found if each is not None) if None not in found else None


def _with_minutes(job: SlurmJob, minutes: int | None) -> SlurmJob:
    return dataclasses.replace(job, resources=dataclasses.replace(job.resources, minutes=minutes))
