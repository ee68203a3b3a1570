"""Prints the plan before a run, progress during it, and the table and paths at its end."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import wrap

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from sweep.console import Console, escape
from sweep.core.costs import Amount, Quantity, amount, totals
from sweep.core.interrupt import EXIT_REQUEUE
from sweep.core.launch import LaunchKind
from sweep.core.pipeline import CostEstimate, Graph
from sweep.core.stage import Stage
from sweep.local.workers import JobState, WorkerJob
from sweep.plan.code_changes import CodeReport
from sweep.plan.graph import ConfigChange, Unit, explain, flatten
from sweep.plan.planning import Planned
from sweep.plan.schedule import wall_time
from sweep.printable import printable
from sweep.results.costs import stage_costs
from sweep.results.publish import Published
from sweep.store.directory import Store
from sweep.store.documents import StageJson
from sweep.store.status_files import failure_line, failure_message, is_limited
from sweep.worker.stall import SHOWN_S, age_s

DIFFERENCES_SHOWN = 2
MOST_DIFFERENCES = 6  # of a stage that is called similar
LABELS_SHOWN = 3
VALUE_CHARACTERS = 30
PRICE_SHOWN_USD = 0.01  # damaged stages below this price are made again without showing it
LEAST_COLUMNS = 40
WIDEST_FIGURE = 16  # characters of "[100.0, 100.0]" or a key; longer cells are texts


def show_plan(console: Console, graph: Graph, found: Planned, store: Store) -> None:
    """Print a row per unit or batch to run, with reason and price, and a row per reused stage name."""
    plan = found.work
    console.print(
        f"[bold]{escape(graph.name)}[/bold]: {graph.points} points, {len(plan.needed)} stages to run,"
        f" {len(plan.reused)} reused. Store: {escape(str(store.root))}"
    )
    show_unpinned(console, graph.unpinned(plan.needed))
    for line in graph.missing_for(plan.needed):
        console.print(f"  [yellow]not here[/yellow]  {escape(line)}", soft_wrap=True)
    if not plan.needed:
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("stage", "run", "why", "tokens", "device time", "USD"):
        table.add_column(heading, justify="left" if heading in ("stage", "why") else "right")
    made: dict[str, Mapping[str, StageJson]] = {}
    for units in _together(plan.units):
        name, stages = units[0].name, [stage for unit in units for stage in unit.stages]
        if name not in made:
            made[name] = store.made(name)
        why = _why(stages, len(units), made[name], found.again)
        table.add_row(escape(name), str(len(stages)), why, *_price(stages, graph.estimates))
    for name in dict.fromkeys(stage.name for stage in plan.reused):
        keys = [stage.key for stage in plan.reused if stage.name == name]
        table.add_row(f"[dim]{escape(name)}[/dim]", "0", f"[dim]{len(keys)} reused: {_some(keys)}[/dim]", "", "", "")
    total = _price(plan.needed, graph.estimates)
    table.add_row("[bold]estimated[/bold]", str(len(plan.needed)), "", *(f"[bold]{each}[/bold]" for each in total))
    console.print(table)
    for line in (*_total_lines(graph, found), *graph.notes):
        _show_note(console, line)


def _show_note(console: Console, line: str) -> None:
    """Print a line that fits the terminal; elsewhere it stays whole, however long."""
    columns = max(LEAST_COLUMNS, console.width) if console.is_terminal else len(line) + 4
    pieces = wrap(line, columns, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    console.print(escape("\n".join(pieces)), soft_wrap=True)


def show_unpinned(console: Console, lines: Sequence[str]) -> None:
    """Print names without a commit, and the command that pins them."""
    for line in lines:
        console.print(f"  [yellow]unpinned[/yellow]  {escape(line)}", soft_wrap=True)


def show_damaged(console: Console, found: Planned, limit_usd: float | None) -> None:
    """Print finished stages whose files or record changed since they were published, and how they are handled."""
    for address in found.restored:
        console.print(
            f"  [yellow]restored[/yellow]  {address}  its record is lost or damaged; the second copy is intact."
        )
    for address, damage in found.damaged.items():
        price = "at an unknown price" if damage.usd is None else f"for {usd_text(damage.usd)} USD"
        action = "It is set aside and made again."
        if damage.usd is not None and damage.usd >= PRICE_SHOWN_USD:
            action = f"{action} It cost {usd_text(damage.usd)} USD."
        if address in found.over_limit:
            name = address.partition("/")[0]
            higher = f"as does a cost.remake_limit_usd above {limit_usd:g}"
            action = f"redo={name} makes it again {price}, {higher}. Left as it is."
        console.print(f"  [red]damaged[/red]  {address}  {escape(damage.fault)}. {action}", soft_wrap=True)


def show_code(console: Console, code: CodeReport) -> None:
    """Print stages that were made by different code."""
    for line in code.reused:
        console.print(f"  [yellow]other code[/yellow]  {escape(line)}", soft_wrap=True)
    for line in code.stops:
        console.print(f"  [red]other output[/red]  {escape(line)}", soft_wrap=True)
    if code.unknown:
        console.print(f"  [dim]{code.unknown} stages predate the recording of code: reused[/dim]")


def _together(units: Sequence[Unit]) -> list[list[Unit]]:
    """Group the units of each batch."""
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        first = unit.stages[0]
        groups.setdefault(f"{first.run} {first.batch}" if first.batch else first.address, []).append(unit)
    return list(groups.values())


def _why(stages: Sequence[Stage], workers: int, made: Mapping[str, StageJson], again: Mapping[str, str]) -> str:
    side_by_side = f"{workers} workers" if workers > 1 else ""
    label = _some(list(dict.fromkeys(stage.label for stage in stages if stage.label)))
    reason = next((again[stage.address] for stage in stages if stage.address in again), None)
    reason = reason or _code_changed(stages, made)
    identities = {key: described["identity"] for key, described in made.items()}
    return escape(
        "; ".join(filter(None, (side_by_side, label, reason or _departure(explain(stages[0].identity(), identities)))))
    )


def _code_changed(stages: Sequence[Stage], made: Mapping[str, StageJson]) -> str | None:
    """Changed files compared with the most similar code that made the same stage; None if none did."""
    here = flatten(stages[0].identity().get("code", {}))
    same = [each for each in made.values() if each.get("request_key") == stages[0].request_key]
    if not same:
        return None
    names = min((_differing(here, flatten(each["identity"].get("code", {}))) for each in same), key=len)
    what = f"code changed ({_some(names)})" if names else "its inputs were made by other code"
    return f"{what}, {len(stages)} {'stage is' if len(stages) == 1 else 'stages are'} made again"


def _differing(here: Mapping[str, object], there: Mapping[str, object]) -> list[str]:
    """Names of files and packages that differ."""
    return sorted(name.split(".", 1)[-1] for name in {**there, **here} if there.get(name) != here.get(name))


def _departure(difference: ConfigChange | None) -> str:
    """The fields of the most similar stage that were changed; nothing of one that shares little with it."""
    if difference is None or len(difference.fields) > MOST_DIFFERENCES:
        return "none made yet"
    fields = {name: values for name, values in difference.fields.items() if not name.startswith("inputs.")}
    changed = [
        f"{name.removeprefix('config.')} {_short(there)} -> {_short(here)}" for name, (there, here) in fields.items()
    ]
    return f"nearest {difference.nearest_key}: {_some(changed, DIFFERENCES_SHOWN) or 'other inputs'}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= VALUE_CHARACTERS else f"{text[: VALUE_CHARACTERS - 3]}..."


def _some(items: Sequence[str], most: int = LABELS_SHOWN) -> str:
    rest = f", +{len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + rest


def _price(stages: Sequence[Stage], estimates: Mapping[str, CostEstimate]) -> tuple[str, str, str]:
    """Tokens, device time and USD: "unknown", or "at least" what is known."""
    found = [estimates[stage.address] for stage in stages if stage.address in estimates]
    tokens, seconds, usd = (amount(found, each) for each in Quantity)
    no_tokens = "" if not (tokens.known or tokens.unknown) else f"{tokens.known:,.0f}"
    return (
        _bounded(tokens, no_tokens),
        _bounded(seconds, duration_text(seconds.known)),
        _bounded(usd, usd_text(usd.known)),
    )


def _bounded(total: Amount, text: str) -> str:
    if not total.unknown:
        return text
    return f"at least {text}" if total.known else "unknown"


def _total_lines(graph: Graph, found: Planned) -> list[str]:
    """Interval, wall-clock time and disk of the stages to run, a line each."""
    plan = found.work
    estimates = [graph.estimates[each.address] for each in plan.needed if each.address in graph.estimates]
    tokens, seconds, usd = (amount(estimates, each) for each in Quantity)
    lines: list[str] = []
    if tokens.low < tokens.high:
        lines.append(
            f"95% interval: {tokens.low:,.0f} to {tokens.high:,.0f} tokens, device time {duration_text(seconds.low)} to"
            f" {duration_text(seconds.high)}, {usd_text(usd.low)} to {usd_text(usd.high)} USD"
        )
    is_queued = graph.launch.kind is LaunchKind.SLURM
    taken = wall_time(plan, graph.estimates, graph.launch.throttle if is_queued else graph.workers.count)
    if taken.seconds or not taken.is_complete:
        bound = "about" if taken.is_complete else "at least"
        place = "once all jobs have started" if is_queued else f"with machine.workers={graph.workers.count}"
        known = f"{bound} {duration_text(taken.seconds)}" if taken.seconds else "unknown"
        lines.append(f"wall clock: {known} {place}")
    if disk := sum(each.disk_bytes or 0 for each in estimates):
        bound = "at least" if any(each.disk_bytes is None for each in estimates) else "about"
        lines.append(f"disk: {bound} {bytes_text(disk)} in the store")
    return lines


def bytes_text(count: int) -> str:
    """1.5 GiB, 12 MiB, 3 KiB."""
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 2**10:.0f} KiB"


def usd_text(usd: float) -> str:
    """Cents matter where it is cheap."""
    return f"{usd:.4f}" if usd < 1 else f"{usd:,.2f}"


def duration_text(seconds: float) -> str:
    """1.5 h, 12 min, 8 s: as much as an estimate deserves."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 90:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s"


