"""Sends as much of a submission as the queue takes, and a job that sends the next wave if something is left.

Where sbatch refuses a job because of a limit of submitted jobs or of the array size, half of it is tried, and so on.
What does not fit stays unsent. waves.json exists while something is left:

    limit   most jobs of the user in the queue; null: not known
    sent    waves that were sent
    left    elements that are not submitted yet
    why     what to do if nothing in the queue sends the next wave; usually ""
    cut_off elements that SLURM cancels, as the job that they wait for was interrupted and another one continues it
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sweep.core.pipeline import Launch
from sweep.core.stage import Resources
from sweep.errors import InputError
from sweep.json_files import StoreError, read_json, write_json
from sweep.slurm import client
from sweep.slurm.job_files import add_jobs, drop_jobs, write_jobs
from sweep.slurm.jobs import Element, SlurmJob
from sweep.slurm.retry import QueueFull
from sweep.slurm.send import FEED, Submit, cancel_sent, dependencies, send_job
from sweep.slurm.status import ElementStatus
from sweep.slurm.submission import Submission, SubmissionDirectory
from sweep.slurm.waves import Room, Wave, with_jobs

FEEDING = Resources(script="cpu", cpus=1, memory_gib=2)
RETRY_S = 600  # until the next look, if other jobs of the user fill the queue

Choose = Callable[[Sequence[SlurmJob], Sequence[ElementStatus], Room], Wave]


@dataclass(frozen=True)
class WavesFile:
    """The content of waves.json."""

    limit: int | None = None
    sent: int = 0
    left: int = 0
    why: str = ""
    cut_off: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sending:
    """How jobs are sent."""

    submit: Submit
    before: Sequence[ElementStatus] = ()  # elements of other submissions, for which jobs wait
    is_kept: bool = False  # if a job is refused, those sent before it are kept, not cancelled


@dataclass
class Sent:
    """What was sent."""

    submission: Submission
    now: list[ElementStatus]
    left: int = 0
    ids: dict[str, str] = field(default_factory=dict[str, str])
    refusal: QueueFull | None = None  # the last one


def read_waves(directory: SubmissionDirectory) -> WavesFile:
    """The content of waves.json, or the defaults if it is missing or damaged."""
    with suppress(StoreError, OSError, TypeError):
        found = WavesFile(**read_json(directory.waves_file))
        return dataclasses.replace(found, cut_off=tuple(found.cut_off))
    return WavesFile()


def submit_limit(launch: Launch, jobs: Sequence[SlurmJob]) -> int | None:
    """The limit of submitted jobs from the settings, else from accounting; None if neither knows one.

    Kinds of jobs may have accounts and QOS of their own: the least limit that one of them exceeds, else the largest.
    """
    if launch.max_submit_jobs is not None:
        return launch.max_submit_jobs
    elements: dict[tuple[str | None, str | None], set[tuple[str, ...]]] = {}  # each once, however often it was sent
    for job in jobs:
        settings = launch.settings_of(job.resources.script)
        elements.setdefault((settings.account, settings.qos), set()).update(each.stages for each in job.elements)
    limits = [(client.max_submit_jobs(*kind), len(found)) for kind, found in elements.items()]
    known = [(limit, count) for limit, count in limits if limit is not None]
    exceeded = [limit for limit, count in known if count > limit]
    return min(exceeded) if exceeded else max((limit for limit, _ in known), default=None)


def room_in_queue(limit: int | None, is_idle: bool, may_wait: bool) -> Room:
    """How many elements fit into the queue beside those that the user has there."""
    queued = client.own_elements() if limit is not None else None
    free = None if limit is None or queued is None else max(0, limit - queued)
    return Room(free, limit, is_idle, may_wait)


def dispatch(
    directory: SubmissionDirectory,
    now: Sequence[ElementStatus],
    choose: Choose,
    room: Room,
    sending: Sending,
) -> Sent:
    """Send what fits, inputs first; the caller must hold the submission's lock.

    Raises InputError if a job is refused for a reason that is no limit of the queue; those already sent are cancelled,
    unless they are to be kept. Jobs that were added and not sent are taken out again.
    """
    sent = Sent(directory.read(), list(now))
    while True:
        known = {job.name for job in sent.submission.jobs}
        wave = choose(sent.submission.jobs, sent.now, room)
        sent.left = wave.left
        sent.submission = add_jobs(directory, sent.submission, wave.jobs)
        try:
            refused = _send_until_full(directory, wave.jobs, sent, sending)
        except (InputError, OSError) as error:
            drop_jobs(directory, sent.submission, {job.name for job in wave.jobs} - known)
            if sending.is_kept:
                raise
            raise cancel_sent(directory, sent.ids, error) from None
        if refused is None:
            return sent
        sent.submission = drop_jobs(directory, sent.submission, {job.name for job in wave.jobs} - known)
        room = dataclasses.replace(room, free=len(refused.elements) // 2, is_idle=True, may_wait=False)
        sent.left += sum(len(job.elements) for job in wave.jobs if job.name not in sent.ids)
        if not room.free:
            return sent


def _send_until_full(
    directory: SubmissionDirectory,
    jobs: Sequence[SlurmJob],
    sent: Sent,
    sending: Sending,
) -> SlurmJob | None:
    """Send jobs until one does not fit, and return that one."""
    ids: dict[str, str] = {}
    waits = [*(each for each in sent.now if each.state.is_alive), *sending.before]
    for job in jobs:
        try:
            send_job(directory, job, dependencies(job, ids, waits), sending.submit, ids)
        except QueueFull as refusal:
            sent.refusal = refusal
            return job
        finally:
            sent.ids.update(ids)
        sent.now = with_jobs(sent.now, [job], ids)
    return None


# ------------------------------------------------------------------------------------- the job that sends the next wave


def keep_feeding(
    directory: SubmissionDirectory,
    sent: Sent,
    limit: int | None,
    submit: Submit,
    cut_off: Sequence[str] = (),
    caller: str | None = None,
) -> WavesFile:
    """Write waves.json and send a job that sends the next wave when everything that is in the queue has ended.

    `caller`: SLURM's id of the element that calls, if that job is also to end before; its stages may be done already.
    """
    earlier = read_waves(directory)
    waves = WavesFile(limit, earlier.sent + bool(sent.ids), sent.left, cut_off=(*earlier.cut_off, *cut_off))
    write_json(directory.waves_file, dataclasses.asdict(waves))
    try:
        send_feeder(directory, sent.submission, _alive(sent.now, caller), submit)
    except InputError as error:
        if not any(each.state.is_alive for each in sent.now):
            waves = dataclasses.replace(waves, why=f"{error} {how_to_continue(directory)}")
            write_json(directory.waves_file, dataclasses.asdict(waves))
    return waves


def how_to_continue(directory: SubmissionDirectory) -> str:
    """What to do when jobs cannot submit."""
    command = f"python -m sweep resume {directory.arguments}"
    return f"The elements that are left are not submitted. Continue from a login node: {command}"


def send_feeder(directory: SubmissionDirectory, submission: Submission, alive: Sequence[str], submit: Submit) -> None:
    """Send a job that feeds the queue after all that is in it; an earlier one that still waits is cancelled.

    If nothing is in it, other jobs of the user fill the queue: the next look is RETRY_S later.
    """
    names = [name for name in (*directory.ids(), *directory.unconfirmed()) if _is_feeder(name)]
    waiting = client.queued_jobs(feeder_ids(directory)) or {}
    job = SlurmJob(f"w{len(names) + 1}-{FEED}", FEEDING, (Element((), ()),))
    write_jobs(directory, submission, [_with_limit(job, submission)], () if alive else (f"--begin=now+{RETRY_S}",))
    try:
        send_job(directory, job, f"afterany:{':'.join(alive)}" if alive else None, submit, {})
    except InputError:
        directory.remove_files(job.name)
        raise
    client.scancel([job_id for job_id, seen in waiting.items() if seen.is_waiting])


def _with_limit(job: SlurmJob, submission: Submission) -> SlurmJob:
    """The job with a limit no longer than those of its kind in the plan: with more it might wait for ever."""
    same = (each.resources for each in submission.jobs if each.resources.script == job.resources.script)
    minutes = min((each.minutes for each in same if each.minutes is not None), default=None)
    return dataclasses.replace(job, resources=dataclasses.replace(job.resources, minutes=minutes))


def _alive(now: Sequence[ElementStatus], caller: str | None) -> list[str]:
    """Ids of the jobs that run or wait. Those of finished stages also run for a moment."""
    ids = [each.job_id for each in now if each.job_id and (each.state.is_alive or (each.seen and each.seen.is_alive))]
    return list(dict.fromkeys(each.partition("_")[0] for each in (*ids, *filter(None, [caller]))))


def is_feeder_waiting(directory: SubmissionDirectory) -> bool:
    """Whether a job that feeds the queue is in it and has not started."""
    return any(seen.is_waiting for seen in (client.queued_jobs(feeder_ids(directory)) or {}).values())


def feeder_ids(directory: SubmissionDirectory) -> list[str]:
    """SLURM's ids of the jobs that feed the queue, past ones included."""
    return [job_id for job, job_id in directory.ids().items() if _is_feeder(job)]


def _is_feeder(job: str) -> bool:
    return job.endswith(f"-{FEED}")
