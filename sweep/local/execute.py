"""Executes a plan on this machine: worker processes, progress, the result, the mirror.

A mirror that follows stages in progress runs beside it, as a process of its own (sweep/local/watcher.py); any other
comes after the result is published. Errors of a mirror never change the exit status.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from sweep.console import Console
from sweep.core.pipeline import Graph
from sweep.local.mirror import mirror_finished
from sweep.local.show import Live, show_failures, show_results
from sweep.local.watcher import watcher
from sweep.local.workers import JobState, run_plan
from sweep.plan.graph import Plan
from sweep.results.publish import Published, publish
from sweep.store.directory import Store


def execute_plan(
    console: Console, graph: Graph, work: Plan, store: Store, results: Path, arguments: Sequence[str] = ()
) -> Published | None:
    """Run missing stages, publish and show the result, mirror finished stages. Returns None if a stage failed.

    `results` is the folder of all results, `arguments` those of the command, with which another process can plan it.
    """
    published = None
    is_watched = bool(work.needed and arguments and graph.live is not None)
    with watcher(arguments, store.root) if is_watched else nullcontext():
        if not work.needed or run_here(console, graph, work, store):
            published = publish(graph, store, results)
            show_results(console, graph, published)
    if not is_watched:
        mirror_finished(graph, store)  # including stages that an earlier run could not mirror
    return published


def run_here(console: Console, graph: Graph, work: Plan, store: Store) -> bool:
    """Run the plan; returns False if a stage failed."""
    with Live(console, store) as live:
        jobs = run_plan(work, store, graph.workers, live.finished, live.tick)
    show_failures(console, jobs, store)
    return all(job.state is JobState.DONE or all(map(store.is_done, job.unit.stages)) for job in jobs)