class Live:
    """Progress bars, one per running unit, read from the progress files of its stages."""

    def __init__(self, console: Console, store: Store) -> None:
        self.store = store
        self.console = console
        self.bars: dict[int, TaskID] = {}
        self.waiting: set[int] = set()  # indices of workers reported as waiting for another process
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )

    def __enter__(self) -> Live:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def finished(self, stage: Stage) -> None:
        record = self.store.directory(stage).read_record()
        place, took = escape(f"{stage.address}  {stage.label}"), duration_text(record["seconds"])
        self.console.print(f"  [green]done[/green]  {place}  [dim]{took}[/dim]")

    def tick(self, jobs: Sequence[WorkerJob]) -> None:
        for index, job in enumerate(jobs):
            self._show_waiting(index, job)
            if job.state is JobState.RUNNING:
                self._update(index, job)
            elif index in self.bars:
                self.progress.update(self.bars[index], visible=False)

    def _show_waiting(self, index: int, job: WorkerJob) -> None:
        """Print a line when a worker starts to wait for another process, and when it continues."""
        if job.state is not JobState.RUNNING or (job.held_by is not None) == (index in self.waiting):
            return
        left = [stage for stage in job.unit.stages if not self.store.is_done(stage)]
        if not left:
            return
        if job.held_by is not None:
            self.waiting.add(index)
            line = f"{left[0].address}  held by {escape(str(job.held_by))}"
            self.console.print(f"  [yellow]waiting[/yellow]  {line}", soft_wrap=True)
        else:
            self.waiting.discard(index)
            self.console.print(f"  [cyan]going on[/cyan]  {left[0].address}  that process has ended", soft_wrap=True)

    def _update(self, index: int, job: WorkerJob) -> None:
        done, total, unit = 0, 0, ""
        for stage in job.unit.stages:
            seen = read_progress(self.store.directory(stage).progress_file)
            done, total, unit = done + seen[0], total + seen[1], seen[2] or unit
        if index not in self.bars:
            self.bars[index] = self.progress.add_task(job.unit.name, total=None, unit="")
        note = _note(job, self.store)
        self.progress.update(self.bars[index], completed=done, total=total or None, unit=printable(f"{unit}{note}"))


