"""Executes a plan on this machine: worker processes, progress, the result, the mirror.

Publishes the result before it mirrors the final stage. Errors of a mirror never change the exit status.
"""

from __future__ import annotations

import logging
from pathlib import Path

from sweep.console import Console
from sweep.core.pipeline import Graph
from sweep.core.stage import Stage
from sweep.local.show import Live, show_failures, show_results
from sweep.local.workers import JobState, run_plan
from sweep.plan.graph import Plan
from sweep.printable import printable
from sweep.results.publish import Published, finished_stages, publish
from sweep.secrets import redacted
from sweep.store.directory import Store

log = logging.getLogger(__name__)


def execute_plan(console: Console, graph: Graph, work: Plan, store: Store, results: Path) -> Published | None:
    """Run missing stages, publish and show the result, mirror finished stages. Returns None if a stage failed.

    `results` is the folder of all results.
    """
    published = None
    if not work.needed or run_here(console, graph, work, store):
        published = publish(graph, store, results)
        show_results(console, graph, published)
    for stage in finished_stages(graph, store):  # including stages that an earlier run could not mirror
        mirror(graph, stage, store)
    return published


def run_here(console: Console, graph: Graph, work: Plan, store: Store) -> bool:
    """Run the plan and mirror each finished stage but the final one; returns False if a stage failed."""
    with Live(console, store) as live:

        def on_finished(stage: Stage) -> None:
            live.finished(stage)
            if stage.address != graph.artifact.address:
                mirror(graph, stage, store)

        jobs = run_plan(work, store, graph.workers, on_finished, live.tick)
    show_failures(console, jobs, store)
    return all(job.state is JobState.DONE or all(map(store.is_done, job.unit.stages)) for job in jobs)


def mirror(graph: Graph, stage: Stage, store: Store) -> None:
    """Mirror a finished stage if its files match its record; log any exception as a warning."""
    directory = store.directory(stage)
    if faults := directory.new_faults()[0]:
        log.warning("%s is not mirrored: damaged, %s.", stage.address, faults[0])
        return
    try:
        graph.on_finished(stage, directory.path)
    except Exception as error:  # a mirror must not fail the run
        why = printable(redacted(f"{type(error).__name__}: {error}"))
        log.warning("%s is not mirrored (%s).", stage.address, why)
        log.debug("its mirror failed", exc_info=True)
