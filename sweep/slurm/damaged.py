"""A submission of which neither submission.json nor its second copy can be read: what of it may be in the queue.

The files of jobs/ tell that: the ids that SLURM gave, the names to look up, the stages of each job. Other submissions
work on; only what such a one may be making is not sent a second time unasked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import InputError
from sweep.slurm import client
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.send import PUBLISH, known_ids
from sweep.slurm.status import SlurmInfo
from sweep.slurm.submission import DamagedSubmission, SubmissionDirectory, submissions


@dataclass(frozen=True)
class Remains:
    """What is known of the jobs of a damaged submission."""

    ids: Mapping[str, str]  # by job
    doubted: Sequence[str]  # jobs of which nobody can tell whether they were sent
    seen: Mapping[str, SlurmInfo] | None  # None: no squeue answers here

    @property
    def alive(self) -> list[str]:
        """Ids of elements in the queue."""
        return [name for name, each in (self.seen or {}).items() if each.is_alive]

    @property
    def possible(self) -> list[str]:
        """Names of jobs that are in the queue, or may be."""
        if self.seen is None:
            return [*self.ids, *self.doubted]
        alive = {name.partition("_")[0] for name in self.alive}
        return [*(job for job, job_id in self.ids.items() if job_id in alive), *self.doubted]


def look_at_queue(directory: SubmissionDirectory) -> Remains:
    """With one question to squeue, and one for each job in doubt."""
    ids, doubted = known_ids(directory)
    return Remains(ids, doubted, client.in_queue(list(ids.values())))


def refuse_twice(store: Path, jobs: Sequence[SlurmJob]) -> None:
    """Raises InputError, a line for each damaged submission that may have in the queue what these jobs make."""
    wanted = {address for job in jobs for element in job.elements for address in element.stages}
    lines: list[str] = []
    for directory in (each for each in submissions(store) if each.is_open and each.is_damaged):
        remains = look_at_queue(directory)
        common = [job for job in remains.possible if _makes_any(directory, job, wanted)]
        if common:
            named = ", ".join(f"{remains.ids.get(job, 'id not known')} ({job})" for job in common)
            lines.append(
                f"submission {directory.name}: damaged, and its jobs may be making what would be sent now: {named}."
                f" Nothing was sent. Cancel it: python -m sweep cancel {directory.words}, or add yes=true to send it"
                " all the same."
            )
    if lines:
        raise InputError("\n".join(lines))


def _makes_any(directory: SubmissionDirectory, job: str, wanted: set[str]) -> bool:
    """Whether it makes any of these, as far as that can be told."""
    made = directory.stages_of(job)
    if made is None or (not made and job.partition("-")[2].partition(".r")[0] != PUBLISH):
        return bool(wanted)
    return not made.isdisjoint(wanted)


def damaged_lines(directories: Sequence[SubmissionDirectory]) -> Iterator[str]:
    """What is to be said of those that are damaged and not closed, a line each."""
    for directory in directories:
        if directory.is_open:
            try:
                directory.read()
            except DamagedSubmission as error:
                yield str(error)
