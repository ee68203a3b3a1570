"""Submits jobs so that none is submitted twice and none is lost.

Writes the queue name of each job to disk before sbatch and its id afterwards. If sbatch does not answer, or the process
dies in between, the job is unconfirmed: it may or may not be in the queue. It is then looked up by name, and submitted
again only after the controller has reported twice that it is absent; by then a delayed request would have arrived.
Jobs that sbatch refuses, or for which it fails with an unknown message, are looked up too but not submitted again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import InputError
from sweep.slurm import client, retry
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.retry import SlurmNotFound, SlurmUnavailable, UnknownAnswer
from sweep.slurm.sbatch import dependency_of
from sweep.slurm.status import ElementStatus, active_dependencies
from sweep.slurm.submission import SubmissionDirectory

PUBLISH = "publish"
FEED = "feed"  # a job without stages that sends the next wave (sweep/slurm/feed.py)
QUEUE_NAME = re.compile(r"[A-Za-z0-9._+=-]+-[0-9a-f]{10}")  # as SubmissionDirectory.queue_name makes it
SURE_AFTER = 2  # a job is absent after so many consecutive reports that it is not in the queue

Submit = Callable[[Path, Sequence[str], "str | None"], str]


def dependencies(job: SlurmJob, ids: Mapping[str, str], before: Sequence[ElementStatus]) -> str | None:
    """The value of --dependency: on jobs sent with it, by name, and on queued elements of `before`."""
    waits = [dependency_of(job, ids), *(f"afterok:{each}" for each in active_dependencies(job, before))]
    return ",".join(filter(None, waits)) or None


def send_job(
    directory: SubmissionDirectory, job: SlurmJob, dependency: str | None, submit: Submit, ids: dict[str, str]
) -> None:
    """Submit one job whose files are written, add its id to `ids`, then record it.

    Raises QueueFull or another InputError if it is refused, SlurmUnavailable if it is unknown whether it is queued.
    """
    name = directory.queue_name(job.name, directory.read().name)
    call = _SubmitOnce(submit, directory.script(job.name), _arguments(directory, job), dependency, name)
    try:
        directory.mark_sending(job.name, name)
        ids[job.name] = retry.RETRY.call(call)
        directory.record_id(job.name, ids[job.name])
    except SlurmUnavailable as error:
        raise call.error or error from None
    except InputError:  # refused, and not in the queue
        directory.mark_unsent(job.name)
        raise


@dataclass
class _SubmitOnce:
    """Submits one job once, however often it is called."""

    submit: Submit
    script: Path
    arguments: Sequence[str]
    dependency: str | None
    name: str  # in the queue
    error: InputError | None = None  # the last error of sbatch, if the job may be queued anyway
    absent: int = 0

    def __call__(self) -> str:
        """The job's id, from the queue if an earlier sbatch call was accepted.

        Raises SlurmUnavailable while that is unknown, InputError once the job is known to be absent and refused.
        """
        if self.error is None:
            try:
                return self.submit(self.script, self.arguments, self.dependency)
            except SlurmUnavailable as error:
                self.error = error
                raise
            except SlurmNotFound:
                raise
            except InputError as refusal:
                self.error = refusal
        if found := _find(self.name):
            return found
        self.absent += 1
        if not isinstance(self.error, SlurmUnavailable):
            raise self.error
        if self.absent < SURE_AFTER:
            raise SlurmUnavailable(f"squeue: {self.name} is not in the queue. Checking once more.")
        if isinstance(self.error, UnknownAnswer):
            raise InputError(f"{self.error} The job is not in the queue. Correct what sbatch names.")
        self.error, self.absent = None, 0
        return self()


def _find(name: str) -> str | None:
    """Like `client.find_job`, but an error of the lookup does not count as a refusal of the job."""
    try:
        return client.find_job(name)
    except InputError as error:
        raise SlurmUnavailable(str(error)) from None


def _arguments(directory: SubmissionDirectory, job: SlurmJob) -> list[str]:
    if job.stage == FEED or any(each.stages for each in job.elements):
        return [str(directory.units(job.name))]
    return [PUBLISH, str(directory.path)]


def cancel_sent(directory: SubmissionDirectory, ids: Mapping[str, str], error: Exception) -> InputError:
    """Cancel the jobs already submitted and return the error to raise, with their ids if cancelling fails."""
    lines, sent = [str(error)], dict(ids)
    with suppress(InputError):
        sent |= recover_ids(directory)
    try:
        client.scancel(list(sent.values()))
    except InputError:
        jobs = ", ".join(f"{job_id} ({job})" for job, job_id in sent.items())
        lines.append(
            f"jobs {jobs}: still in the queue, as cancelling failed too."
            f" Cancel them when SLURM answers: scancel {' '.join(sent.values())}"
        )
    lines += [
        f"{job}: unknown whether SLURM accepted it. Its name in the queue is {name}. Nothing is submitted until it"
        f" is looked up. Run python -m sweep resume {directory.arguments}, or cancel in place of resume."
        for job, name in directory.unconfirmed().items()
        if job not in sent
    ]
    return InputError("\n".join(lines))


# ------------------------------------------------------------------------------- unconfirmed submissions


def recover_ids(directory: SubmissionDirectory) -> dict[str, str]:
    """Look up unconfirmed jobs by name, record the ids that the queue knows, and return them by job.

    Raises InputError if the queue does not answer.
    """
    found: dict[str, str] = {}
    for job, name in _unconfirmed_names(directory).items():
        if job_id := retry.RETRY.call(lambda: client.find_job(name)):  # noqa: B023
            found[job] = job_id
            with suppress(OSError):  # not writable: it will be looked up again
                directory.record_id(job, job_id)
    return found


def known_ids(directory: SubmissionDirectory) -> tuple[dict[str, str], tuple[str, ...]]:
    """SLURM's ids by job, and the jobs that may or may not have been submitted."""
    try:
        return {**directory.ids(), **recover_ids(directory)}, ()
    except InputError:
        return directory.ids(), tuple(directory.unconfirmed())


def settle_unconfirmed(directory: SubmissionDirectory) -> None:
    """Look up every unconfirmed job: record its id, or that it is not in the queue.

    The caller must hold the submission's lock. Raises InputError if SLURM does not answer.
    """
    for job, name in _unconfirmed_names(directory).items():
        try:
            directory.record_id(job, retry.RETRY.call(_Lookup(name)))
        except _NotInQueue:
            directory.mark_unsent(job)
        except InputError as error:
            raise InputError(
                f"{error}\n{directory.name}: unknown whether {job} ({name}) is in the queue. Nothing was submitted or"
                " cancelled. Try again when SLURM answers."
            ) from None


class _NotInQueue(Exception):
    """The job is not in the queue."""


@dataclass
class _Lookup:
    name: str
    absent: int = 0

    def __call__(self) -> str:
        if found := client.find_job(self.name):
            return found
        self.absent += 1
        if self.absent < SURE_AFTER:
            raise SlurmUnavailable(f"squeue: {self.name} is not in the queue. Checking once more.")
        raise _NotInQueue


def _unconfirmed_names(directory: SubmissionDirectory) -> dict[str, str]:
    """Queue names of unconfirmed jobs, even if the file that holds the name is damaged."""
    found: dict[str, str] = {}
    for job, recorded in directory.unconfirmed().items():
        valid = (each for each in (recorded, directory.name_in_script(job)) if QUEUE_NAME.fullmatch(each))
        found[job] = next(valid, None) or directory.queue_name(job, directory.read().name)
    return found
