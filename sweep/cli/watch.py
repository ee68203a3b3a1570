"""The command `watch`: follow a run on this machine or on SLURM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweep.cli.run import graph_of
from sweep.cli.table import PLACES
from sweep.cli.watch_screen import follow
from sweep.cli.watch_stages import CommandStages, StoreStages, SubmissionStages, WatchedStages
from sweep.config.compose import compose, compose_entry
from sweep.console import Console, escape
from sweep.core.pipeline import Graph
from sweep.errors import InputError
from sweep.plan.graph import plan
from sweep.slurm.ownership import find_own, is_own
from sweep.slurm.submission import SubmissionDirectory, submissions
from sweep.store.directory import Store


def watch(console: Console, submission: str | None, every: float | None, overrides: Sequence[str]) -> int:
    """Follow a submission, the run of a command, or whatever is being made in the store; 0 if all becomes done."""
    fields = [each for each in overrides if each.partition("=")[0] not in PLACES]
    if submission is not None and fields:
        raise InputError(f"watch {submission}: {fields[0]}: a submission has its own fields. Leave this out.")
    if fields:
        return follow(console, [_command(overrides)], every)
    store = Store(compose_entry(overrides).store)
    if submission is not None:
        return follow(console, [SubmissionStages(_submission(store.root, submission))], every)
    followed: list[WatchedStages] = list(map(SubmissionStages, filter(is_own, _opened(store))))
    made_here = StoreStages(store)
    followed += [made_here] if made_here.look().is_alive else []
    if not followed:
        console.print(escape(f"nothing is being made in {store.root}."), soft_wrap=True)
        return 0
    return follow(console, followed, every)


def _command(overrides: Sequence[str]) -> WatchedStages:
    """The newest submission of a command if there is one that is open, otherwise its stages in the store."""
    composition = compose(overrides)
    graph, store = graph_of(composition), Store(composition.entry.store)
    directory = _submission_of(graph, store)
    if directory is not None:
        return SubmissionStages(directory)
    return CommandStages(graph.name, plan([graph.artifact], lambda stage: False).needed, store)


def _submission_of(graph: Graph, store: Store) -> SubmissionDirectory | None:
    newest_first = reversed(_opened(store))
    return next((each for each in newest_first if each.read().product == graph.artifact.address), None)


def _opened(store: Store) -> list[SubmissionDirectory]:
    return [each for each in submissions(store.root) if each.is_open and not each.is_damaged]


def _submission(store: Path, named: str) -> SubmissionDirectory:
    """The submission of that id, or the newest of that experiment."""
    of_name = [each for each in submissions(store) if not each.is_damaged and each.read().name == named]
    return of_name[-1] if of_name else find_own(store, named)
