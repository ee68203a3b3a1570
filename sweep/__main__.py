"""`python -m sweep +experiment=NAME -m`: compose all points, plan them together, run what is missing, show it all.

A first word that sets no field is a sub-command: `python -m sweep store`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace

from sweep.by_hand import pin, prefetch, prepare, publish_again, refuse_unpinned
from sweep.carry_out import carry_out
from sweep.code_changes import code_report
from sweep.compose import Composition, ask_hydra, compose, is_question_to_hydra, pipeline_of
from sweep.console import Console, escape
from sweep.contract import LaunchKind
from sweep.errors import InputError
from sweep.housekeeping import keep_house
from sweep.interrupt import interrupt_on_hang_up
from sweep.launch.slurm_options import refuse_unsafe
from sweep.lock import Hold
from sweep.permission import explained
from sweep.planning import clear, planned
from sweep.provenance import git_problem
from sweep.publish import require_place
from sweep.queueing import cancel, logs, resume, show_shape, status, submit
from sweep.results import list_results
from sweep.show import show_code, show_damaged, show_plan
from sweep.store import Store, StoreError

COMMANDS: Mapping[str, Callable[[Sequence[str], Console], int]] = {
    "store": keep_house,
    "status": status,
    "logs": logs,
    "resume": resume,
    "cancel": cancel,
    "pin": pin,
    "prefetch": prefetch,
    "prepare": prepare,
    "publish": publish_again,
    "results": list_results,
}


def main() -> int:
    """Exit status 0: the result is complete; 1: something is wrong and said; 130: interrupted, to be continued."""
    argv = sys.argv[1:]
    console = Console()
    interrupt_on_hang_up()
    try:
        if argv and is_word(argv[0]):
            return command(argv[0])(argv[1:], console)
        if is_question_to_hydra(argv):
            ask_hydra()
            return 0
        return sweep(compose(argv), console)
    except (InputError, StoreError) as error:
        console.print(f"[red]error[/red] {escape(str(error))}", soft_wrap=True)
        return 1
    except OSError as error:
        with suppress(OSError):  # it may be the terminal that is gone
            console.print(f"[red]error[/red] {escape(explained(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        with suppress(OSError):  # after a hang-up nobody reads it
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


if __name__ == "__main__":
    raise SystemExit(main())
