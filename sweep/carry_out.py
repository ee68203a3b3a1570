"""Carry a plan out on this machine: worker processes, progress, the mirror, the result."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from sweep.contract import Graph
from sweep.launch.local import State, launch
from sweep.plan import Plan
from sweep.publish import finished_stages, publish
from sweep.show import Live, show_failures, show_results
from sweep.stage import Stage
from sweep.store import Store


def carry_out(console: Console, graph: Graph, work: Plan, store: Store, results: Path) -> int:
    """Run what is missing, publish and show the result; the exit status."""
    for stage in finished_stages(graph, store):  # what earlier runs made and could not mirror
        graph.on_finished(stage, store.directory(stage).path)
    if work.needed and not run_here(console, graph, work, store):
        return 1
    remarks = publish(graph, store, results)["remarks"]
    show_results(console, graph, results, remarks)
    return 0


def run_here(console: Console, graph: Graph, work: Plan, store: Store) -> bool:
    """Launch the plan; False if a stage failed."""
    with Live(console, store) as live:

        def on_finished(stage: Stage) -> None:
            live.finished(stage)
            graph.on_finished(stage, store.directory(stage).path)

        jobs = launch(work, store, graph.workers, on_finished, live.tick)
    show_failures(console, jobs, store)
    return all(job.state is State.DONE for job in jobs)
