"""`sweep plan --probe N`: answer a few questions first, so that the plan is estimated from what they took."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweep.claims.lock import LockMode
from sweep.cli.manual import refuse_unpinned
from sweep.cli.spending import ask_before_spending, failure_status, show_limits
from sweep.config.compose import Composition
from sweep.console import Console
from sweep.core.launch import Launch, LaunchKind
from sweep.core.pipeline import Graph
from sweep.core.stage import CodePolicy, Resources, Stage
from sweep.errors import InputError
from sweep.local.execute import run_here
from sweep.local.show import show_plan, usd_text
from sweep.plan.planning import Planned, clear, planned
from sweep.results.costs import spent_on, write_planned
from sweep.slurm.jobs import Element, SlurmJob
from sweep.slurm.sbatch import options_of
from sweep.store.directory import Store

MINUTES = 60  # of the suggested job
OF_BATCH_SCRIPTS = (  # options that srun lacks or that have no use in a terminal
    *("--job-name", "--array", "--signal", "--requeue", "--no-requeue", "--open-mode", "--kill-on-invalid-dep"),
    *("--chdir", "--output", "--error"),
)


def run_probe(console: Console, composition: Composition, graph: Graph, questions: int, seed: int) -> int:
    """Make the stages of the graph's probe on this machine; returns the exit status. Raises InputError.

    What it spends counts for the result of the graph, whose limits hold for it.
    """
    if graph.probe is None:
        raise InputError("--probe: this pipeline has no probe. Leave it out.")
    store = Store(composition.entry.store)
    probe = replace(graph.probe(questions, seed), limits=graph.limits, account=graph.accounted_at)
    with store.held(LockMode.SHARED):
        found = planned(probe, store)
        needed = found.work.needed
        if not needed:
            return 0
        _refuse_login_node(graph, probe, composition.arguments, questions)
        show_plan(console, probe, found, store)
        if show_limits(console, probe, store, needed):
            return 1
        if missing := probe.missing_for(needed):
            raise InputError("\n".join(missing))
        refuse_unpinned(probe, needed)
        _refuse_costly_inputs(probe, found)
        ask_before_spending(console, probe, needed, composition.entry.yes)
        before = spent_on(probe, store)
        write_planned(probe, store, needed)
        clear(store, found, graph.workers.take_over)
        is_made = run_here(console, probe, found.work, store)
        spent = spent_on(probe, store).without(before).usd
        console.print(
            f"probe: spent {usd_text(spent)} USD, which counts towards the cost and the limits of the result",
            soft_wrap=True,
        )
        return 0 if is_made else failure_status(store, needed)


def _refuse_login_node(graph: Graph, probe: Graph, arguments: Sequence[str], questions: int) -> None:
    """Raises InputError where launch=slurm and this is no job: a probe needs the devices of a compute node."""
    if graph.launch.kind is not LaunchKind.SLURM or "SLURM_JOB_ID" in os.environ:
        return
    devices = max(each.resources.devices for each in probe.artifact.dependencies())
    command = f"python -m sweep plan --probe {questions} {shlex.join(arguments)}"
    raise InputError(
        f"--probe {questions}: launch=slurm, and this is not a job: the probe would run on the login node."
        f" Run it in one: {srun_line(graph.launch, devices)} {command}"
    )


def srun_line(launch: Launch, devices: int) -> str:
    """The srun command with what the site's jobs request for generation, for one process that may ask a question."""
    resources = Resources("generate", devices=devices, minutes=MINUTES)
    job = SlurmJob("probe", resources, (Element((), ()),))
    asked = [each for each in options_of(job, launch, "probe", Path(), Path()) if _name(each) not in OF_BATCH_SCRIPTS]
    return shlex.join(["srun", "--pty", *asked])


def _name(option: str) -> str:
    return option.partition("=")[0].split()[0]


def _refuse_costly_inputs(probe: Graph, found: Planned) -> None:
    """Raises InputError if what the probe needs first costs more than `cost.remake_limit_usd`."""
    answers = {stage.address for stage in probe.artifact.dependencies()}
    costly = [each for each in found.work.needed if each.code is CodePolicy.EXPENSIVE and each.address not in answers]
    prices = [_usd(probe, each) for each in costly]
    limit = probe.remake_limit_usd
    if limit is None or (None not in prices and sum(each or 0.0 for each in prices) <= limit):
        return
    first = costly[0]
    known = "an unknown price" if None in prices else f"{usd_text(sum(each or 0.0 for each in prices))} USD"
    raise InputError(
        f"--probe: {first.address} must be made first, at {known}, above cost.remake_limit_usd {limit:g}."
        " Train first with goal=checkpoint, then probe, or raise cost.remake_limit_usd."
    )


def _usd(probe: Graph, stage: Stage) -> float | None:
    estimate = probe.estimates.get(stage.address)
    return 0.0 if estimate is None else estimate.usd
