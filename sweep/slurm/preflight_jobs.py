"""Puts preflight jobs before the jobs of a plan. Does no I/O.

A job that waits for nothing else waits for every preflight job (afterok), so that a failed check blocks all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from sweep.core.pipeline import Launch
from sweep.core.stage import Stage
from sweep.slurm.jobs import Element, SlurmJob, link_jobs
from sweep.slurm.site_answers import Partition
from sweep.slurm.walltime import within_limits

MINUTES = 20  # a model of 65 GB loads in a few


def preflight_jobs(
    checks: Sequence[Stage], launch: Launch, partitions: Callable[[], Sequence[Partition]]
) -> tuple[SlurmJob, ...]:
    """One job for each preflight stage, with a limit that it may request."""
    minutes = MINUTES + launch.signal_seconds // 60 + 1  # the signal comes that long before the end
    jobs = [
        SlurmJob(
            f"00-preflight-{number}" if len(checks) > 1 else "00-preflight",
            dataclasses.replace(check.resources, minutes=minutes),
            (Element(((check.address,),), (), check.label),),
        )
        for number, check in enumerate(checks, start=1)
    ]
    return within_limits(jobs, launch, partitions) if jobs else ()


def with_preflight(jobs: Sequence[SlurmJob], checks: Sequence[SlurmJob]) -> tuple[SlurmJob, ...]:
    """All jobs, the checks first; the jobs that wait for nothing wait for them."""
    addresses = [address for check in checks for element in check.elements for address in element.stages]
    first = {job.name for job in jobs if not job.after and not job.after_each}
    waiting = [_waiting_for(job, addresses) if job.name in first else job for job in jobs]
    return link_jobs([*checks, *waiting])


def _waiting_for(job: SlurmJob, addresses: Sequence[str]) -> SlurmJob:
    elements = tuple(
        dataclasses.replace(each, waits_for=tuple(sorted({*each.waits_for, *addresses}))) for each in job.elements
    )
    return dataclasses.replace(job, elements=elements)
