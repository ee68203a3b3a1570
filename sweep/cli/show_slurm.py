"""Prints the jobs of a sweep on SLURM, and the end of a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.table import Table

from sweep.console import Console, escape
from sweep.core.launch import Launch
from sweep.slurm.jobs import SlurmJob, elements_text
from sweep.slurm.sbatch import PLAIN_FIELDS, log_name, requested_resources, walltime
from sweep.slurm.status import ElementStatus
from sweep.slurm.submission import SubmissionDirectory


def show_jobs(console: Console, jobs: Sequence[SlurmJob], launch: Launch, limit: int | None = None) -> None:
    """One row for each sbatch call, then where each kind of job goes. `limit`: most elements in the queue at a time."""
    short = _short_names([job.name for job in jobs])
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("job", overflow="fold")
    for heading in ("elements", "nodes\nx GPUs", "ranks", "CPUs", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("waits for", overflow="fold")
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
            escape(_waits(job, short)),
        )
    elements = sum(len(job.elements) for job in jobs)
    waves = f", sent in waves of at most {limit}" if limit is not None and elements > limit else ""
    console.print(f"queue: {len(jobs)} job{'s' * (len(jobs) != 1)}, {elements_text(elements)}{waves}")
    console.print(table)
    for kind in sorted({job.resources.script for job in jobs}):
        if line := _place(kind, launch):
            console.print(escape(line))


def _short_names(jobs: Sequence[str]) -> dict[str, str]:
    """The numbers of jobs, "02" of "02-traces"; the whole names where several have one number."""
    numbers = Counter(map(_number, jobs))
    return {job: job if numbers[_number(job)] > 1 else _number(job) for job in jobs}


def _waits(job: SlurmJob, short: Mapping[str, str]) -> str:
    """The jobs that a job waits for; whole names on lines of their own."""
    names = [*(short[name] for name in job.after), *(f"{short[name]} one by one" for name in job.after_each)]
    return ("\n" if any("-" in name for name in names) else ", ").join(names)


def _number(job: str) -> str:
    return job.partition("-")[0]


def _place(kind: str, launch: Launch) -> str:
    """Where jobs of a kind go: "cpu: partition main, qos long"; empty where the cluster decides."""
    settings = launch.settings_of(kind)
    given = [f"{field} {value}" for field in PLAIN_FIELDS if (value := getattr(settings, field)) is not None]
    return f"{kind}: {', '.join(given)}" if given else ""


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


def _stage(each: ElementStatus) -> str:
    stages = each.element.stages
    more = f" +{len(stages) - 1}" if len(stages) > 1 else ""
    return f"{stages[0]}{more}" if stages else "publish"


def _log(each: ElementStatus) -> str:
    return log_name(each.job, str(each.index))
