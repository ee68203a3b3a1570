"""`launch.site_check=true`: ask the cluster which settings it would refuse, and submit nothing."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweep.console import Console, escape
from sweep.core.launch import Launch
from sweep.places import shipped
from sweep.slurm import client
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.sbatch import options_of, script_of
from sweep.slurm.site_answers import Site, site_here
from sweep.slurm.site_check import refusals


def check_site(console: Console, jobs: Sequence[SlurmJob], launch: Launch) -> int:
    """Print a line for each setting that would be refused; 1 if there is one. Raises InputError without SLURM."""
    client.refuse_without_slurm()
    site = site_here()
    console.print(escape(f"site check: {_asked(site)}"), soft_wrap=True)
    lines = [*refusals(jobs, launch, site), *_refused_by_sbatch(jobs, launch)]
    for line in lines:
        console.print(f"  [red]refused[/red]  {escape(line)}", soft_wrap=True)
    if not lines:
        console.print("  no setting was refused, as far as the cluster answered; nothing was submitted", soft_wrap=True)
    return 1 if lines else 0


def _asked(site: Site) -> str:
    parts = (
        "partitions unknown" if site.partitions is None else f"{len(site.partitions)} partitions",
        "nodes unknown" if site.nodes is None else f"{len(site.nodes)} nodes",
        "no accounting" if site.associations is None else f"{len(site.associations)} associations of yours",
    )
    return ", ".join(parts)


def _refused_by_sbatch(jobs: Sequence[SlurmJob], launch: Launch) -> Iterator[str]:
    """The words of `sbatch --test-only`, for one job of each kind, without array and dependency."""
    kinds = {job.resources: job for job in reversed(jobs)}
    with tempfile.TemporaryDirectory() as folder:
        for job in reversed(kinds.values()):
            single = dataclasses.replace(job, elements=job.elements[:1])
            body = (shipped("slurm") / f"{job.resources.script}.sbatch").read_text(encoding="utf-8")
            options = options_of(single, launch, f"site-check-{job.stage}", Path(folder), Path(folder))
            script = Path(folder) / f"{job.resources.script}.sbatch"
            script.write_text(script_of(body, options), encoding="utf-8")
            if (message := client.test_only(script)) is not None:
                yield f"{job.name} (slurm/{script.name}): sbatch says: {message}."
