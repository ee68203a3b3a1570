"""`sweep plan --probe N`: answer a few questions first, so that the plan is estimated from what they took."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from sweep.claims.lock import LockMode
from sweep.cli.manual import refuse_unpinned
from sweep.config.compose import Composition
from sweep.console import Console
from sweep.core.launch import LaunchKind
from sweep.core.pipeline import Graph
from sweep.core.stage import CodePolicy, Stage
from sweep.errors import InputError
from sweep.local.execute import run_here
from sweep.local.show import show_plan, usd_text
from sweep.plan.planning import Planned, clear, planned
from sweep.store.directory import Store

MINUTES = 60  # of the suggested job


def run_probe(console: Console, composition: Composition, graph: Graph, questions: int, seed: int) -> bool:
    """Make the stages of the graph's probe on this machine; returns False if one failed. Raises InputError."""
    if graph.probe is None:
        raise InputError("--probe: this pipeline has no probe. Leave it out.")
    store, probe = Store(composition.entry.store), graph.probe(questions, seed)
    workers = graph.workers
    with store.held(LockMode.SHARED):
        found = planned(probe, store)
        if not found.work.needed:
            return True
        _refuse_login_node(graph, probe, composition.arguments, questions)
        show_plan(console, probe, found, store)
        if missing := probe.missing_for(found.work.needed):
            raise InputError("\n".join(missing))
        refuse_unpinned(probe, found.work.needed)
        _refuse_costly_inputs(probe, found)
        clear(store, found, workers.take_over)
        return run_here(console, probe, found.work, store)


def _refuse_login_node(graph: Graph, probe: Graph, arguments: Sequence[str], questions: int) -> None:
    """Raises InputError where launch=slurm and this is no job: a probe needs the devices of a compute node."""
    if graph.launch.kind is not LaunchKind.SLURM or "SLURM_JOB_ID" in os.environ:
        return
    devices = max(each.resources.devices for each in probe.artifact.dependencies())
    partition_name = graph.launch.settings_of("generate").partition
    partition = f" --partition={partition_name}" if partition_name else ""
    gpus = f" --gres=gpu:{devices}" if devices else ""
    command = f"python -m sweep plan --probe {questions} {shlex.join(arguments)}"
    raise InputError(
        f"--probe {questions}: launch=slurm, and this is not a job: the probe would run on the login node."
        f" Run it in one: srun{partition}{gpus} --time={MINUTES} {command}"
    )


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
        " Train with goal=checkpoint and probe then, or raise cost.remake_limit_usd."
    )


def _usd(probe: Graph, stage: Stage) -> float | None:
    estimate = probe.estimates.get(stage.address)
    return 0.0 if estimate is None else estimate.usd
