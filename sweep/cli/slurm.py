"""Submits a sweep to SLURM, and implements the commands `status`, `logs`, `resume` and `cancel`.

The ID of a submission is its folder name in store/submissions; the default is your newest submission. Another user's
submission must be given by ID, and `resume` and `cancel` need --yes for it. The commands read the store and, if
available, SLURM; the session that submitted may have ended.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sweep.claims.lock import LockMode, locked_now
from sweep.cli.manual import planned_again
from sweep.cli.show_slurm import show_jobs, show_log
from sweep.cli.show_status import read_status, show_json, show_status
from sweep.cli.spending import ask_before_resuming, ask_before_spending
from sweep.cli.status_view import ShownStatus, resumed_line
from sweep.cli.watch_screen import follow
from sweep.cli.watch_stages import SubmissionStages
from sweep.config.compose import Composition, Entry, compose_entry
from sweep.console import Console, escape
from sweep.core.interrupt import EXIT_INTERRUPTED
from sweep.core.launch import Launch
from sweep.core.pipeline import Graph
from sweep.core.stage import Stage
from sweep.errors import InputError, UsageError
from sweep.plan.graph import Plan
from sweep.plan.planning import Planned, clear, planned
from sweep.results.costs import write_planned
from sweep.slurm import client, lifecycle
from sweep.slurm.damaged import damaged_lines, query_queue, refuse_resubmitting
from sweep.slurm.dispatch import submit_limit
from sweep.slurm.export import site_lines
from sweep.slurm.jobs import SlurmJob, elements_text
from sweep.slurm.ownership import find_own, foreign_lines, is_own, refuse_foreign
from sweep.slurm.preflight_jobs import preflight_jobs, with_preflight
from sweep.slurm.sbatch import requested_resources
from sweep.slurm.send import settle_unconfirmed
from sweep.slurm.site_answers import partitions_here
from sweep.slurm.status import Verdict, verdict
from sweep.slurm.submission import SubmissionDirectory, store_argument, submissions
from sweep.store.directory import Store
from sweep.store.status_files import now

EARLIEST_SIGNAL_MINUTES = 1  # SLURM may send the signal this much too early


def show_queue(console: Console, graph: Graph, work: Plan, store: Store) -> tuple[SlurmJob, ...]:
    """Show the jobs that a plan would submit, and return them. Raises InputError for a missing site file."""
    site_lines(graph.launch.site)
    others = lifecycle.queued_elsewhere(store.root)
    jobs, _ = with_checks(graph, work, lifecycle.queue_jobs(graph, work, others), "planned")
    show_jobs(console, jobs, graph.launch, submit_limit(graph.launch, jobs))
    if others:
        names = ", ".join(sorted({each.job_id.partition("_")[0] for each in others if each.job_id}))
        console.print(f"already in the queue, used where needed: jobs {escape(names)}", soft_wrap=True)
    return jobs


def submit(console: Console, graph: Graph, found: Planned, composition: Composition) -> int:
    """Ask about the cost, prefetch, write and submit; returns the exit status."""
    launch, store, work = graph.launch, Store(composition.entry.store), found.work
    if launch.dry_run and found.again:
        first = next(iter(found.again))
        raise InputError(f"launch.dry_run true: a dry run cannot make {first} again. Submit without it.")
    if not launch.dry_run:
        _prepare_submission(console, graph, work, composition.entry.yes)
    request = request_of(composition)
    others = lifecycle.queued_elsewhere(store.root, is_required=not launch.dry_run)
    jobs, checks = with_checks(graph, work, lifecycle.queue_jobs(graph, work, others), now())
    refuse_short_jobs(jobs, launch)
    if not launch.dry_run and not composition.entry.yes:
        refuse_resubmitting(store.root, jobs)
    write_planned(graph, store, work.needed)
    clear(store, found)
    directory = SubmissionDirectory(lifecycle.write_submission(graph, _beside(work, checks), jobs, store, request))
    if launch.dry_run:
        console.print(f"written, not submitted: {escape(str(directory.path))}", soft_wrap=True)
        then = f"to submit it: python -m sweep resume {directory.arguments}"
        if graph.missing_for(work.needed):
            then = "to submit it: install what is missing, then run the same command without launch.dry_run."
        elif graph.unpinned(work.needed):
            then = "to submit it: pin what is unpinned, then run the same command without launch.dry_run."
        console.print(escape(then), soft_wrap=True)
        return 0
    with _exclusive(directory, "submit"):
        sent = lifecycle.send_in_waves(directory, before=others)
    console.print(f"submitted {escape(directory.name)}: jobs {escape(', '.join(sent.ids.values()))}", soft_wrap=True)
    _show_left(console, directory)
    where = store_argument(directory.store)
    follow = f"to follow it: python -m sweep status | logs | resume | cancel{where and f', each with{where}'}"
    console.print(escape(follow), soft_wrap=True)
    return 0


def request_of(composition: Composition) -> lifecycle.SubmissionRequest:
    """What a command asks to submit, from the folder in which it was typed."""
    return lifecycle.SubmissionRequest(
        composition.request.command,
        composition.arguments,
        Path.cwd(),
        composition.entry.results.resolve(),
        composition.request.pins,
    )


def with_checks(
    graph: Graph, work: Plan, jobs: Sequence[SlurmJob], asked_at: str
) -> tuple[tuple[SlurmJob, ...], tuple[Stage, ...]]:
    """The jobs, after those that check the nodes if the plan costs enough; and the stages of these checks."""
    limit = graph.launch.preflight_above_usd
    if limit is None or estimated_usd(graph, work) <= limit:
        return tuple(jobs), ()
    checks = tuple(graph.preflight(work.needed, asked_at))
    return with_preflight(jobs, preflight_jobs(checks, graph.launch, partitions_here)), checks


def _beside(work: Plan, checks: Sequence[Stage]) -> Plan:
    return replace(work, needed=(*checks, *work.needed))


def estimated_usd(graph: Graph, work: Plan) -> float:
    """Price of a plan by its estimates, without what is unknown."""
    return sum(graph.estimates[each.address].usd or 0.0 for each in work.needed if each.address in graph.estimates)


def _prepare_submission(console: Console, graph: Graph, work: Plan, yes: bool) -> None:
    """Before the first sbatch: ask about the cost, and download what jobs without internet cannot."""
    ask_before_spending(console, graph, work.needed, yes)
    client.refuse_without_slurm()
    for line in graph.prefetch(work.needed):
        console.print(f"  {escape(line)}", soft_wrap=True)


def refuse_short_jobs(jobs: Sequence[SlurmJob], launch: Launch) -> None:
    """Raises InputError for a job that would be signalled as it starts, and so would requeue itself forever."""
    for job in jobs:
        minutes = requested_resources(job.resources, launch).minutes
        if minutes is not None and 60 * (minutes - EARLIEST_SIGNAL_MINUTES) <= launch.signal_seconds:
            raise InputError(
                f"launch.signal_seconds {launch.signal_seconds}: {job.name} has {minutes} minutes and would be"
                f" stopped as it starts. Lower it, or give these jobs more time: launch.{job.resources.script}.minutes,"
                " minutes_limit, or another partition."
            )


def status(
    console: Console, submission: str | None, watch: bool, json: bool, every: float | None, overrides: Sequence[str]
) -> int:
    """Show the state of a submission, or follow it with `watch`; returns the verdict's exit status."""
    if every is not None and not watch:
        raise UsageError("status --every: sets how often --watch looks. Add --watch.")
    if json and watch:
        raise UsageError("status --json: cannot be combined with --watch. Leave one of them out.")
    directory = find_own(compose_entry(overrides).store, submission)
    known = submissions(directory.store)
    others = foreign_lines(known) if submission is None else []
    others += damaged_lines([each for each in known if each.name != directory.name])
    if directory.is_damaged:
        return _status_of_damaged(directory, console, others, json)
    if watch and (ended := follow(console, [SubmissionStages(directory)], every)) == EXIT_INTERRUPTED:
        return ended
    current = lifecycle.status_with_waves(directory)
    if not watch:
        alive = [each.job_id.partition("_")[0] for each in current.elements if each.job_id and each.state.is_alive]
        shown = read_status(directory, current, client.restart_counts(list(dict.fromkeys(alive))))
        (show_json if json else show_status)(console, shown)
    elif current.note:
        console.print(escape(current.note), soft_wrap=True)
    for line in () if json else others:
        console.print(escape(line), soft_wrap=True)
    states = [each.state for each in current.elements]
    return verdict(states).value


