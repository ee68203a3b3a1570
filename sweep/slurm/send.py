"""Sending jobs so that none is sent twice and none is forgotten.

Before each sbatch the name of the job in the queue is on the disk, and afterwards its id. Where sbatch does not answer,
or this process dies between the two, the job may be in the queue or not. Then it is looked up by its name, and sent
again only once the controller has said twice that it is not there: a message that was under way arrives before that.
What sbatch refuses for good, or fails of in words that nobody knows, is looked up just so, but not sent again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import InputError
from sweep.slurm import client, patience
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.patience import NoCommand, QueueAway, Unclear
from sweep.slurm.sbatch import dependency_of
from sweep.slurm.status import TaskStatus, alive_before
from sweep.slurm.submission import SubmissionDirectory

PUBLISH = "publish"
QUEUE_NAME = re.compile(r"[A-Za-z0-9._+=-]+-[0-9a-f]{10}")  # as SubmissionDirectory.queue_name makes it
SURE_AFTER = 2  # answers in a row that a job is not in the queue

Submit = Callable[[Path, Sequence[str], "str | None"], str]


def send(
    directory: SubmissionDirectory,
    jobs: Sequence[SlurmJob],
    submit: Submit = client.sbatch,
    before: Sequence[TaskStatus] = (),
) -> dict[str, str]:
    """Submit jobs whose files are written, to run after what of `before` they need; ids by name.

    Raises InputError once those sent before are cancelled; if that fails too, it names all that are still there.
    """
    ids: dict[str, str] = {}
    experiment = directory.read().name
    for job in jobs:
        waits = [dependency_of(job, ids), *(f"afterok:{each}" for each in alive_before(job, before))]
        dependency = ",".join(filter(None, waits)) or None
        name = directory.queue_name(job.name, experiment)
        call = _Call(submit, directory.script(job.name), _arguments(directory, job), dependency, name)
        try:
            directory.sending(job.name, name)
            ids[job.name] = patience.PATIENCE.repeat(call)
            directory.submitted(job.name, ids[job.name])
        except QueueAway as error:
            raise _taken_back(directory, ids, call.trouble or error) from None
        except InputError as error:  # SLURM has refused it, and does not know it
            directory.not_sent(job.name)
            raise _taken_back(directory, ids, error) from None
        except OSError as error:
            raise _taken_back(directory, ids, error) from error
    return ids


@dataclass
class _Call:
    """One job, sent once."""

    submit: Submit
    script: Path
    arguments: Sequence[str]
    dependency: str | None
    name: str  # in the queue
    trouble: InputError | None = None  # what sbatch said last, if it may have sent it all the same
    absent: int = 0

    def __call__(self) -> str:
        """Its id, from the queue if an earlier call has reached it.

        Raises QueueAway while nobody can tell, InputError once it is known not to be there and not to be sent again.
        """
        if self.trouble is None:
            try:
                return self.submit(self.script, self.arguments, self.dependency)
            except QueueAway as away:
                self.trouble = away
                raise
            except NoCommand:
                raise
            except InputError as refusal:
                self.trouble = refusal
        if found := _find(self.name):
            return found
        self.absent += 1
        if not isinstance(self.trouble, QueueAway):
            raise self.trouble
        if self.absent < SURE_AFTER:
            raise QueueAway(f"squeue: {self.name} is not there. Asked once more to be sure.")
        if isinstance(self.trouble, Unclear):
            raise InputError(f"{self.trouble} The job is not in the queue. Correct the launch settings or the site.")
        self.trouble, self.absent = None, 0
        return self()


def _find(name: str) -> str | None:
    """As `slurm_queue.find`, but that no failure of it is taken for a refusal of the job."""
    try:
        return client.find_jobs(name)
    except InputError as error:
        raise QueueAway(str(error)) from None


def _arguments(directory: SubmissionDirectory, job: SlurmJob) -> list[str]:
    if any(each.stages for each in job.elements):
        return [str(directory.units(job.name))]
    return [PUBLISH, str(directory.path)]


def _taken_back(directory: SubmissionDirectory, ids: Mapping[str, str], error: Exception) -> InputError:
    """The error, once the jobs sent before it are cancelled, or else with their ids and what to do about them."""
    lines, sent = [str(error)], dict(ids)
    with suppress(InputError):
        sent |= adopted(directory)
    try:
        client.scancel(list(sent.values()))
    except InputError:
        jobs = ", ".join(f"{job_id} ({job})" for job, job_id in sent.items())
        lines.append(
            f"still in the queue, as cancelling failed too: jobs {jobs}."
            f" Cancel them as soon as SLURM answers: scancel {' '.join(sent.values())}"
        )
    lines += [
        f"{job}: whether SLURM has taken it is not known. Its name there is {name}. Nothing is sent again before it is"
        f" looked up: python -m sweep resume {directory.words}, or cancel."
        for job, name in directory.in_doubt().items()
        if job not in sent
    ]
    return InputError("\n".join(lines))


# ------------------------------------------------------------------------------------------------- afterwards


def adopted(directory: SubmissionDirectory) -> dict[str, str]:
    """Ids, by job, of those in doubt that the queue knows by their names; noted from now on.

    Raises InputError if it cannot be asked.
    """
    found: dict[str, str] = {}
    for job, name in _names_in_doubt(directory).items():
        if job_id := patience.PATIENCE.repeat(lambda: client.find_jobs(name)):  # noqa: B023
            found[job] = job_id
            with suppress(OSError):  # a submission of somebody else, or a full disk: it is looked up again
                directory.submitted(job, job_id)
    return found


def known_ids(directory: SubmissionDirectory) -> tuple[dict[str, str], tuple[str, ...]]:
    """SLURM's ids by job, and the jobs of which nobody can tell at the moment whether they were sent."""
    try:
        return {**directory.ids(), **adopted(directory)}, ()
    except InputError:
        return directory.ids(), tuple(directory.in_doubt())


def settle(directory: SubmissionDirectory) -> None:
    """No job is in doubt any more: each has its id, or is known not to be in the queue.

    Nobody else may be sending. Raises InputError if SLURM cannot be asked.
    """
    for job, name in _names_in_doubt(directory).items():
        try:
            directory.submitted(job, patience.PATIENCE.repeat(_LookUp(name)))
        except _Absent:
            directory.not_sent(job)
        except InputError as error:
            raise InputError(
                f"{error}\n{directory.name}: whether {job} ({name}) is in the queue is not known. Nothing was sent or"
                " cancelled. Try again when SLURM answers."
            ) from None


class _Absent(Exception):
    """It is not in the queue."""


@dataclass
class _LookUp:
    name: str
    absent: int = 0

    def __call__(self) -> str:
        if found := client.find_jobs(self.name):
            return found
        self.absent += 1
        if self.absent < SURE_AFTER:
            raise QueueAway(f"squeue: {self.name} is not there. Asked once more to be sure.")
        raise _Absent


def _names_in_doubt(directory: SubmissionDirectory) -> dict[str, str]:
    """By job; also where the file that holds the name was damaged."""
    found: dict[str, str] = {}
    for job, noted in directory.in_doubt().items():
        whole = (each for each in (noted, directory.name_in_script(job)) if QUEUE_NAME.fullmatch(each))
        found[job] = next(whole, None) or directory.queue_name(job, directory.read().name)
    return found
