"""Writes the batch script and the list of stages of each job of a submission, and takes those of unsent jobs away."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from sweep.slurm.container import call_in
from sweep.slurm.export import SITE
from sweep.slurm.jobs import Element, SlurmJob
from sweep.slurm.sbatch import log_name, options_of, script_of, units_text
from sweep.slurm.submission import Submission, SubmissionDirectory
from sweep.store.directory import StageDirectory
from sweep.store.logs import point_to_log


def write_jobs(
    directory: SubmissionDirectory, submission: Submission, jobs: Sequence[SlurmJob], further: Sequence[str] = ()
) -> None:
    """Write the files of these jobs, with `further` sbatch options, and link the logs of their stages."""
    comments: list[str] = []
    with suppress(OSError):  # of another user, who has a password in it
        comments = call_in((directory.code / SITE).read_text(encoding="utf-8"))
    for job in jobs:
        body = (directory.code / "slurm" / f"{job.resources.script}.sbatch").read_text(encoding="utf-8")
        name = directory.queue_name(job.name, submission.name)
        options = [*options_of(job, submission.launch, name, directory.code, directory.logs), *further]
        directory.script(job.name).write_text(script_of(body, options, comments), encoding="utf-8")
        directory.units(job.name).write_text(units_text(job, Path(submission.store)), encoding="utf-8")
        for index, element in enumerate(job.elements):
            _point_to_log(directory, job, index, element)


def add_jobs(
    directory: SubmissionDirectory, submission: Submission, jobs: Sequence[SlurmJob], further: Sequence[str] = ()
) -> Submission:
    """Record those of these jobs that are new, before any is sent, and write their files. Returns the submission."""
    known = {job.name for job in submission.jobs}
    new = [job for job in jobs if job.name not in known]
    if new:
        submission = dataclasses.replace(submission, jobs=(*submission.jobs, *new))
        directory.write(submission)
    write_jobs(directory, submission, jobs, further)
    return submission


def drop_jobs(directory: SubmissionDirectory, submission: Submission, names: Collection[str]) -> Submission:
    """Take jobs that were added and not sent out of the submission again, so that refusals do not make it grow."""
    gone = set(names) - directory.ids().keys() - directory.unconfirmed().keys()
    if not gone:
        return submission
    submission = dataclasses.replace(submission, jobs=tuple(job for job in submission.jobs if job.name not in gone))
    directory.write(submission)
    for name in gone:
        directory.remove_files(name)
    return submission


def _point_to_log(directory: SubmissionDirectory, job: SlurmJob, index: int, element: Element) -> None:
    """Link log.txt of each stage to the log of its element."""
    log = directory.logs / log_name(job.name, str(index))
    for address in element.stages:
        point_to_log(log, StageDirectory(directory.store / address).path)
