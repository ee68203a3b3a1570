"""The commands `store`, `store check`, `store prune` and `store release`, and their output.

The store keeps the stages that a result depends on, wherever the result is: it has a root for each result
(`sweep results` lists them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from sweep.config.compose import compose_entry, pipeline_of
from sweep.console import Console, escape
from sweep.core.pipeline import SharedReport
from sweep.json_files import StoreError
from sweep.maintenance.inventory import take_inventory
from sweep.maintenance.prune import Pruned, prune
from sweep.maintenance.retention import Inventory, Removal, RootedStages, StageState, removals, rooted
from sweep.maintenance.verify import Checked, Repair, Unchecked, lost, unchecked, verify_store
from sweep.results.roots import Root, release
from sweep.store.directory import Store


def show(console: Console, overrides: Sequence[str]) -> int:
    """List what the store holds."""
    entry = compose_entry(overrides)
    pipeline, store = pipeline_of(entry.pipeline, "shared"), existing(entry.store)
    show_place(console, store.root, entry.results)
    inventory = take_inventory(store, entry.results)
    show_inventory(console, inventory, {batch: pipeline.shared(store.shared(batch)) for batch in inventory.shared})
    return 0


def check_store(console: Console, repair: bool, overrides: Sequence[str]) -> int:
    """Compare the store with its checksums, with `repair` fix it; returns 1 if damage is left."""
    entry = compose_entry(overrides)
    pipeline, store = pipeline_of(entry.pipeline, "shared"), existing(entry.store)
    show_place(console, store.root, entry.results)
    places = left = 0
    for checked in verify_store(store, pipeline, repair):
        places += 1
        if checked.outcome is not None:
            show_damage(console, checked, checked.outcome)
            left += not checked.outcome.is_done
    missing = lost(store)
    show_lost(console, missing)
    left += len(missing)
    show_checked(console, places, left, unchecked(store))
    return 1 if left else 0


def prune_store(console: Console, unfinished: bool, overrides: Sequence[str]) -> int:
    """List stages that no result depends on; with --yes, remove them."""
    entry = compose_entry(overrides)
    store = existing(entry.store)
    show_place(console, store.root, entry.results)
    show_pruned(console, prune(store, entry.results, entry.yes, unfinished), entry.yes, unfinished)
    return 0


def release_result(console: Console, result: str, overrides: Sequence[str]) -> int:
    """Stop keeping the stages of a result; with --yes, also if another user published it."""
    entry = compose_entry(overrides)
    store = existing(entry.store)
    show_place(console, store.root, entry.results)
    show_released(console, release(store, result, entry.yes))
    return 0


def existing(store: Path) -> Store:
    """The store at a folder. Raises StoreError if there is none, as its name may be misspelt."""
    if not store.is_dir():
        raise StoreError(f"store {store}: does not exist. Name the store with --store, or run an experiment first.")
    return Store(store)


UNITS = ("B", "kB", "MB", "GB", "TB")


def show_inventory(console: Console, inventory: Inventory, reports: Mapping[str, SharedReport]) -> None:
    """Print stages by name, data shared by batches, other folders, removable bytes and results."""
    _show_stages(console, inventory)
    for batch, report in reports.items():
        names = sorted({stage.name for stage in inventory.stages if stage.batch == batch})
        _line(
            console,
            f"shared/{batch}  {size(inventory.shared[batch])}  of {', '.join(names) or 'no stage that is left'}",
        )
        for line in (*report.lines, *report.faults):
            _line(console, f"  {line}")
    for folder, size_bytes in inventory.beside.items():
        _line(console, f"{folder}  {size(size_bytes)}")
    for fault in inventory.faults:
        _line(console, f"damaged  {fault}")
    stages = sum(stage.size_bytes for stage in inventory.stages)
    everything = stages + sum(inventory.shared.values()) + sum(inventory.beside.values())
    free = sum(each.size_bytes for each in removals(inventory))
    _line(console, f"in all {size(everything)}, of which `python -m sweep store prune` would free {size(free)}")
    _line(console, f"results: {len(inventory.results) or 'none'}, listed by `python -m sweep results`")
    _show_elsewhere(console, [each for each in inventory.results if not each.is_there])


def _show_stages(console: Console, inventory: Inventory) -> None:
    rested = rooted(inventory)
    table = _table(("stage", *(state.value for state in StageState), "in a result", "size"))
    for name in sorted({stage.name for stage in inventory.stages}):
        stages = [stage for stage in inventory.stages if stage.name == name]
        counts = [sum(stage.state is state for stage in stages) for state in StageState]
        in_result = sum(stage.address in rested for stage in stages)
        table.add_row(escape(name), *map(_count, [*counts, in_result]), size(sum(stage.size_bytes for stage in stages)))
    console.print(table)


def show_pruned(console: Console, pruned: Pruned, yes: bool, unfinished: bool) -> None:
    """Print what is removed, and separately the unfinished stages that are kept for their sweep to continue."""
    if pruned.gone:
        _show_removals(console, "removed" if yes else "to remove", pruned.gone)
    else:
        console.print("nothing to remove.")
    if pruned.waiting:
        _show_removals(console, "stays, unless --unfinished", pruned.waiting)
    _show_elsewhere(console, pruned.elsewhere)
    if pruned.gone and not yes:
        words = ["prune", *(["--unfinished"] if unfinished else []), "--yes"]
        console.print(f"nothing is removed yet: python -m sweep store {' '.join(words)}")


def show_released(console: Console, root: Root) -> None:
    """Print the released root, and whether the results folder still keeps its stages."""
    _line(console, f"released {root.result.name} (root {root.id}): `store prune` may remove stages nothing else uses.")
    if root.is_there:
        _line(console, f"  {root.result.path} stays; while it is in the results folder, prune keeps its stages too.")


def _show_elsewhere(console: Console, results: Sequence[RootedStages]) -> None:
    for each in results:
        _line(console, f"not there  {each.place}; its stages stay until: python -m sweep store release {each.root}")


def _show_removals(console: Console, heading: str, going: Sequence[Removal]) -> None:
    table = _table((heading, "size", "why", "what"), left=("why", "what"))
    for each in going:
        table.add_row(escape(each.place), size(each.size_bytes), each.kind.value, escape(each.label))
    table.add_row(f"{len(going)} in all", size(sum(each.size_bytes for each in going)), "", "")
    console.print(table)


def show_damage(console: Console, checked: Checked, repair: Repair) -> None:
    """One line for each fault, with its repair."""
    for fault in checked.faults:
        line = escape(f"{checked.place}  {fault}. {repair.value}")
        console.print(f"  [red]damaged[/red]  {line}", soft_wrap=True)


def show_lost(console: Console, lines: Sequence[str]) -> None:
    """One line for each missing stage that a result depends on."""
    for line in lines:
        console.print(f"  [red]lost[/red]  {escape(line)}", soft_wrap=True)


def show_checked(console: Console, checked: int, damaged: int, left: Unchecked) -> None:
    """Print the totals of the check."""
    old = f" {left.artifacts} predate checksums: unchecked." if left.artifacts else ""
    _line(console, f"{checked} stages and shared stores checked, {damaged} damaged.{old}")
    if left.records:
        _line(console, f"{left.records} records predate record checksums: unchecked.")


def show_place(console: Console, store: Path, results: Path) -> None:
    """Print the store and results folder that the command uses."""
    _line(console, f"store {store}, results {results}")


def size(size_bytes: int) -> str:
    """A size such as 1.2 MB, in powers of 1000 like disk sizes."""
    value, unit = float(size_bytes), UNITS[0]
    for unit in UNITS:
        if value < 999.5 or unit == UNITS[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"


def _table(headings: Sequence[str], left: Sequence[str] = ()) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if not index or heading in left else "right", no_wrap=True)
    return table


def _count(count: int) -> str:
    return f"{count:,}" if count else ""


def _line(console: Console, text: str) -> None:
    console.print(escape(text), soft_wrap=True)
