"""`python -m sweep store`: what a store holds; is it what it was; remove what no result rests on.

    python -m sweep store                        stages by name, what batches share, W&B, results
    python -m sweep store check                  every byte of every product, every shared store; exit status 1: damage
    python -m sweep store check mend=true        sets damaged products aside, to be made again; mends shared stores
    python -m sweep store prune                  what would be removed: what no result rests on (sweep/holdings.py)
    python -m sweep store prune yes=true         removes it
    python -m sweep store prune unfinished=true  the same with what is unfinished or failed, and in no queue
    python -m sweep store release RESULT         keep no longer what this result rests on, given its path, its NAME/KEY
                                                 or the id of its root; the result and the stages stay as they are,
                                                 and prune may remove the stages; yes=true: also of another user

What a result rests on is kept wherever the result lies: the store has a root for each (`python -m sweep results`).

`store=DIR` and `results=DIR` as everywhere. Mending and removing are refused while a sweep is at work in the store, and
leave alone what a worker holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweep.check import check, lost, unchecked
from sweep.compose import compose_entry, pipeline_of
from sweep.console import Console
from sweep.contract import Pipeline
from sweep.errors import InputError
from sweep.inventory import take
from sweep.prune import prune
from sweep.roots import release
from sweep.show_store import show_checked, show_damage, show_holdings, show_lost, show_place, show_pruned, show_released
from sweep.store import Store

SWITCHES: Mapping[str, tuple[str, ...]] = {  # by action
    "": (),
    "check": ("mend",),
    "prune": ("yes", "unfinished"),
    "release": ("yes",),
}


def keep_house(argv: Sequence[str], console: Console) -> int:
    """The sub-command `store`, given what follows it; returns the exit status."""
    if any(argument in ("-h", "--help") for argument in argv):
        console.print(__doc__, markup=False)
        return 0
    action, arguments = _action(argv)
    which, arguments = _which(arguments) if action == "release" else ("", arguments)
    switches, overrides = _switches(arguments, SWITCHES[action])
    entry = compose_entry(overrides)
    store, pipeline = Store(entry.store), pipeline_of(entry.pipeline, "shared")
    show_place(console, store.root, entry.results)
    if action == "check":
        return _check(console, store, pipeline, **switches)
    if action == "release":
        show_released(console, release(store, which, **switches))
        return 0
    if action == "prune":
        pruned = prune(store, entry.results, **switches)
        show_pruned(console, pruned, **switches)
        return 0
    holdings = take(store, entry.results)
    show_holdings(console, holdings, {batch: pipeline.shared(store.shared(batch)) for batch in holdings.shared})
    return 0


def _check(console: Console, store: Store, pipeline: Pipeline, mend: bool) -> int:
    """Exit status 1 if damage is left."""
    places = left = 0
    for checked in check(store, pipeline, mend):
        places += 1
        if checked.mend is not None:
            show_damage(console, checked, checked.mend)
            left += not checked.mend.is_done
    missing = lost(store)
    show_lost(console, missing)
    left += len(missing)
    show_checked(console, places, left, unchecked(store))
    return 1 if left else 0


def _action(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    if not argv or "=" in argv[0]:
        return "", argv
    if argv[0] not in SWITCHES:
        raise InputError(f"store {argv[0]}: no such action. Use store, store check, store prune or store release.")
    return argv[0], argv[1:]


def _which(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The result that is meant, and what follows."""
    if not argv or argv[0].partition("=")[0] in ("store", "results", "pipeline", "yes"):
        raise InputError(
            "store release: which result? Write python -m sweep store release RESULT (its path or NAME/KEY)."
        )
    return argv[0], argv[1:]


def _switches(argv: Sequence[str], known: Sequence[str]) -> tuple[dict[str, bool], list[str]]:
    """The action's own switches, and what is left for the configuration."""
    switches = dict.fromkeys(known, False)
    overrides: list[str] = []
    for argument in argv:
        name, _, value = argument.partition("=")
        if name not in switches:
            overrides.append(argument)
        elif value not in ("true", "false"):
            raise InputError(f"{argument}: not true or false. Write {name}=true.")
        else:
            switches[name] = value == "true"
    return switches, overrides