def _note(job: WorkerJob, store: Store) -> str:
    """A note if another process makes the worker's stages, or there was no progress for a while."""
    idle_s = job.watch.idle_s if job.watch is not None else 0.0
    if job.held_by is not None:
        idle_s = age_s([store.directory(stage) for stage in job.unit.stages]) or 0.0
    held = ", made by another process" if job.held_by is not None else ""
    return held + (f", {last_progress(idle_s)}" if idle_s >= SHOWN_S else "")


def last_progress(age_s: float) -> str:
    """The text "last progress 12 min ago"."""
    return f"last progress {duration_text(age_s)} ago"


def read_progress(path: Path) -> tuple[int, int, str]:
    """Done, total and unit of progress.json, the unit on one line; zeros if it cannot be read."""
    try:
        seen = json.loads(path.read_text(encoding="utf-8"))
        return int(seen["done"]), int(seen["total"]), failure_line(str(seen["unit"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0, 0, ""


def show_failures(console: Console, jobs: Sequence[WorkerJob], store: Store) -> None:
    """Print stage, reason and log of each failed unit, and a line for each blocked one."""
    for job in jobs:
        if job.state is JobState.FAILED:
            stage = next((each for each in job.unit.stages if not store.is_done(each)), None)
            if stage is None:
                console.print(f"  {escape(job.unit.name)}: failed here, but another process has finished it.")
                continue
            line = escape(f"{stage.address}  {_reason(job, store.directory(stage).failed_file)}")
            is_stopped = is_limited(store.directory(stage).failed_file)
            state = "[yellow]stopped[/yellow]" if is_stopped else "[red]failed[/red]"
            console.errors.print(f"  {state}  {line}", soft_wrap=True)
            console.errors.print(f"          log: {escape(str(job.log))}", soft_wrap=True)
        if job.state is JobState.BLOCKED:
            stages = f"{escape(job.unit.stages[0].name)} ({len(job.unit.stages)} stages)"
            console.errors.print(f"  [yellow]blocked[/yellow]  {stages}", soft_wrap=True)


def _reason(job: WorkerJob, failed: Path) -> str:
    """Why a unit failed, from failed.json or the worker's exit status."""
    if failed.exists():
        return failure_message(failed)
    status = job.process.returncode if job.process else None
    if status == EXIT_REQUEUE:
        return "interrupted after saving its state. Run the same command to continue."
    if status == os.EX_IOERR:
        reason = _last_line(job.log)
        return f"the store cannot be written: {reason} Free some space, or fix that, then run the same command again."
    return f"the worker ended with status {status}. See its log."


def _last_line(log: Path | None) -> str:
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log is not None else []
        return next((f"{line.strip().rstrip('.')}." for line in reversed(lines) if line.strip()), "its disk is full.")
    return "its log cannot be read."


def show_results(console: Console, graph: Graph, published: Published) -> None:
    """Print the result's table, remarks and warnings, and the paths of its files."""
    console.print(result_table(graph.table(published.path)))
    for line in published.manifest["remarks"]:
        console.print(f"  [dim]{escape(line)}[/dim]", soft_wrap=True)
    if found := totals(stage_costs(published.manifest["stages"], published.manifest.get("beside"))):
        console.print(f"  [dim]{found.line}[/dim]", soft_wrap=True)
    for line in published.warnings:
        console.print(f"  [yellow]warning[/yellow]  {escape(line)}", soft_wrap=True)
    for path in sorted(published.path.iterdir()):
        console.print(f"  {escape(str(path))}", soft_wrap=True)


def result_table(rows: Sequence[Mapping[str, str]]) -> Table:
    """Build a table that never truncates figures: headings and texts (first column, long cells) wrap."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for index, heading in enumerate(rows[0]):
        widest = max(len(row[heading]) for row in rows)
        folds = index == 0 or widest > WIDEST_FIGURE
        lines = "\n".join(wrap(heading, max(widest, *(len(word) + 2 for word in heading.split()), 1)))
        table.add_column(escape(lines), justify="right" if index else "left", no_wrap=not folds, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row.values()))
    return table
