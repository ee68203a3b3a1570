"""`python -m sweep +experiment=NAME -m`: compose all points, plan them together, run what is missing, show it all."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from sweep.compose import Composition, ask_hydra, compose, is_question_to_hydra, pipeline_of
from sweep.contract import Graph
from sweep.errors import InputError
from sweep.launch.local import State, launch
from sweep.plan import Plan, plan
from sweep.show import Live, show_failures, show_plan, show_results
from sweep.stage import Stage
from sweep.store import Store, StoreError, write_json


def main() -> int:
    """Exit status 0: the result is complete; 1: something is wrong and said; 130: interrupted, to be continued."""
    argv = sys.argv[1:]
    console = Console(highlight=False)
    try:
        if is_question_to_hydra(argv):
            ask_hydra()
            return 0
        return sweep(compose(argv), console)
    except (InputError, StoreError, OSError) as error:
        console.print(f"[red]error[/red] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted: what is finished is kept; the same command goes on from here.")
        return 130


def sweep(composition: Composition, console: Console) -> int:
    """Plan, run and publish one command's points."""
    entry = composition.entry
    pipeline = pipeline_of(entry.pipeline)
    store = Store(entry.store)
    graph = pipeline.graph(composition.points, composition.request)
    work = plan([graph.product], store.is_done)
    show_plan(console, graph, work, store)
    for line in graph.lacking:
        console.print(f"[yellow]not here[/yellow] {escape(line)}", soft_wrap=True)
    if entry.plan:
        return 0
    if graph.lacking:
        return 1
    for stage in finished_stages(graph, store):  # what earlier runs made and could not mirror
        graph.on_finished(stage, store.directory(stage).path)
    if work.needed and not _run(console, graph, work, store):
        return 1
    results = entry.results / graph.name
    publish(graph, store, results)
    show_results(console, graph, results)
    return 0


def _run(console: Console, graph: Graph, work: Plan, store: Store) -> bool:
    """Launch the plan; False if a stage failed."""
    with Live(console, store) as live:

        def on_finished(stage: Stage) -> None:
            live.finished(stage)
            graph.on_finished(stage, store.directory(stage).path)

        jobs = launch(work, store, graph.workers, on_finished, live.tick)
    show_failures(console, jobs, store)
    return all(job.state is State.DONE for job in jobs)


def publish(graph: Graph, store: Store, results: Path) -> None:
    """Copy the product to results/NAME, whole, and say beside it what it was made from and what that cost."""
    if results.exists() and not (results / "manifest.json").exists():
        raise InputError(f"results {results}: there, and not a result of ours. Move it away, or choose another name=.")
    results.parent.mkdir(parents=True, exist_ok=True)
    new, old = (results.with_name(f".{results.name}.{which}") for which in ("new", "old"))
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(store.directory(graph.product).out, new)
    write_json(new / "manifest.json", manifest(graph, store))
    if results.exists():
        results.rename(old)
    new.rename(results)
    shutil.rmtree(old, ignore_errors=True)


def finished_stages(graph: Graph, store: Store) -> list[Stage]:
    """All that the product rests on and that is there, inputs first."""
    return [stage for stage in plan([graph.product], lambda stage: False).needed if store.is_done(stage)]


def manifest(graph: Graph, store: Store) -> Mapping[str, Any]:
    """Every stage behind the product: key, what it took, and the code that made it."""
    records = {each.address: store.directory(each).read_record() for each in finished_stages(graph, store)}
    return {
        "experiment": graph.name,
        "stages": {
            address: {
                "seconds": record["seconds"],
                "usd": record["usd"],
                "summary": record["summary"],
                "commit": record["provenance"]["git"]["commit"],
                "finished_at": record["finished_at"],
            }
            for address, record in records.items()
        },
        "seconds": round(sum(record["seconds"] for record in records.values()), 3),
        "usd": round(sum(record["usd"] for record in records.values()), 6),
        "packages": store.directory(graph.product).read_record()["provenance"]["packages"],
    }


if __name__ == "__main__":
    raise SystemExit(main())
