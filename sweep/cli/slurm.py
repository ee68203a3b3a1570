"""Submits a sweep to SLURM; and the commands `status`, `logs`, `resume` and `cancel`.

A submission is named by its ID, the name of its folder in store/submissions; the default is your newest one. Those of
somebody else are only meant by ID, and `resume` and `cancel` want yes=true for them. The commands need the store and,
where there is one, SLURM; the session that submitted may have ended.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sweep.claims.lock import Hold, locked_now
from sweep.cli.manual import planned_again
from sweep.cli.show_slurm import show_jobs, show_log, show_status
from sweep.config.compose import Composition, Entry, compose_entry
from sweep.console import Console, escape
from sweep.core.pipeline import Graph, Launch
from sweep.errors import InputError
from sweep.plan.graph import Plan
from sweep.plan.planning import Planned, clear, planned
from sweep.slurm import client, lifecycle
from sweep.slurm.damaged import damaged_lines, look_at_queue, refuse_twice
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.ownership import foreign_lines, is_own, refuse_foreign
from sweep.slurm.sbatch import asked_of
from sweep.slurm.send import settle
from sweep.slurm.submission import SubmissionDirectory, store_word, submissions, the_submission
from sweep.store.directory import Store

EARLIEST_SIGNAL_MINUTES = 1  # SLURM may send it so much before its time
WATCH_INTERVAL_S = 10.0  # one squeue each time


def show_shape(console: Console, graph: Graph, work: Plan, store: Store) -> None:
    """What the queue would see of a plan."""
    others = lifecycle.queued_elsewhere(store.root)
    show_jobs(console, lifecycle.queue_shape(graph, work, others), graph.launch)
    if others:
        names = ", ".join(sorted({each.job_id.partition("_")[0] for each in others if each.job_id}))
        console.print(f"already in the queue, waited for where needed: jobs {escape(names)}", soft_wrap=True)


def submit(console: Console, graph: Graph, found: Planned, composition: Composition) -> int:
    """Ask, prefetch, write, send; the exit status."""
    launch, store, work = graph.launch, Store(composition.entry.store), found.work
    if launch.dry_run and found.again:
        first = next(iter(found.again))
        raise InputError(f"launch.dry_run true: {first} would be made again, and a dry run leaves it. Submit it.")
    if not launch.dry_run:
        _make_ready(console, graph, work, composition.entry.yes)
    order = lifecycle.SubmissionRequest(
        composition.request.command,
        composition.arguments,
        Path.cwd(),
        composition.entry.results.resolve(),
        composition.request.pins,
    )
    others = lifecycle.queued_elsewhere(store.root, must_know=not launch.dry_run)
    jobs = lifecycle.queue_shape(graph, work, others)
    _refuse_no_time(jobs, launch)
    if not launch.dry_run and not composition.entry.yes:
        refuse_twice(store.root, jobs)
    clear(store, found)
    directory = SubmissionDirectory(lifecycle.write_submission(graph, work, jobs, store, order))
    if launch.dry_run:
        console.print(f"written, not submitted: {escape(str(directory.path))}", soft_wrap=True)
        then = f"to submit it: python -m sweep resume {directory.words}"
        if graph.missing_for(work.needed):
            then = "to submit it: install what is not here, as jobs use this environment, then give the command again."
        elif graph.unpinned(work.needed):
            then = "to submit it: pin what is unpinned, then give the same command without launch.dry_run."
        console.print(escape(then), soft_wrap=True)
        return 0
    with _alone(directory, "submit"):
        ids = lifecycle.send(directory, jobs, before=others)
    console.print(f"submitted {escape(directory.name)}: jobs {escape(', '.join(ids.values()))}", soft_wrap=True)
    where = store_word(directory.store)
    follow = f"to follow it: python -m sweep status | logs | resume | cancel{where and f', each with{where}'}"
    console.print(escape(follow), soft_wrap=True)
    return 0


def _make_ready(console: Console, graph: Graph, work: Plan, yes: bool) -> None:
    """What comes before the first sbatch: ask about the cost, bring here what the jobs cannot fetch."""
    _ask_about_cost(console, graph, work, yes)
    client.refuse_without_slurm()
    for line in graph.prefetch(work.needed):
        console.print(f"  {escape(line)}", soft_wrap=True)


def _refuse_no_time(jobs: Sequence[SlurmJob], launch: Launch) -> None:
    """A job that is told to stop as soon as it starts would go back into the queue for ever."""
    for job in jobs:
        minutes = asked_of(job.resources, launch).minutes
        if minutes is not None and 60 * (minutes - EARLIEST_SIGNAL_MINUTES) <= launch.signal_seconds:
            raise InputError(
                f"launch.signal_seconds {launch.signal_seconds}: {job.name} has {minutes} minutes, and would be told to"
                f" stop as it starts. Lower it, or raise launch.minutes.{job.resources.script}."
            )


def _ask_about_cost(console: Console, graph: Graph, work: Plan, yes: bool) -> None:
    usd = sum(graph.estimates[each.address].usd for each in work.needed if each.address in graph.estimates)
    limit = graph.launch.ask_above_usd
    if yes or usd <= limit:
        return
    if not sys.stdin.isatty():
        raise InputError(f"estimate {usd:,.2f} USD: above launch.ask_above_usd {limit:g}. Add yes=true to submit.")
    if console.input(f"{usd:,.2f} USD estimated. Submit? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("not submitted. Nothing was written.")


def status(console: Console, submission: str | None, watch: bool, overrides: Sequence[str]) -> int:
    """Show the state of a submission; exit status 0 also if elements have failed."""
    directory = _meant(compose_entry(overrides).store, submission)
    known = submissions(directory.store)
    of_others = foreign_lines(known) if submission is None else []
    of_others += damaged_lines([each for each in known if each.name != directory.name])
    while True:
        if directory.is_damaged:
            return _status_of_damaged(directory, console, of_others)
        situation = lifecycle.submission_status(directory)
        show_status(console, directory, situation)
        for line in of_others:
            console.print(escape(line), soft_wrap=True)
        if not watch or not any(each.state.is_alive for each in situation.elements):
            return 0
        time.sleep(WATCH_INTERVAL_S)
        console.clear()


def _status_of_damaged(directory: SubmissionDirectory, console: Console, further: Sequence[str]) -> int:
    remains = look_at_queue(directory)
    alive, asked = "not known", "no squeue answers here"
    if remains.seen is not None:
        alive, asked = ", ".join(remains.alive) or "none of its jobs", "squeue"
    line = f"{directory.name}: damaged. In the queue: {alive}. Asked: {asked}."
    console.print(escape(line), soft_wrap=True)
    for line in [*damaged_lines([directory]), *further]:
        console.print(escape(line), soft_wrap=True)
    return 0


def logs(console: Console, submission: str | None, stage: str | None, lines: int, overrides: Sequence[str]) -> int:
    """Print the last lines of the logs of a submission, or of one stage of it."""
    store = compose_entry(overrides).store
    if stage is None and submission is not None and not (store / "submissions" / submission).is_dir():
        submission, stage = None, submission  # the one word is a stage
    directory = _meant(store, submission)
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
    """Submit what failed or is missing, or all of a dry run."""
    entry = compose_entry(overrides)
    directory = _meant(entry.store, submission)
    consequence = "Its code, {directory}/code, then runs under the account of {account}."
    _refuse_foreign(console, "resume", directory, entry, consequence)
    store = Store(directory.store)
    with store.held(Hold.SHARED), _alone(directory, "resume"):
        _repair(directory, console)
        _refuse_unpinned(directory)
        settle(directory)
        if not directory.ids():  # a dry run: what comes before the first sbatch is still to be done
            composition, graph = planned_again(directory)
            work = planned(graph, store).work
            _refuse_missing(directory, graph, work)
            _make_ready(console, graph, work, composition.entry.yes or entry.yes)
        jobs = lifecycle.resume_submission(directory, store, is_meant=entry.yes)
    if not jobs:
        alive = sum(each.state.is_alive for each in lifecycle.submission_status(directory).elements)
        name = escape(directory.name)
        console.print(f"{name}: nothing failed, nothing is missing; {alive} elements are still under way.")
        return 0
    elements = sum(len(job.elements) for job in jobs)
    ids = directory.ids()
    sent = escape(", ".join(ids[job.name] for job in jobs))
    console.print(f"{escape(directory.name)}: {elements} elements submitted again, jobs {sent}", soft_wrap=True)
    return 0


def _refuse_missing(directory: SubmissionDirectory, graph: Graph, work: Plan) -> None:
    """Jobs use the environment that planned them: what it had not, they would not have."""
    if missing := graph.missing_for(work.needed):
        raise InputError(
            "\n".join(missing)
            + f"\nresume {directory.name}: its jobs use this environment. Then give its command again, as versions are"
            " part of what its answers are."
        )


def _refuse_unpinned(directory: SubmissionDirectory) -> None:
    """A dry run over names without commits holds stages that nobody can make, and pinned they are others."""
    submission = directory.read()
    if submission.unpinned:
        raise InputError(
            "\n".join(submission.unpinned)
            + f"\nresume {directory.name}: written before that. Then give its command again, without launch.dry_run:"
            f" {shlex.join(['python', '-m', 'sweep', *submission.arguments])}"
        )


def cancel(console: Console, submission: str | None, overrides: Sequence[str]) -> int:
    """Cancel all jobs of a submission."""
    entry = compose_entry(overrides)
    directory = _meant(entry.store, submission)
    opened = [each.name for each in submissions(directory.store) if each.is_open and is_own(each)]
    if len(opened) > 1 and submission is None:
        raise InputError(f"cancel: {len(opened)} submissions are open. Name one: {', '.join(opened)}.")
    consequence = "This cancels jobs of {owner} from the account of {account}."
    _refuse_foreign(console, "cancel", directory, entry, consequence)
    with _alone(directory, "cancel"):
        _repair(directory, console)
        count = lifecycle.cancel_submission(directory)
    name = escape(directory.name)
    console.print(f"{name}: {count} elements cancelled. What is done is kept; `resume` goes on from there.")
    return 0


def _repair(directory: SubmissionDirectory, console: Console) -> None:
    if directory.repair():
        line = f"{directory.name}: submission.json was damaged, and is restored from its second copy."
        console.print(escape(line), soft_wrap=True)


def _refuse_foreign(
    console: Console, verb: str, directory: SubmissionDirectory, entry: Entry, consequence: str
) -> None:
    """Raises InputError for a submission of somebody else, unless yes=true; with it, say what that means."""
    line = refuse_foreign(directory, verb, consequence, entry.yes)
    if line is not None:
        console.print(escape(line), soft_wrap=True)


@contextmanager
def _alone(directory: SubmissionDirectory, verb: str) -> Generator[None]:
    """Nobody else sends or cancels jobs of this submission meanwhile. Raises InputError if somebody does."""
    with locked_now(directory.lock_file, Hold.EXCLUSIVE) as is_ours:
        if not is_ours:
            raise InputError(
                f"{verb} {directory.name}: being sent, resumed or cancelled elsewhere at this moment. See sweep status."
            )
        yield


def _meant(store: Path, name: str | None) -> SubmissionDirectory:
    """The submission of that name, or the newest of one's own. Raises InputError if there is none."""
    if name is None and (known := submissions(store)) and not any(map(is_own, reversed(known))):
        of_others = " ".join(foreign_lines(known))
        raise InputError(f"submission: none of yours in {store}. {of_others} Name the one that is meant.")
    return the_submission(store, name, is_own)
