"""The commands `run` and `plan`: compose all points, plan them together, run what is missing, show the result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from sweep.claims.lock import LockMode
from sweep.cli.manual import refuse_unpinned
from sweep.cli.probe import run_probe
from sweep.cli.site_check import check_site
from sweep.cli.slurm import show_queue, submit
from sweep.cli.spending import ask_before_spending, failure_status, show_limits
from sweep.config.compose import Composition, compose, pipeline_of
from sweep.console import Console, escape
from sweep.core.launch import LaunchKind
from sweep.core.pipeline import Graph
from sweep.core.provenance import git_problem
from sweep.core.spending import EXIT_LIMIT
from sweep.local.execute import execute_plan
from sweep.local.show import show_code, show_damaged, show_plan
from sweep.plan.code_changes import CodeReport, code_report
from sweep.plan.planning import Planned, clear, planned
from sweep.results.costs import write_planned
from sweep.results.publish import Published, require_place
from sweep.slurm.sbatch import refuse_other_clusters, refuse_unsafe
from sweep.store.directory import Store


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    exit_status: int
    planned: Planned
    published: Published | None = None
    obstacles: tuple[str, ...] = ()  # why nothing was run


def run(console: Console, overrides: Sequence[str]) -> int:
    """Run the experiment that the overrides compose; returns the exit status."""
    return sweep(compose(overrides), console)


def show_only(console: Console, overrides: Sequence[str], probe: int | None = None, probe_seed: int = 0) -> int:
    """Print the plan of the same command and stop; returns the exit status.

    `probe`: first answer so many questions per task, drawn with `probe_seed`, and plan from what they took.
    """
    if probe is not None:
        composition = compose(overrides)
        if status := run_probe(console, composition, graph_of(composition), probe, probe_seed):
            return status
    return run(console, [*overrides, "plan=true"])


def sweep(composition: Composition, console: Console) -> int:
    """Plan one command's points, then run and publish them here, or submit them to SLURM. Returns the exit status.

    A command in rounds goes on until no round is left; on SLURM each command submits one round.
    """
    graph = graph_of(composition)
    while True:
        outcome = run_graph(console, composition, graph)
        if outcome.published is None or not graph.is_in_rounds:
            return outcome.exit_status
        composition = replace(composition, entry=replace(composition.entry, redo=()))
        following = graph_of(composition)
        if following.artifact.address == graph.artifact.address:
            for line in following.notes:
                console.print(escape(line), soft_wrap=True)
            return outcome.exit_status
        graph = following


def graph_of(composition: Composition) -> Graph:
    """The stages of all points, with the notes to show before they run."""
    graph = pipeline_of(composition.entry.pipeline, "graph").graph(composition.points, composition.request)
    unrecorded = [problem] if (problem := git_problem()) else []
    return replace(graph, notes=[*composition.notes, *unrecorded, *graph.notes]).supervised(composition.entry.yes)


def run_graph(console: Console, composition: Composition, graph: Graph) -> Outcome:
    """Plan, show the plan, and run or submit it; with plan=true or an obstacle, stop after the plan."""
    entry, store = composition.entry, Store(composition.entry.store)
    to_queue = graph.launch.kind is LaunchKind.SLURM
    if to_queue:
        refuse_unsafe(graph.launch, graph.name, str(store.root.resolve()))
        refuse_other_clusters(os.environ)
    with nullcontext() if entry.plan else store.held(LockMode.SHARED):
        found = planned(graph, store, entry.redo)
        work, code = found.work, code_report(found, store)
        show_plan(console, graph, found, store)
        show_damaged(console, found, graph.remake_limit_usd)
        show_code(console, code)
        if to_queue and (work.needed or graph.launch.site_check):
            jobs = show_queue(console, graph, work, store)
            if graph.launch.site_check:
                return Outcome(check_site(console, jobs, graph.launch), found)
        is_dry_run = to_queue and graph.launch.dry_run
        over_limit = show_limits(console, graph, store, work.needed)
        obstacles = [*obstacles_of(graph, found, code, can_be_missing=is_dry_run), *over_limit]
        if entry.plan or obstacles:
            is_later_round = bool(over_limit and graph.account)
            if is_later_round:
                console.print("  the next round would exceed the limit: the report of the finished rounds stays.")
            status = 0 if entry.plan else EXIT_LIMIT if is_later_round else 1
            return Outcome(status, found, obstacles=tuple(obstacles))
        if not is_dry_run:
            refuse_unpinned(graph, work.needed)
        require_place(graph, store, entry.results)
        if to_queue and work.needed:
            return Outcome(submit(console, graph, found, composition), found)
        ask_before_spending(console, graph, work.needed, entry.yes)
        write_planned(graph, store, work.needed)
        clear(store, found, entry.yes)
        published = execute_plan(console, graph, work, store, entry.results, composition.arguments)
        return Outcome(0 if published else failure_status(store, work.needed), found, published)


def obstacles_of(graph: Graph, found: Planned, code: CodeReport, can_be_missing: bool = False) -> list[str]:
    """Why the plan cannot run here, or what the user must decide first, one line each."""
    over_limit = (
        f"{address}: damaged, {damage.fault}. Add redo= to make it again."
        for address, damage in found.over_limit.items()
    )
    missing = [] if can_be_missing else graph.missing_for(found.work.needed)
    return [*code.stops, *over_limit, *missing]
