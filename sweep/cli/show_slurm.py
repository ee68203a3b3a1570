"""Prints the jobs of a sweep on SLURM, and the end of a log."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from sweep.console import Console, escape
from sweep.core.launch import Launch
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.sbatch import log_name, requested_resources, walltime
from sweep.slurm.status import ElementStatus
from sweep.slurm.submission import SubmissionDirectory


def show_jobs(console: Console, jobs: Sequence[SlurmJob], launch: Launch) -> None:
    """One row for each sbatch call."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("job", overflow="fold")
    for heading in ("elements", "nodes\nx GPUs", "ranks", "CPUs", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("waits for")
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
