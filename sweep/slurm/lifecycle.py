"""Send a plan to SLURM, and later once more what of it failed or went missing.

Everything is written before anything is sent: every stage.json, every batch script, the code. Then one call of sbatch
for each job, inputs first (sweep/slurm/send.py).
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweep.core.pipeline import Graph
from sweep.core.stage import FileInput, Input, Resources, Stage
from sweep.errors import InputError
from sweep.places import PROJECT
from sweep.plan.graph import Plan, Unit
from sweep.slurm import client
from sweep.slurm.damaged import look_at_queue, refuse_twice
from sweep.slurm.export import export
from sweep.slurm.jobs import Element, SlurmJob, linked, plan_jobs
from sweep.slurm.ownership import this_account
from sweep.slurm.sbatch import log_name, options_of, refuse_unsafe, script_of, units_text
from sweep.slurm.send import PUBLISH, Submit, known_ids, send, settle
from sweep.slurm.status import StoreInfo, TaskState, TaskStatus, again, element_id, latest, task_statuses
from sweep.slurm.submission import Submission, SubmissionDirectory, new_directory, submissions
from sweep.store.directory import StageDirectory, Store
from sweep.store.logs import point_to_log
from sweep.store.status_files import now

PUBLISHING = Resources(script="cpu", cpus=1, memory_gib=4)
USUAL_MAX_ARRAY_SIZE = 1001  # SLURM's own default, for a dry run where there is no SLURM


@dataclasses.dataclass(frozen=True)
class SubmissionRequest:
    """A command to be sent, and where its results go."""

    command: str
    arguments: tuple[str, ...]
    here: Path
    results: Path
    pins: Path = Path("pins.lock")


def queue_shape(graph: Graph, plan: Plan, others: Sequence[TaskStatus] = ()) -> tuple[SlurmJob, ...]:
    """The jobs of a plan but for what others have in the queue; the last one publishes the result."""
    size = graph.launch.max_array_size or client.max_array_size() or USUAL_MAX_ARRAY_SIZE
    queued = {address for each in others for address in each.element.stages}
    left = (Unit(tuple(stage for stage in unit.stages if stage.address not in queued)) for unit in plan.units)
    jobs = plan_jobs([unit for unit in left if unit.stages], size)
    last = SlurmJob(f"{len(jobs) + 1:02}-{PUBLISH}", PUBLISHING, (Element((), (graph.artifact.address,)),))
    return linked([*jobs, last])


def write_submission(
    graph: Graph, plan: Plan, jobs: Sequence[SlurmJob], store: Store, order: SubmissionRequest
) -> Path:
    """All files of a submission; returns its directory. Raises InputError for what no batch script may hold."""
    refuse_unsafe(graph.launch, graph.name, str(store.root.resolve()))
    account = this_account()
    directory = new_directory(store.root, graph.name)
    export(directory.code, graph.launch, graph.workers.threads)
    submission = Submission(
        name=graph.name,
        command=order.command,
        arguments=order.arguments,
        here=str(order.here),
        store=str(store.root),
        results=str(order.results),
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
    if order.pins.exists():
        shutil.copyfile(order.pins, directory.pins_file)
    sent = {address for job in jobs for element in job.elements for address in element.stages}
    for stage in plan.needed:
        if stage.address in sent:
            store.prepare(_at(stage, directory.code))
    _write_jobs(directory, submission, jobs)
    return directory.path


def _at(stage: Stage, code: Path) -> Stage:
    """The stage with its files of the project, such as the wording of a task, read from the exported code."""

    def place(each: Input) -> Input:
        if isinstance(each, FileInput) and each.path.is_relative_to(PROJECT):
            exported = code / each.path.relative_to(PROJECT)
            return FileInput(exported, each.key) if exported.is_file() else each
        return each

    return dataclasses.replace(stage, inputs={role: tuple(map(place, inputs)) for role, inputs in stage.inputs.items()})


def _write_jobs(directory: SubmissionDirectory, submission: Submission, jobs: Sequence[SlurmJob]) -> None:
    for job in jobs:
        body = (directory.code / "slurm" / f"{job.resources.script}.sbatch").read_text(encoding="utf-8")
        name = directory.queue_name(job.name, submission.name)
        options = options_of(job, submission.launch, name, directory.code, directory.logs)
        directory.script(job.name).write_text(script_of(body, options), encoding="utf-8")
        directory.units(job.name).write_text(units_text(job, Path(submission.store)), encoding="utf-8")
        for index, element in enumerate(job.elements):
            _point_to_log(directory, job, index, element)


def _point_to_log(directory: SubmissionDirectory, job: SlurmJob, index: int, element: Element) -> None:
    """log.txt of each stage leads to what its element prints."""
    log = directory.logs / log_name(job.name, str(index))
    for address in element.stages:
        point_to_log(log, StageDirectory(directory.store / address).path)


# ------------------------------------------------------------------------------------------------- afterwards


@dataclasses.dataclass(frozen=True)
class SubmissionStatus:
    """How a submission stands, and who said so."""

    submission: Submission
    elements: tuple[TaskStatus, ...]  # of what was submitted again only the last
    source: str


def submission_status(directory: SubmissionDirectory) -> SubmissionStatus:
    """From the disk, and one question to squeue; about what is in neither, one to sacct or scontrol."""
    submission, (ids, doubted) = directory.read(), known_ids(directory)
    disk = store_info(directory, submission)
    seen = None if doubted else client.in_queue(list(ids.values()))
    source = "squeue"
    if seen is None:
        source = "the disk alone: no squeue answers here"
    else:
        gone = _gone(submission, ids, disk, seen)
        told, who = client.ended(gone)
        seen = {**told, **seen}
        source = f"squeue and {who}" if who else source
    found = task_statuses(submission.jobs, ids, disk, seen)
    known = [_unknown(each) if each.job in doubted and each.state is TaskState.UNSENT else each for each in found]
    return SubmissionStatus(submission, tuple(latest(known)), source)


def _unknown(standing: TaskStatus) -> TaskStatus:
    return dataclasses.replace(standing, state=TaskState.UNKNOWN)


def queued_elsewhere(store: Path, but: str | None = None, must_know: bool = False) -> list[TaskStatus]:
    """What other submissions of this store have in the queue, whoever's they are: waited for, not made twice.

    One question for all. Raises InputError if `must_know` and the queue does not answer. Of those that are damaged
    `refuse_twice` knows.
    """
    candidates = [each for each in submissions(store) if each.is_open and each.name != but and not each.is_damaged]
    opened = [(each, each.read(), *known_ids(each)) for each in candidates]
    seen = client.in_queue([job_id for _, _, ids, _ in opened for job_id in ids.values()])
    if must_know and (seen is None or any(doubted for *_, doubted in opened)):
        raise InputError(
            f"squeue: does not answer, so what other submissions of {store} have in the queue is not known."
            " Nothing was sent. Try again later."
        )
    found = (
        each
        for directory, submission, ids, _ in opened
        for each in latest(task_statuses(submission.jobs, ids, store_info(directory, submission), seen))
    )
    return [each for each in found if each.state.is_alive]


def store_info(directory: SubmissionDirectory, submission: Submission) -> StoreInfo:
    """Which stages of a submission are done, which have failed."""
    addresses = {address for job in submission.jobs for element in job.elements for address in element.stages}
    places = {address: StageDirectory(directory.store / address) for address in addresses}
    return StoreInfo(
        done=frozenset(address for address, place in places.items() if place.is_done),
        failed=frozenset(address for address, place in places.items() if place.failed_file.exists()),
        is_published=directory.published_file.exists(),
    )


def _gone(submission: Submission, ids: Mapping[str, str], disk: StoreInfo, seen: Mapping[str, object]) -> list[str]:
    """Ids of jobs with an element that is neither done nor in the queue."""
    gone: list[str] = []
    for job in submission.jobs:
        for index, element in enumerate(job.elements):
            name = element_id(job, ids.get(job.name), index)
            done = element.stages and all(address in disk.done for address in element.stages)
            if name is not None and name not in seen and not done and ids[job.name] not in gone:
                gone.append(ids[job.name])
    return gone


def resume_submission(
    directory: SubmissionDirectory, store: Store, submit: Submit = client.sbatch, is_meant: bool = False
) -> tuple[SlurmJob, ...]:
    """Submit what failed, was cancelled or is lost, and what waited for it; the code is that of the submission.

    What other submissions have in the queue is left to them, and waited for. `is_meant`: send also what a damaged
    submission may have in the queue.
    """
    settle(directory)
    situation = submission_status(directory)
    if any(each.state is TaskState.UNKNOWN for each in situation.elements):
        raise InputError("resume: squeue does not answer, so what is still alive is not known. Try again later.")
    if ending := [each for each in situation.elements if each.is_ending]:
        raise InputError(f"resume: job {ending[0].job_id} is just ending, how is not known yet. Try again in a moment.")
    submission = situation.submission
    refuse_unsafe(submission.launch, submission.name, str(directory.store.resolve()))  # written by another, or of old
    turns = [job.name.partition(".r")[2] for job in submission.jobs]
    turn = max(int(turn or 1) for turn in turns) + 1
    if not again(submission.jobs, situation.elements, turn):
        return ()
    alive = [*situation.elements, *queued_elsewhere(store.root, directory.name, must_know=True)]
    jobs = again(submission.jobs, _not_elsewhere(situation.elements, alive, directory.store), turn)
    if not jobs:
        return ()
    if not is_meant:
        refuse_twice(store.root, jobs)
    _refuse_orphans(directory, jobs, alive)
    directory.closed_file.unlink(missing_ok=True)
    directory.write(dataclasses.replace(submission, jobs=(*submission.jobs, *jobs)))
    for job in jobs:
        for element in job.elements:
            for address in element.stages:
                StageDirectory(store.root / address).failed_file.unlink(missing_ok=True)
    _write_jobs(directory, submission, jobs)
    send(directory, jobs, submit, alive)
    return jobs


def _not_elsewhere(elements: Sequence[TaskStatus], alive: Sequence[TaskStatus], store: Path) -> list[TaskStatus]:
    """But for those of which all that is left to make is in the queue already."""
    queued = {address for each in alive if each.state.is_alive for address in each.element.stages}

    def is_elsewhere(element: Element) -> bool:
        left = [address for address in element.stages if not StageDirectory(store / address).is_done]
        return bool(left) and queued.issuperset(left)

    return [each for each in elements if not is_elsewhere(each.element)]


def _refuse_orphans(directory: SubmissionDirectory, jobs: Sequence[SlurmJob], alive: Sequence[TaskStatus]) -> None:
    """What another submission was to make, and does not any more."""
    made = {address for job in jobs for element in job.elements for address in element.stages}
    made |= {address for each in alive if each.state.is_alive for address in each.element.stages}
    for address in (each for job in jobs for element in job.elements for each in element.waits_for):
        if address not in made and not StageDirectory(directory.store / address).is_done:
            raise InputError(
                f"resume {directory.name}: another submission was to make {address}, and does not any more. Resume that"
                " one first, or give the sweep's command again: it makes all that is missing."
            )


def cancel_submission(directory: SubmissionDirectory) -> int:
    """Cancel all jobs and close the submission; how many elements were still alive."""
    settle(directory)
    if directory.is_damaged:
        alive = len(look_at_queue(directory).alive)
    else:
        alive = sum(each.state.is_alive for each in submission_status(directory).elements)
    client.scancel(list(directory.ids().values()))
    if not directory.published_file.exists():
        directory.mark(directory.closed_file, why="cancelled")
    return alive
