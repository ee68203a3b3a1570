"""The commands `run` and `plan`: compose all points, plan them together, run what is missing, show the result."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from sweep.claims.lock import Hold
from sweep.cli.manual import refuse_unpinned
from sweep.cli.slurm import show_shape, submit
from sweep.config.compose import Composition, compose, pipeline_of
from sweep.console import Console
from sweep.core.pipeline import LaunchKind
from sweep.core.provenance import git_problem
from sweep.local.execute import execute_plan
from sweep.local.show import show_code, show_damaged, show_plan
from sweep.plan.code_changes import code_report
from sweep.plan.planning import clear, planned
from sweep.results.publish import require_place
from sweep.slurm.sbatch import refuse_unsafe
from sweep.store.directory import Store


def run(console: Console, overrides: Sequence[str]) -> int:
    """Run the experiment that the overrides compose; returns the exit status."""
    return sweep(compose(overrides), console)


def show_only(console: Console, overrides: Sequence[str]) -> int:
    """Print the plan of the same command and stop; returns the exit status."""
    return run(console, [*overrides, "plan=true"])


def sweep(composition: Composition, console: Console) -> int:
    """Plan one command's points; run and publish them here, or send them to SLURM."""
    entry = composition.entry
    pipeline = pipeline_of(entry.pipeline, "graph")
    store = Store(entry.store)
    graph = pipeline.graph(composition.points, composition.request)
    unrecorded = [problem] if (problem := git_problem()) else []
    graph = replace(graph, notes=[*composition.notes, *unrecorded, *graph.notes]).supervised(entry.yes)
    to_queue = graph.launch.kind is LaunchKind.SLURM
    if to_queue:
        refuse_unsafe(graph.launch, graph.name, str(store.root.resolve()))
    with nullcontext() if entry.plan else store.held(Hold.SHARED):
        found = planned(graph, store, entry.redo)
        work, code = found.work, code_report(found, store)
        show_plan(console, graph, found, store)
        show_damaged(console, found, graph.limit_usd)
        show_code(console, code)
        if to_queue and work.needed:
            show_shape(console, graph, work, store)
        is_dry_run = to_queue and graph.launch.dry_run
        missing = [] if is_dry_run else graph.missing_for(work.needed)  # the plan has shown them
        if entry.plan or code.stops or found.over_limit or missing:
            return 0 if entry.plan else 1
        if not is_dry_run:
            refuse_unpinned(graph, work.needed)
        require_place(graph, store, entry.results)
        if to_queue and work.needed:
            return submit(console, graph, found, composition)
        clear(store, found, entry.yes)
        return 0 if execute_plan(console, graph, work, store, entry.results) else 1
