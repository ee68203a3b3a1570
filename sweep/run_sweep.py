"""The commands `run` and `plan`: compose all points, plan them together, run what is missing, show the result."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from sweep.by_hand import refuse_unpinned
from sweep.carry_out import carry_out
from sweep.code_changes import code_report
from sweep.compose import Composition, compose, pipeline_of
from sweep.console import Console
from sweep.contract import LaunchKind
from sweep.launch.slurm_options import refuse_unsafe
from sweep.lock import Hold
from sweep.planning import clear, planned
from sweep.provenance import git_problem
from sweep.publish import require_place
from sweep.queueing import show_shape, submit
from sweep.show import show_code, show_damaged, show_plan
from sweep.store import Store


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
    graph = replace(graph, notes=[*composition.notes, *unrecorded, *graph.notes]).looked_after(entry.yes)
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
        missing = [] if is_dry_run else graph.lacks(work.needed)  # the plan has shown them
        if entry.plan or code.stops or found.dear or missing:
            return 0 if entry.plan else 1
        if not is_dry_run:
            refuse_unpinned(graph, work.needed)
        require_place(graph, store, entry.results)
        if to_queue and work.needed:
            return submit(console, graph, found, composition)
        clear(store, found, entry.yes)
        return 0 if carry_out(console, graph, work, store, entry.results) else 1
