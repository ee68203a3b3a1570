"""Submits a plan to SLURM, reports its status, resubmits what failed or got lost, and cancels it.

Writes every stage.json, every batch script and the code before it submits anything. Then calls sbatch once for each
job, inputs first (sweep/slurm/send.py).
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweep.core.pipeline import Graph, Launch
from sweep.core.stage import FileInput, Input, Resources, Stage
from sweep.errors import InputError
from sweep.places import PROJECT
from sweep.plan.graph import Plan, Unit
from sweep.slurm import client
from sweep.slurm.damaged import query_queue, refuse_resubmitting
from sweep.slurm.dispatch import (
    Sending,
    Sent,
    WavesFile,
    dispatch,
    feeder_ids,
    keep_feeding,
    read_waves,
    room_in_queue,
    submit_limit,
)
from sweep.slurm.export import export, site_lines
from sweep.slurm.job_files import add_jobs, drop_jobs, write_jobs
from sweep.slurm.jobs import Element, SlurmJob, link_jobs, plan_jobs
from sweep.slurm.ownership import this_account
from sweep.slurm.sbatch import refuse_unsafe
from sweep.slurm.send import PUBLISH, Submit, known_ids, settle_unconfirmed
from sweep.slurm.site_answers import partitions_here
from sweep.slurm.status import (
    TO_RESUBMIT,
    ElementState,
    ElementStatus,
    StoreInfo,
    element_id,
    element_statuses,
    latest_statuses,
)
from sweep.slurm.submission import Submission, SubmissionDirectory, new_directory, submissions
from sweep.slurm.walltime import with_walltimes
from sweep.slurm.waves import (
    Room,
    Wave,
    later_line,
    next_wave,
    packed,
    refuse_small_limit,
    resubmission,
    with_cut_off,
    with_jobs,
    with_later_waves,
)
from sweep.store.directory import StageDirectory, Store
from sweep.store.status_files import now

PUBLISHING = Resources(script="cpu", cpus=1, memory_gib=4)
CONSISTENT_READS = 3  # at most, of a status while jobs submit others
USUAL_MAX_ARRAY_SIZE = 1001  # SLURM's default, for a dry run without SLURM


@dataclasses.dataclass(frozen=True)
class SubmissionRequest:
    """A command to submit, and where its results go."""

    command: str
    arguments: tuple[str, ...]
    here: Path
    results: Path
    pins: Path = Path("pins.lock")


def queue_jobs(graph: Graph, plan: Plan, others: Sequence[ElementStatus] = ()) -> tuple[SlurmJob, ...]:
    """The jobs of a plan, without stages that other submissions have queued; the last job publishes the result."""
    queued = {address for each in others for address in each.element.stages}
    left = (Unit(tuple(stage for stage in unit.stages if stage.address not in queued)) for unit in plan.units)
    units, size = [unit for unit in left if unit.stages], array_limit(graph.launch)
    jobs = plan_jobs(units, size)
    limit = submit_limit(graph.launch, jobs)
    if limit is not None and sum(len(job.elements) for job in jobs) > limit:
        jobs = packed(plan_jobs(units, len(units)), limit, size)
    last = SlurmJob(f"{len(jobs) + 1:02}-{PUBLISH}", PUBLISHING, (Element((), (graph.artifact.address,)),))
    count = sum(len(job.elements) for job in (*jobs, last))
    refuse_small_limit(count, limit, graph.launch.max_submit_jobs is not None)
    return with_walltimes(link_jobs([*jobs, last]), graph.estimates, graph.launch, partitions_here)


def array_limit(launch: Launch) -> int:
    """The longest job array, from the settings or the cluster."""
    return launch.max_array_size or client.max_array_size() or USUAL_MAX_ARRAY_SIZE


def write_submission(
    graph: Graph, plan: Plan, jobs: Sequence[SlurmJob], store: Store, request: SubmissionRequest
) -> Path:
    """Write all files of a submission and return its directory.

    Raises InputError for values unsafe in a script, and for a site file that cannot be read.
    """
    refuse_unsafe(graph.launch, graph.name, str(store.root.resolve()))
    site_lines(graph.launch.site)  # raises before anything is written
    account = this_account()
    directory = new_directory(store.root, graph.name)
    export(directory.code, graph.launch)
    submission = Submission(
        name=graph.name,
        command=request.command,
        arguments=request.arguments,
        here=str(request.here),
        store=str(store.root),
        results=str(request.results),
        product=graph.artifact.address,
        submitted_at=now(),
        launch=graph.launch,
        jobs=tuple(jobs),
        unpinned=tuple(graph.unpinned(plan.needed)),
        user=account.user,
        uid=account.uid,
        host=account.host,
    )
    directory.write(submission)
    if request.pins.exists():
        shutil.copyfile(request.pins, directory.pins_file)
    submitted = {address for job in jobs for element in job.elements for address in element.stages}
    for stage in plan.needed:
        if stage.address in submitted:
            store.prepare(_with_exported_files(stage, directory.code))
    write_jobs(directory, submission, jobs)
    return directory.path


def _with_exported_files(stage: Stage, code: Path) -> Stage:
    """The stage with paths to the project's files, such as a task's YAML, changed to the exported code."""

    def place(each: Input) -> Input:
        if isinstance(each, FileInput) and each.path.is_relative_to(PROJECT):
            exported = code / each.path.relative_to(PROJECT)
            return FileInput(exported, each.key) if exported.is_file() else each
        return each

    return dataclasses.replace(stage, inputs={role: tuple(map(place, inputs)) for role, inputs in stage.inputs.items()})


# --------------------------------------------------------------------------- status, resume and cancel


@dataclasses.dataclass(frozen=True)
class SubmissionStatus:
    """Status of a submission, and the source of it."""

    submission: Submission
    elements: tuple[ElementStatus, ...]  # for resubmitted elements only the latest
    source: str
    note: str = ""  # about elements that are not in the queue yet


def submission_status(directory: SubmissionDirectory) -> SubmissionStatus:
    """Read the store and call squeue once; then sacct or scontrol for jobs that are in neither."""
    submission, (ids, unconfirmed) = directory.read(), known_ids(directory)
    disk = store_info(directory, submission)
    seen = None if unconfirmed else client.queued_jobs(list(ids.values()))
    source = "squeue"
    if seen is None:
        source = "the disk alone: no squeue answers here"
    else:
        ended, command = client.ended_jobs(_jobs_to_account(submission, ids, disk, seen))
        seen = {**ended, **seen}
        source = f"squeue and {command}" if command else source
    found = element_statuses(submission.jobs, ids, disk, seen)
    known = [
        _unknown(each) if each.job in unconfirmed and each.state is ElementState.UNSENT else each for each in found
    ]
    known = with_cut_off(latest_statuses(known), read_waves(directory).cut_off)
    return SubmissionStatus(submission, tuple(known), source)


def status_with_waves(directory: SubmissionDirectory) -> SubmissionStatus:
    """The status as users see it: what jobs of the submission will submit is in a later wave, not missing."""
    waves, current = _waves_now(directory), submission_status(directory)
    for _ in range(CONSISTENT_READS):
        if (latest := _waves_now(directory)) == waves:
            break
        waves, current = latest, submission_status(directory)  # a job has submitted others in the meantime
    if waves is None or waves.why:
        return dataclasses.replace(current, note=waves.why if waves else "")
    done = store_info(directory, current.submission).done
    feeders = _feeders(directory, current)
    if feeders is None:
        elements = with_later_waves(current.elements, done, ElementState.UNKNOWN)
        return dataclasses.replace(current, elements=tuple(elements))
    if not feeders:
        return current
    elements = with_later_waves(current.elements, done)
    count = sum(each.state is ElementState.LATER for each in elements)
    looks = min(feeders.values()) if all(feeders.values()) else ""
    note = later_line(count, waves.limit, looks.partition("T")[2][:5]) if count else ""
    return dataclasses.replace(current, elements=tuple(elements), note=note)


def _waves_now(directory: SubmissionDirectory) -> WavesFile | None:
    return read_waves(directory) if directory.waves_file.exists() and directory.is_open else None


def _feeders(directory: SubmissionDirectory, current: SubmissionStatus) -> dict[str, str] | None:
    """Jobs in the queue that submit the next wave, and when they start if they wait for a time; None if unknown.

    Every element does; if one is in the queue, the others do not matter.
    """
    if any(each.state is ElementState.UNKNOWN for each in current.elements):
        return None
    alive = [each.job_id for each in current.elements if each.job_id and each.seen and each.seen.is_alive]
    if alive:
        return dict.fromkeys(alive[:1], "")
    seen = client.queued_jobs(feeder_ids(directory))
    return None if seen is None else {name: each.starts_at if each.is_waiting else "" for name, each in seen.items()}


def _unknown(status: ElementStatus) -> ElementStatus:
    return dataclasses.replace(status, state=ElementState.UNKNOWN)


def queued_elsewhere(store: Path, excluded: str | None = None, is_required: bool = False) -> list[ElementStatus]:
    """Queued tasks of this store's other submissions, of all users; we depend on them instead of resubmitting.

    Calls squeue once. Raises InputError if `is_required` and the queue does not answer. Damaged submissions are
    handled by `refuse_resubmitting`.
    """
    candidates = [each for each in submissions(store) if each.is_open and each.name != excluded and not each.is_damaged]
    opened = [(each, each.read(), *known_ids(each)) for each in candidates]
    seen = client.queued_jobs([job_id for _, _, ids, _ in opened for job_id in ids.values()])
    if is_required and (seen is None or any(unconfirmed for *_, unconfirmed in opened)):
        raise InputError(
            f"squeue: does not answer, so the queued jobs of other submissions in {store} are unknown."
            " Nothing was submitted. Try again later."
        )
    found = (
        each
        for directory, submission, ids, _ in opened
        for each in latest_statuses(element_statuses(submission.jobs, ids, store_info(directory, submission), seen))
    )
    return [each for each in found if each.state.is_alive]


def store_info(directory: SubmissionDirectory, submission: Submission) -> StoreInfo:
    """The finished and failed stages of a submission."""
    addresses = {address for job in submission.jobs for element in job.elements for address in element.stages}
    places = {address: StageDirectory(directory.store / address) for address in addresses}
    return StoreInfo(
        done=frozenset(address for address, place in places.items() if place.is_done),
        failed=frozenset(address for address, place in places.items() if place.failed_file.exists()),
        is_published=directory.published_file.exists(),
    )


def _jobs_to_account(
    submission: Submission, ids: Mapping[str, str], disk: StoreInfo, seen: Mapping[str, object]
) -> list[str]:
    """Ids of jobs with an element that is neither done nor in the queue, to be looked up in accounting."""
    found: list[str] = []
    for job in submission.jobs:
        for index, element in enumerate(job.elements):
            name = element_id(job, ids.get(job.name), index)
            done = element.stages and all(address in disk.done for address in element.stages)
            if name is not None and name not in seen and not done and ids[job.name] not in found:
                found.append(ids[job.name])
    return found


def resume_submission(
    directory: SubmissionDirectory, store: Store, submit: Submit | None = None, is_confirmed: bool = False
) -> tuple[SlurmJob, ...]:
    """Submit failed, cancelled and lost elements and those that waited for them, with the submission's own code.

    Stages that other submissions have queued are left to them. With `is_confirmed`, also submits stages that a damaged
    submission may be running.
    """
    settle_unconfirmed(directory)
    current = submission_status(directory)
    if any(each.state is ElementState.UNKNOWN for each in current.elements):
        raise InputError("resume: squeue does not answer, so the jobs still in the queue are unknown. Try again later.")
    if ending := [each for each in current.elements if each.is_ending]:
        raise InputError(
            f"resume: job {ending[0].job_id} is just ending and has no final state yet. Try again in a moment."
        )
    submission = current.submission
    refuse_unsafe(
        submission.launch, submission.name, str(directory.store.resolve())
    )  # they may be another user's, or from an earlier version
    most = array_limit(submission.launch)
    if not resubmission(submission.jobs, current.elements, most):
        return ()
    outside = queued_elsewhere(store.root, directory.name, is_required=True)
    alive = [*current.elements, *outside]
    left = without_queued(current.elements, outside, directory.store)
    jobs = resubmission(submission.jobs, left, most)
    if not jobs:
        return ()
    if not is_confirmed:
        refuse_resubmitting(store.root, jobs)
    _refuse_missing_inputs(directory, jobs, alive)
    directory.closed_file.unlink(missing_ok=True)
    for job in jobs:
        for element in job.elements:
            for address in element.stages:
                StageDirectory(store.root / address).failed_file.unlink(missing_ok=True)
    known = {job.name for job in submission.jobs}
    submission = add_jobs(directory, submission, jobs)
    try:
        sent = send_in_waves(directory, with_jobs(latest_statuses(left), jobs), submit, outside)
    except InputError:
        drop_jobs(directory, submission, {job.name for job in jobs} - known)
        raise
    by_name = {job.name: job for job in sent.submission.jobs}
    return tuple(by_name[name] for name in sent.ids)


def send_in_waves(
    directory: SubmissionDirectory,
    now: Sequence[ElementStatus] | None = None,
    submit: Submit | None = None,
    before: Sequence[ElementStatus] = (),
) -> Sent:
    """Send everything, or, if it exceeds a limit of the queue, the first wave and a job that sends the next one.

    Jobs wait for elements of other submissions in `before`. The caller must hold the submission's lock.
    Raises InputError if a job is refused for another reason, or if nothing fits and nothing of it is queued.
    """
    submission = directory.read()
    done = store_info(directory, submission).done
    now = with_jobs((), submission.jobs) if now is None else now
    limit, most = submit_limit(submission.launch, submission.jobs), array_limit(submission.launch)
    is_idle = not any(each.state.is_alive for each in now)
    unsent = sum(each.state in TO_RESUBMIT for each in latest_statuses(now))
    refuse_small_limit(unsent, limit, submission.launch.max_submit_jobs is not None)

    def choose(jobs: Sequence[SlurmJob], now: Sequence[ElementStatus], room: Room) -> Wave:
        return next_wave(jobs, now, done, room, most)

    submit = submit or client.sbatch
    sent = dispatch(directory, now, choose, room_in_queue(limit, is_idle, may_wait=True), Sending(submit, before))
    if sent.left and is_idle and not sent.ids:
        refusal = f"{sent.refusal} " if sent.refusal else ""
        raise InputError(
            f"{refusal}submission {directory.name}: nothing was submitted, as your other jobs fill the queue. Continue"
            f" when some have ended: python -m sweep resume {directory.arguments}"
        )
    if sent.left:
        keep_feeding(directory, sent, limit, submit)
    else:
        directory.waves_file.unlink(missing_ok=True)
    return sent


def without_queued(
    elements: Sequence[ElementStatus], alive: Sequence[ElementStatus], store: Path
) -> list[ElementStatus]:
    """The elements, without those whose missing stages are all queued already."""
    queued = {address for each in alive if each.state.is_alive for address in each.element.stages}

    def is_elsewhere(element: Element) -> bool:
        left = [address for address in element.stages if not StageDirectory(store / address).is_done]
        return bool(left) and queued.issuperset(left)

    return [each for each in elements if not is_elsewhere(each.element)]


def _refuse_missing_inputs(
    directory: SubmissionDirectory, jobs: Sequence[SlurmJob], alive: Sequence[ElementStatus]
) -> None:
    """Raises InputError for an unfinished input that was left to another submission and is no longer queued there."""
    made = {address for job in jobs for element in job.elements for address in element.stages}
    made |= {address for each in alive if each.state.is_alive for address in each.element.stages}
    for address in (each for job in jobs for element in job.elements for each in element.waits_for):
        if address not in made and not StageDirectory(directory.store / address).is_done:
            raise InputError(
                f"resume {directory.name}: {address} was left to another submission, which no longer has it in the"
                " queue. Resume the other submission first, or run the command of this one again, which also makes it."
            )


def cancel_submission(directory: SubmissionDirectory) -> int:
    """Cancel all jobs and close the submission. Returns the number of elements that were queued or running."""
    settle_unconfirmed(directory)
    if directory.is_damaged:
        alive = len(query_queue(directory).alive)
    else:
        alive = sum(each.state.is_alive for each in submission_status(directory).elements)
    client.scancel(list(directory.ids().values()))
    if not directory.published_file.exists():
        directory.write_marker(directory.closed_file, why="cancelled")
    return alive
