"""Prints a sweep on SLURM: the jobs of its queue, its status, the end of a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from rich.table import Table

from sweep.claims.claim import holder_of
from sweep.claims.holder import HolderState
from sweep.console import Console, escape
from sweep.core.launch import Launch
from sweep.local.show import last_progress, read_progress
from sweep.plain_values import is_list
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.lifecycle import SubmissionStatus
from sweep.slurm.sbatch import log_name, requested_resources, walltime
from sweep.slurm.status import ElementState, ElementStatus
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import StageDirectory, StoreError, read_json
from sweep.store.status_files import failure_line, failure_message
from sweep.worker.stall import SHOWN_S, age_s

COLOURS = {
    ElementState.DONE: "green",
    ElementState.RUNNING: "cyan",
    ElementState.FAILED: "red",
    ElementState.BLOCKED: "yellow",
}
ROWS = 40  # longer lists show only elements that are neither done nor waiting


def show_jobs(console: Console, jobs: Sequence[SlurmJob], launch: Launch) -> None:
    """One row for each sbatch call."""
    table = _table(("job", "elements", "nodes x GPUs", "ranks", "CPUs", "limit", "waits for"), left=("waits for",))
    for job in jobs:
        asked = requested_resources(job.resources, launch)
        throttle = f" ({launch.throttle} at a time)" if launch.throttle and len(job.elements) > launch.throttle else ""
        table.add_row(
            escape(job.name),
            f"{len(job.elements)}{throttle}",
            f"{asked.nodes} x {asked.devices}",
            str(asked.nodes * asked.processes),
            str(asked.cpus or ""),
            walltime(asked.minutes) if asked.minutes else "",
            escape(", ".join([*map(_number, job.after), *(f"{_number(name)} one by one" for name in job.after_each)])),
        )
    elements = sum(len(job.elements) for job in jobs)
    console.print(f"queue: {len(jobs)} jobs, {elements} elements")
    console.print(table)


def _number(job: str) -> str:
    """The number of a job: "02" of "02-traces"."""
    return job.partition("-")[0]


def show_status(console: Console, directory: SubmissionDirectory, current: SubmissionStatus) -> None:
    """Print a summary line and one row for each element."""
    elements = current.elements
    counts = {state: sum(each.state is state for each in elements) for state in ElementState}
    summary = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
    console.print(
        f"[bold]{escape(directory.name)}[/bold]: {summary}. Source: {escape(current.source)}.", soft_wrap=True
    )
    shown = [each for each in elements if each.state not in (ElementState.DONE, ElementState.WAITING)]
    if len(elements) <= ROWS:
        shown = list(elements)
    table = _table(("stage", "what", "job", "state", "elapsed", "progress", "log"), left=("what", "state", "log"))
    for each in shown[:ROWS]:
        table.add_row(*_row(directory, each))
    console.print(table)
    if len(shown) < len(elements) or len(shown) > ROWS:
        console.print(f"{len(elements) - min(len(shown), ROWS)} more, not shown")
    if warnings := _probe_warnings(directory):
        line = f"store, checked by the first job: {'; '.join(warnings)}."
        console.print(f"  [yellow]warning[/yellow]  {escape(line)}", soft_wrap=True)
    for line in _failures(directory, elements):
        console.print(line, soft_wrap=True)
    if directory.published_file.exists():
        console.print(f"published: {escape(_results_place(directory))}", soft_wrap=True)


def show_log(console: Console, directory: SubmissionDirectory, status: ElementStatus, lines: int) -> None:
    """The last lines of one element's log."""
    log = directory.logs / _log(status)
    place = escape(f"{_stage(status)}  {log}")
    console.print(f"[bold]{escape(status.job_id or status.job)}[/bold] {place}", soft_wrap=True)
    if not log.exists():
        console.print("  nothing printed yet")
        return
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]:
        console.print(f"  {escape(line)}", soft_wrap=True)


def _row(directory: SubmissionDirectory, each: ElementStatus) -> Iterator[str]:
    seen = each.seen
    why = f" ({seen.reason})" if seen and seen.reason not in ("", "None", "exit 0:0") else ""
    colour = COLOURS.get(each.state, "default")
    log = directory.logs / _log(each)
    yield escape(_stage(each))
    yield escape(each.element.label[:40])
    yield escape(each.job_id or "")
    yield f"[{colour}]{each.state.value}[/{colour}]{escape(why) if each.state is not ElementState.DONE else ''}"
    yield escape(seen.elapsed) if seen else ""
    yield escape(_progress(directory, each)) if each.state is ElementState.RUNNING else ""
    yield escape(str(log)) if log.exists() else ""


def _stage(each: ElementStatus) -> str:
    stages = each.element.stages
    more = f" +{len(stages) - 1}" if len(stages) > 1 else ""
    return f"{stages[0]}{more}" if stages else "publish"


def _progress(directory: SubmissionDirectory, each: ElementStatus) -> str:
    done, total, unit = 0, 0, ""
    for address in each.element.stages:
        seen = read_progress(StageDirectory(directory.store / address).progress_file)
        done, total, unit = done + seen[0], total + seen[1], seen[2] or unit
    return ", ".join(filter(None, (f"{done:,}/{total:,} {unit}" if total else "", note_of(directory, each))))


def note_of(directory: SubmissionDirectory, each: ElementStatus) -> str:
    """Who else is making the element's stages, or how long ago its last progress was."""
    left = [
        place for address in each.element.stages if not (place := StageDirectory(directory.store / address)).is_done
    ]
    held = next((found for place in left if (found := holder_of(place.path, lambda _: HolderState.AT_WORK))), None)
    if held is not None and held[1] is not HolderState.ENDED and held[0].job != each.job_id:
        return f"waits, held by {held[0]!s}"
    age = age_s(left)
    return last_progress(age) if age is not None and age >= SHOWN_S else ""


def _log(each: ElementStatus) -> str:
    return log_name(each.job, str(each.index))


def _probe_warnings(directory: SubmissionDirectory) -> list[str]:
    """Warnings of the first job about the store, with control characters replaced."""
    if not directory.probe_file.exists():
        return []
    try:
        found = read_json(directory.probe_file).get("warnings")
    except (StoreError, OSError):
        return ["probe.json is damaged"]
    return [_printable(str(warning)) for warning in found] if is_list(found) else []


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def _failures(directory: SubmissionDirectory, elements: Sequence[ElementStatus]) -> Iterator[str]:
    """One line for each failed stage, from its failed.json."""
    for each in elements:
        for address in each.element.stages if each.state is ElementState.FAILED else ():
            failed = StageDirectory(directory.store / address).failed_file
            if failed.exists():
                line = f"{address}  {failure_message(failed)}"
                yield f"  [red]failed[/red]  {escape(line)}"


def _results_place(directory: SubmissionDirectory) -> str:
    with suppress(StoreError, OSError):
        if isinstance(place := read_json(directory.published_file).get("results"), str):
            return failure_line(place)
    return f"to an unknown folder, {directory.published_file.name} is damaged"


def _table(headings: Sequence[str], left: Sequence[str]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if not index or heading in left else "right", no_wrap=True)
    return table
