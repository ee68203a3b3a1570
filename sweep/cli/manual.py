"""The commands `prepare`, `pin`, `prefetch` and `publish`: single steps of a sweep, for people and batch scripts.

`prepare` never runs stages that belong to another batch script, and `publish` runs no stages at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from sweep.claims.lock import LockMode
from sweep.cli.spending import ask_before_spending, show_limits
from sweep.config.compose import Composition, compose, pipeline_of
from sweep.console import Console, escape
from sweep.core.pipeline import Graph
from sweep.core.stage import Resources, Stage
from sweep.errors import InputError
from sweep.local.execute import execute_plan, run_here
from sweep.local.mirror import mirror_finished
from sweep.local.show import show_damaged
from sweep.places import expanded
from sweep.plan.graph import Plan, plan
from sweep.plan.planning import clear, planned, recover
from sweep.results.copy import copy_to, refuse_result
from sweep.results.costs import write_planned
from sweep.slurm.jobs import ScriptWork, script_work
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import Store

CPU = Resources().script


def prepare(console: Console, script: str, file: str, overrides: Sequence[str]) -> int:
    """Run the CPU inputs of a batch script and list the script's stages in `file`, one process per line."""
    if not Path(file).absolute().parent.is_dir():
        raise InputError(f"file {file}: its folder does not exist. Create it, or choose another file.")
    composition, graph = graph_without_redo(overrides)
    store = Store(composition.entry.store)
    with store.held(LockMode.SHARED):
        found = planned(graph, store)
        share = script_work(found.work, script, CPU)
        show_damaged(console, found, graph.remake_limit_usd)
        _show_later(console, share)
        if found.over_limit or (share.later and not share.here and not share.units):
            return 1
        chosen = [*share.here, *(stage for unit in share.units for stage in unit.stages)]
        refuse_unpinned(graph, chosen)
        if show_limits(console, graph, store, chosen):
            return 1
        ask_before_spending(console, graph, chosen, composition.entry.yes)
        write_planned(graph, store, chosen)
        clear(store, found)
        here = plan(share.here, lambda stage: store.is_done(stage))
        if here.needed and not run_here(console, graph, here, store):
            return 1
        for unit in share.units:
            for stage in unit.stages:
                store.prepare(stage)
    console.print(f"{sum(len(unit.stages) for unit in share.units)} stages for this {script} job.")
    Path(file).write_text(
        "".join("\t".join(str(store.directory(each).path) for each in unit.stages) + "\n" for unit in share.units),
        encoding="utf-8",
    )
    return 0


def _show_later(console: Console, share: ScriptWork) -> None:
    for stage in share.later:
        line = f"{stage.address} ({stage.label}): needs slurm/{stage.resources.script}.sbatch. Submit that first."
        console.print(f"  [yellow]later[/yellow]  {escape(line)}", soft_wrap=True)


def pin(console: Console, refresh: bool, overrides: Sequence[str]) -> int:
    """Write the commits of models and datasets to pins.lock; with `refresh`, also update those already pinned."""
    composition, graph = graph_without_redo(overrides)
    stages = plan([graph.artifact], lambda stage: False).needed
    is_pinned = True
    for line in graph.pin(stages, refresh):
        console.print(f"  {escape(line)}", soft_wrap=True)
        is_pinned = False
    where = f"pins: {composition.request.pins.resolve()}"
    console.print("nothing to pin: every name already has a commit." if is_pinned else escape(where), soft_wrap=True)
    return 0


def prefetch(console: Console, overrides: Sequence[str]) -> int:
    """Download the models and datasets that the missing stages read."""
    composition, graph = graph_without_redo(overrides)
    work = planned(graph, Store(composition.entry.store)).work
    refuse_unpinned(graph, work.needed)
    lines = list(graph.prefetch(work.needed))
    for line in lines or ["nothing to download."]:
        console.print(f"  {escape(line)}", soft_wrap=True)
    return 0


def publish_again(console: Console, submission: str | None, to: str | None, overrides: Sequence[str]) -> int:
    """Publish the result of a command or a submission, and copy it to `to`. Raises InputError if stages are missing."""
    directory = _submission(submission, overrides) if submission is not None else None
    composition, graph = _to_publish(overrides) if directory is None else planned_again(directory)
    target = expanded("to", to) if to is not None else None
    store = Store(composition.entry.store)
    if target is not None:
        refuse_result(store, target)
    found = planned(graph, store)
    show_damaged(console, found, graph.remake_limit_usd)
    work = found.work
    if work.needed:
        mirror_finished(graph, store)
    _refuse_to_make(work)
    recover(store, found)
    published = execute_plan(console, graph, work, store, composition.entry.results)
    if published is None:
        return 1
    if directory is not None:
        directory.write_marker(directory.published_file, results=str(published.path))
    if target is not None:
        copy_to(published, target)
        console.print(f"copied to {target}", soft_wrap=True, markup=False)
    return 0


def planned_again(directory: SubmissionDirectory) -> tuple[Composition, Graph]:
    """Plan the command of a submission again, in its original working directory."""
    submission = directory.read()
    store, results = Path(submission.store), Path(submission.results)
    with chdir(submission.here):
        composition = compose(submission.arguments)
        composition = dataclasses.replace(
            composition,
            entry=dataclasses.replace(composition.entry, store=store, results=results, redo=()),
            request=dataclasses.replace(
                composition.request,
                store=store,
                store_id=lambda: Store(store).id,
                pins=directory.pins_file,
                product=submission.product,
            ),
        )
        return composition, _graph(composition)


def refuse_unpinned(graph: Graph, stages: Sequence[Stage]) -> None:
    """Raises InputError with a line for each model or dataset without a commit."""
    if lines := graph.unpinned(stages):
        raise InputError("\n".join(lines))


def _to_publish(argv: Sequence[str]) -> tuple[Composition, Graph]:
    """Plan a command, of one in rounds the last that is finished."""
    composition = _without_redo(argv)
    composition = dataclasses.replace(composition, request=dataclasses.replace(composition.request, is_publishing=True))
    return composition, _graph(composition)


def graph_without_redo(argv: Sequence[str]) -> tuple[Composition, Graph]:
    """Plan a composed command that makes nothing again. Raises InputError."""
    composition = _without_redo(argv)
    return composition, _graph(composition)


def _without_redo(argv: Sequence[str]) -> Composition:
    composition = compose(argv)
    if composition.entry.redo:
        raise InputError(f"redo {','.join(composition.entry.redo)}: only `sweep run` makes stages again. Leave it out.")
    return composition


def _submission(path: str, overrides: Sequence[str]) -> SubmissionDirectory:
    directory = SubmissionDirectory(Path(path).resolve())
    if not directory.exists:
        raise InputError(f"publish {path}: no submission there. Name a folder of store/submissions, or set fields.")
    if overrides:
        raise InputError(f"publish {path}: {overrides[0]}: a submission has its own fields. Leave this out.")
    return directory


def _graph(composition: Composition) -> Graph:
    graph = pipeline_of(composition.entry.pipeline, "graph").graph(composition.points, composition.request)
    return graph.supervised(composition.entry.yes)


def _refuse_to_make(work: Plan) -> None:
    if work.needed:
        first = work.needed[0]
        raise InputError(
            f"publish: {len(work.needed)} stages are not finished, first {first.address} ({first.label})."
            " Run them first: python -m sweep resume, or the same command without publish."
        )
