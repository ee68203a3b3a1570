"""The command `preflight`: check the nodes that a plan would run on, here or in short jobs of a cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from sweep.claims.lock import LockMode, locked_now
from sweep.cli.manual import graph_without_redo, refuse_unpinned
from sweep.cli.slurm import refuse_short_jobs, request_of
from sweep.config.compose import Composition
from sweep.console import Console, escape
from sweep.core.launch import LaunchKind
from sweep.core.pipeline import Graph
from sweep.core.stage import Stage
from sweep.errors import InputError
from sweep.local.execute import run_here
from sweep.plan.graph import Plan, plan
from sweep.preflight.check import CHECKS_FILE, NodeChecks, read_checks, table
from sweep.slurm import client, lifecycle
from sweep.slurm.preflight_jobs import preflight_jobs
from sweep.slurm.sbatch import refuse_unsafe
from sweep.slurm.site_answers import partitions_here
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import StageDirectory, Store, StoreError, read_json
from sweep.store.documents import FailureJson
from sweep.store.status_files import now

LOOK_INTERVAL_S = 5.0


def preflight(console: Console, wait: bool, overrides: Sequence[str]) -> int:
    """Check every kind of node of a plan; returns 1 if a check failed. Without `wait`, jobs are only submitted."""
    composition, graph = graph_without_redo(overrides)
    stages = plan([graph.artifact], lambda stage: False).needed
    checks = tuple(graph.preflight(stages, now()))
    if not checks:
        raise InputError(f"preflight: pipeline {composition.entry.pipeline} checks no nodes. Leave it out.")
    store = Store(composition.entry.store)
    if graph.launch.dry_run:
        _write(console, graph, checks, store, composition)
        return 0
    refuse_unpinned(graph, stages)
    if graph.launch.kind is LaunchKind.LOCAL:
        return _check_here(console, graph, checks, store)
    for line in graph.prefetch(stages):
        console.print(f"  {escape(line)}", soft_wrap=True)
    directory = _submit(graph, checks, store, composition)
    console.print(escape(f"submitted {directory.name}: jobs {', '.join(directory.ids().values())}"), soft_wrap=True)
    if wait:
        return _await(console, directory, checks, store)
    console.print(escape(f"to see what they found: python -m sweep logs {directory.arguments}"), soft_wrap=True)
    return 0


def _check_here(console: Console, graph: Graph, checks: Sequence[Stage], store: Store) -> int:
    for each in checks:
        if each.resources.nodes > 1:
            raise InputError(
                f"machine.nodes {each.resources.nodes}: launch=local checks this machine alone. Choose launch=slurm."
            )
    alone = replace(graph, workers=replace(graph.workers, count=1))  # the checks measure, so not at the same time
    run_here(console, alone, plan(checks, lambda stage: False), store)
    return _show(console, checks, store)


def _write(console: Console, graph: Graph, checks: Sequence[Stage], store: Store, composition: Composition) -> None:
    """A dry run: write the scripts, download and submit nothing."""
    directory = _written(graph, checks, store, composition)
    console.print(escape(f"written, not submitted: {directory.path}"), soft_wrap=True)
    console.print("to submit it: run the same command without launch.dry_run.", soft_wrap=True)
    directory.write_marker(directory.closed_file, why="dry run")


def _written(graph: Graph, checks: Sequence[Stage], store: Store, composition: Composition) -> SubmissionDirectory:
    refuse_unsafe(graph.launch, graph.name, str(store.root.resolve()))
    jobs, work = preflight_jobs(checks, graph.launch, partitions_here), Plan(tuple(checks), (), ())
    refuse_short_jobs(jobs, graph.launch)
    return SubmissionDirectory(lifecycle.write_submission(graph, work, jobs, store, request_of(composition)))


def _submit(graph: Graph, checks: Sequence[Stage], store: Store, composition: Composition) -> SubmissionDirectory:
    client.refuse_without_slurm()
    directory = _written(graph, checks, store, composition)
    with locked_now(directory.lock_file, LockMode.EXCLUSIVE):
        lifecycle.send_in_waves(directory)
    return directory


def _await(console: Console, directory: SubmissionDirectory, checks: Sequence[Stage], store: Store) -> int:
    """Until no job waits or runs; then show what they found."""
    while any(each.state.is_alive for each in lifecycle.submission_status(directory).elements):
        time.sleep(LOOK_INTERVAL_S)
    return _show(console, checks, store)


def _show(console: Console, checks: Sequence[Stage], store: Store) -> int:
    status = 0
    for each in checks:
        directory = store.directory(each)
        found = _read(directory)
        if found is None:
            console.print(escape(f"{each.label}: no result. {_why(directory)}"), soft_wrap=True)
        else:
            console.print(escape(table(found)), soft_wrap=True)
        if found is None or found.failed or not directory.is_done:
            status = 1
    return status


def _read(directory: StageDirectory) -> NodeChecks | None:
    with suppress(OSError, StoreError, InputError):
        return read_checks(directory.path / CHECKS_FILE)
    return None


def _why(directory: StageDirectory) -> str:
    with suppress(OSError, StoreError):
        failure: FailureJson = read_json(directory.failed_file)  # pyright: ignore[reportAssignmentType]
        return failure["message"]
    return f"See {directory.log_file}."