def _status_of_damaged(directory: SubmissionDirectory, console: Console, further: Sequence[str], is_json: bool) -> int:
    remains = query_queue(directory)
    alive, source = "unknown", "no squeue answers here"
    if remains.seen is not None:
        alive, source = ", ".join(remains.alive) or "none of its jobs", "squeue"
    lines = [f"{directory.name}: damaged. In the queue: {alive}. Source: {source}.", *damaged_lines([directory])]
    if is_json:
        shown = ShownStatus(directory.name, source, (), datetime.now(), tuple(lines), is_damaged=True)
        show_json(console, shown)
        return Verdict.UNKNOWN.value
    for line in [*lines, *further]:
        console.print(escape(line), soft_wrap=True)
    return Verdict.UNKNOWN.value


def logs(console: Console, submission: str | None, stage: str | None, lines: int, overrides: Sequence[str]) -> int:
    """Print the last lines of the logs of a submission, or of one stage of it."""
    store = compose_entry(overrides).store
    if stage is None and submission is not None and not (store / "submissions" / submission).is_dir():
        submission, stage = None, submission  # a single word may be a stage
    directory = find_own(store, submission)
    found = [
        each
        for each in lifecycle.submission_status(directory).elements
        if stage is None or any(address == stage or address.startswith(f"{stage}/") for address in each.element.stages)
    ]
    if not found:
        raise InputError(f"logs {stage}: no such stage in {directory.name}. `sweep status` lists them.")
    for each in found:
        show_log(console, directory, each, lines)
    return 0


