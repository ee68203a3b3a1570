"""Damaged submissions, whose submission.json and second copy are both unreadable: find their jobs in the queue.

The files in jobs/ still give the SLURM ids, the queue names to look up, and the stages of each job. Other submissions
are not affected, except that stages a damaged one may be running are not submitted again without confirmation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import InputError
from sweep.slurm import client
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.send import FEED, PUBLISH, known_ids
from sweep.slurm.status import SlurmInfo
from sweep.slurm.submission import DamagedSubmission, SubmissionDirectory, submissions


@dataclass(frozen=True)
class DamagedJobs:
    """What is known about the jobs of a damaged submission."""

    ids: Mapping[str, str]  # by job
    unconfirmed: Sequence[str]  # jobs that may or may not have been submitted
    seen: Mapping[str, SlurmInfo] | None  # None if squeue does not answer

    @property
    def alive(self) -> list[str]:
        """Ids of elements in the queue."""
        return [name for name, each in (self.seen or {}).items() if each.is_alive]

    @property
    def possible(self) -> list[str]:
        """Names of jobs that are in the queue, or may be."""
        if self.seen is None:
            return [*self.ids, *self.unconfirmed]
        alive = {name.partition("_")[0] for name in self.alive}
        return [*(job for job, job_id in self.ids.items() if job_id in alive), *self.unconfirmed]


def query_queue(directory: SubmissionDirectory) -> DamagedJobs:
    """Look the jobs of a damaged submission up: one squeue call, and one more for each unconfirmed job."""
    ids, unconfirmed = known_ids(directory)
    return DamagedJobs(ids, unconfirmed, client.queued_jobs(list(ids.values())))


def refuse_resubmitting(store: Path, jobs: Sequence[SlurmJob]) -> None:
    """Raises InputError with a line for each damaged submission that may already be running stages of these jobs."""
    wanted = {address for job in jobs for element in job.elements for address in element.stages}
    lines: list[str] = []
    for directory in (each for each in submissions(store) if each.is_open and each.is_damaged):
        known = query_queue(directory)
        common = [job for job in known.possible if _may_make_any(directory, job, wanted)]
        if common:
            named = ", ".join(f"{known.ids.get(job, 'id not known')} ({job})" for job in common)
            lines.append(
                f"submission {directory.name}: damaged, and these jobs may be running the same stages: {named}. Nothing"
                f" was submitted. Cancel it (python -m sweep cancel {directory.arguments}), or add --yes to submit"
                " anyway."
            )
    if lines:
        raise InputError("\n".join(lines))


def _may_make_any(directory: SubmissionDirectory, job: str, wanted: set[str]) -> bool:
    """Whether this job may make any of these stages. An unreadable list of stages counts as yes."""
    made = directory.stages_of(job)
    if made is None or (not made and job.partition("-")[2].partition(".r")[0] not in (PUBLISH, FEED)):
        return bool(wanted)
    return not made.isdisjoint(wanted)


def damaged_lines(directories: Sequence[SubmissionDirectory]) -> Iterator[str]:
    """One line for each open submission that is damaged."""
    for directory in directories:
        if directory.is_open:
            try:
                directory.read()
            except DamagedSubmission as error:
                yield str(error)
