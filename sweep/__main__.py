"""`python -m sweep +experiment=NAME -m`: compose all points, plan them together, run what is missing, show it all.

A first word that sets no field is a sub-command: `python -m sweep store`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from sweep.compose import Composition, ask_hydra, compose, is_question_to_hydra, pipeline_of
from sweep.contract import Graph
from sweep.errors import InputError
from sweep.housekeeping import keep_house
from sweep.launch.local import State, launch
from sweep.lock import Hold
from sweep.plan import Plan, plan
from sweep.show import Live, show_damaged, show_failures, show_plan, show_results
from sweep.stage import Stage
from sweep.store import StageDirectory, Store, StoreError, write_json

COMMANDS: Mapping[str, Callable[[Sequence[str], Console], int]] = {"store": keep_house}


def main() -> int:
    """Exit status 0: the result is complete; 1: something is wrong and said; 130: interrupted, to be continued."""
    argv = sys.argv[1:]
    console = Console(highlight=False)
    try:
        if argv and is_word(argv[0]):
            return command(argv[0])(argv[1:], console)
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


def is_word(argument: str) -> bool:
    """Neither a flag nor an override."""
    return argument[:1].isalpha() and "=" not in argument


def command(word: str) -> Callable[[Sequence[str], Console], int]:
    """The sub-command of that name. Raises InputError if there is none."""
    if word not in COMMANDS:
        raise InputError(f"{word}: no such command. Known: {', '.join(COMMANDS)}; a field is set with {word}=VALUE.")
    return COMMANDS[word]


def sweep(composition: Composition, console: Console) -> int:
    """Plan, run and publish one command's points."""
    entry = composition.entry
    pipeline = pipeline_of(entry.pipeline)
    store = Store(entry.store)
    graph = pipeline.graph(composition.points, composition.request)
    with nullcontext() if entry.plan else store.held(Hold.SHARED):
        work, damaged = sound_plan(graph, store)
        show_plan(console, graph, work, store)
        show_damaged(console, damaged)
        if entry.plan or graph.lacking:
            return 0 if entry.plan else 1
        for address in damaged:
            StageDirectory(store.root / address).set_aside(StageDirectory.faults)
        return _carry_out(console, graph, work, store, entry.results / graph.name)


def sound_plan(graph: Graph, store: Store) -> tuple[Plan, Mapping[str, str]]:
    """The plan, and by address what is wrong with finished stages that it makes again: a file is gone, or cut."""
    damaged: dict[str, str] = {}

    def is_sound(stage: Stage) -> bool:
        faults = store.directory(stage).faults()
        if faults:
            damaged[stage.address] = faults[0]
        return store.is_done(stage) and not faults

    return plan([graph.product], is_sound), damaged


def _carry_out(console: Console, graph: Graph, work: Plan, store: Store, results: Path) -> int:
    for stage in finished_stages(graph, store):  # what earlier runs made and could not mirror
        graph.on_finished(stage, store.directory(stage).path)
    if work.needed and not _run(console, graph, work, store):
        return 1
    remarks = publish(graph, store, results)["remarks"]
    show_results(console, graph, results, remarks)
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


def publish(graph: Graph, store: Store, results: Path) -> Mapping[str, Any]:
    """Copy the product to results/NAME, whole, and say beside it what it was made from and what that cost."""
    if results.exists() and not (results / "manifest.json").exists():
        raise InputError(f"results {results}: there, and not a result of ours. Move it away, or choose another name=.")
    results.parent.mkdir(parents=True, exist_ok=True)
    new, old = (results.with_name(f".{results.name}.{which}") for which in ("new", "old"))
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(store.directory(graph.product).out, new)
    made_from = manifest(graph, store)
    write_json(new / "manifest.json", made_from)
    if results.exists():
        results.rename(old)
    new.rename(results)
    shutil.rmtree(old, ignore_errors=True)
    return made_from


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
        "remarks": list(graph.remarks({address: record["summary"] for address, record in records.items()})),
        "seconds": round(sum(record["seconds"] for record in records.values()), 3),
        "usd": round(sum(record["usd"] for record in records.values()), 6),
        "packages": store.directory(graph.product).read_record()["provenance"]["packages"],
    }


if __name__ == "__main__":
    raise SystemExit(main())