def resume(console: Console, submission: str | None, overrides: Sequence[str]) -> int:
    """Submit what failed or is missing, or everything after a dry run."""
    entry = compose_entry(overrides)
    directory = find_own(entry.store, submission)
    consequence = "Its code, {directory}/code, then runs under the account of {account}."
    _refuse_foreign(console, "resume", directory, entry, consequence)
    store = Store(directory.store)
    with store.held(LockMode.SHARED), _exclusive(directory, "resume"):
        _repair(directory, console)
        _refuse_unpinned(directory)
        settle_unconfirmed(directory)
        if not directory.ids():  # after a dry run: ask and prefetch, which it skipped
            composition, graph = planned_again(directory)
            work = planned(graph, store).work
            _refuse_missing(directory, graph, work)
            _prepare_submission(console, graph, work, composition.entry.yes or entry.yes)
        else:
            ask_before_resuming(console, lifecycle.submission_status(directory), entry.yes)
        before = lifecycle.status_with_waves(directory)
        jobs = lifecycle.resume_submission(directory, store, is_confirmed=entry.yes)
    after = lifecycle.status_with_waves(directory)
    ids = directory.ids()
    line = resumed_line([(len(job.elements), ids[job.name]) for job in jobs], before.elements, after.elements)
    for each in filter(None, (f"{directory.name}: {line}", after.note)):
        console.print(escape(each), soft_wrap=True)
    return 0


def _show_left(console: Console, directory: SubmissionDirectory) -> None:
    """The line of `status` about the elements that are not in the queue yet, after jobs were sent."""
    if directory.waves_file.exists() and (note := lifecycle.status_with_waves(directory).note):
        console.print(escape(note), soft_wrap=True)


def _refuse_missing(directory: SubmissionDirectory, graph: Graph, work: Plan) -> None:
    """Raises InputError if a package or file is missing."""
    if missing := graph.missing_for(work.needed):
        raise InputError(
            "\n".join(missing)
            + f"\nresume {directory.name}: planned without that. Fix it, then run its command without launch.dry_run,"
            f" because package versions are part of the keys: {_command_to_send(directory.read().arguments)}"
        )


def _refuse_unpinned(directory: SubmissionDirectory) -> None:
    """Raises InputError for a dry run with unpinned names: pinning them changes its stages."""
    submission = directory.read()
    if submission.unpinned:
        raise InputError(
            "\n".join(submission.unpinned)
            + f"\nresume {directory.name}: planned without pins. Pin them, then run its command without launch.dry_run:"
            f" {_command_to_send(submission.arguments)}"
        )


def _command_to_send(arguments: Sequence[str]) -> str:
    """The command of a dry run, as a command that submits."""
    kept = [each for each in arguments if each.lstrip("+").partition("=")[0] != "launch.dry_run"]
    return shlex.join(["python", "-m", "sweep", *kept])


def cancel(console: Console, submission: str | None, overrides: Sequence[str]) -> int:
    """Cancel all jobs of a submission."""
    entry = compose_entry(overrides)
    directory = find_own(entry.store, submission)
    opened = [each.name for each in submissions(directory.store) if each.is_open and is_own(each)]
    if len(opened) > 1 and submission is None:
        raise InputError(f"cancel: {len(opened)} submissions are open. Name one: {', '.join(opened)}.")
    consequence = "This cancels jobs of {owner} from the account of {account}."
    _refuse_foreign(console, "cancel", directory, entry, consequence)
    with _exclusive(directory, "cancel"):
        _repair(directory, console)
        count = lifecycle.cancel_submission(directory)
    name = escape(directory.name)
    console.print(f"{name}: {elements_text(count)} cancelled. Finished stages are kept; `resume` continues from there.")
    return 0


def _repair(directory: SubmissionDirectory, console: Console) -> None:
    if directory.repair():
        line = f"{directory.name}: submission.json was damaged and has been restored from its second copy."
        console.print(escape(line), soft_wrap=True)


def _refuse_foreign(
    console: Console, verb: str, directory: SubmissionDirectory, entry: Entry, consequence: str
) -> None:
    """Raises InputError for another user's submission unless --yes is given; with it, prints the consequence."""
    line = refuse_foreign(directory, verb, consequence, entry.yes)
    if line is not None:
        console.print(escape(line), soft_wrap=True)


@contextmanager
def _exclusive(directory: SubmissionDirectory, verb: str) -> Generator[None]:
    """Hold the submission's lock. Raises InputError if another process is submitting or cancelling its jobs."""
    with locked_now(directory.lock_file, LockMode.EXCLUSIVE) as is_ours:
        if not is_ours:
            raise InputError(
                f"{verb} {directory.name}: another process is submitting, resuming or cancelling it. See sweep status."
            )
        yield
