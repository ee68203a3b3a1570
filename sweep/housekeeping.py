"""The commands `store`, `store check`, `store prune` and `store release`.

What a result rests on is kept wherever the result lies: the store has a root for each (`sweep results` lists them).
"""

from __future__ import annotations

from collections.abc import Sequence

from sweep.check import check, lost, unchecked
from sweep.compose import compose_entry, pipeline_of
from sweep.console import Console
from sweep.inventory import take
from sweep.prune import prune
from sweep.roots import release
from sweep.show_store import show_checked, show_damage, show_holdings, show_lost, show_place, show_pruned, show_released
from sweep.store import Store


def show(console: Console, overrides: Sequence[str]) -> int:
    """List what the store holds."""
    entry = compose_entry(overrides)
    store, pipeline = Store(entry.store), pipeline_of(entry.pipeline, "shared")
    show_place(console, store.root, entry.results)
    holdings = take(store, entry.results)
    show_holdings(console, holdings, {batch: pipeline.shared(store.shared(batch)) for batch in holdings.shared})
    return 0


def check_store(console: Console, repair: bool, overrides: Sequence[str]) -> int:
    """Compare the store with its checksums, and repair it if asked to; exit status 1 if damage is left."""
    entry = compose_entry(overrides)
    store, pipeline = Store(entry.store), pipeline_of(entry.pipeline, "shared")
    show_place(console, store.root, entry.results)
    places = left = 0
    for checked in check(store, pipeline, repair):
        places += 1
        if checked.mend is not None:
            show_damage(console, checked, checked.mend)
            left += not checked.mend.is_done
    missing = lost(store)
    show_lost(console, missing)
    left += len(missing)
    show_checked(console, places, left, unchecked(store))
    return 1 if left else 0


def prune_store(console: Console, unfinished: bool, overrides: Sequence[str]) -> int:
    """List what no result rests on; with yes=true, remove it."""
    entry = compose_entry(overrides)
    store = Store(entry.store)
    show_place(console, store.root, entry.results)
    show_pruned(console, prune(store, entry.results, entry.yes, unfinished), entry.yes, unfinished)
    return 0


def release_result(console: Console, result: str, overrides: Sequence[str]) -> int:
    """Keep the stages that a result rests on no longer; with yes=true, also if another user published it."""
    entry = compose_entry(overrides)
    store = Store(entry.store)
    show_place(console, store.root, entry.results)
    show_released(console, release(store, result, entry.yes))
    return 0
