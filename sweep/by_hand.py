"""What the batch scripts of slurm/ ask for when a person submits them, and their last word.

    python -m sweep prepare sft FILE +experiment=NAME ... -m     make here what the stages of that script need and GPUs
                                                                 do not; list the stages in FILE, a process each line
    python -m sweep pin +experiment=NAME ... -m                  resolve models and datasets that are named without a
                                                                 commit, and write pins.lock; refresh=true: also those
                                                                 that have a line there
    python -m sweep prefetch +experiment=NAME ... -m             bring models and datasets here, where there is internet
    python -m sweep publish +experiment=NAME ... -m              copy a result whose stages are all done to
                                                                 results/NAME/KEY; to=DIR: from there also to a folder
                                                                 that holds nothing, or an earlier copy, which it
                                                                 replaces
    python -m sweep publish store/submissions/ID                 the same for a submission; its last job

`prepare` never makes what belongs into another kind of job, and `publish` makes nothing at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from sweep.carry_out import carry_out, run_here
from sweep.compose import Composition, compose, pipeline_of
from sweep.console import Console, escape
from sweep.contract import Graph
from sweep.copying import copy_to, refuse_result
from sweep.errors import InputError
from sweep.launch.by_script import Share, share_of
from sweep.launch.submission import SubmissionDirectory
from sweep.lock import Hold
from sweep.plan import Plan, plan
from sweep.planning import clear, planned, recover
from sweep.show import show_damaged
from sweep.stage import Resources, Stage
from sweep.store import Store

CPU = Resources().script
REFRESH = "refresh"
TO = "to="


def prepare(argv: Sequence[str], console: Console) -> int:
    """The sub-command `prepare`, given what follows it; returns the exit status."""
    if len(argv) < 3:
        raise InputError("prepare: says too little. Write python -m sweep prepare SCRIPT FILE OVERRIDE... -m.")
    script, file = argv[0], Path(argv[1])
    composition, graph = _graph_of(argv[2:])
    store = Store(composition.entry.store)
    with store.held(Hold.SHARED):
        found = planned(graph, store)
        share = share_of(found.work, script, CPU)
        show_damaged(console, found, graph.limit_usd)
        _say_later(console, share)
        if found.dear or (share.later and not share.here and not share.units):
            return 1
        refuse_unpinned(graph, [*share.here, *(stage for unit in share.units for stage in unit.stages)])
        clear(store, found)
        here = plan(share.here, lambda stage: store.is_done(stage))
        if here.needed and not run_here(console, graph, here, store):
            return 1
        for unit in share.units:
            for stage in unit.stages:
                store.prepare(stage)
    console.print(f"{sum(len(unit.stages) for unit in share.units)} stages for this {script} job.")
    file.write_text(
        "".join("\t".join(str(store.directory(each).path) for each in unit.stages) + "\n" for unit in share.units),
        encoding="utf-8",
    )
    return 0


def _say_later(console: Console, share: Share) -> None:
    for stage in share.later:
        line = f"{stage.address} ({stage.label}): slurm/{stage.resources.script}.sbatch has to be submitted for it."
        console.print(f"  [yellow]later[/yellow]  {escape(line)}", soft_wrap=True)


def pin(argv: Sequence[str], console: Console) -> int:
    """The sub-command `pin`, given what follows it; returns the exit status."""
    switches = [each for each in argv if each.partition("=")[0] == REFRESH]
    if any(each not in (f"{REFRESH}=true", f"{REFRESH}=false") for each in switches):
        raise InputError(f"{switches[0]}: neither true nor false. Write {REFRESH}=true to resolve every name again.")
    composition, graph = _graph_of([each for each in argv if each not in switches])
    stages = plan([graph.product], lambda stage: False).needed
    is_pinned = True
    for line in graph.pin(stages, f"{REFRESH}=true" in switches):
        console.print(f"  {escape(line)}", soft_wrap=True)
        is_pinned = False
    where = f"pins: {composition.request.pins.resolve()}"
    console.print("nothing to pin: all has its commit already." if is_pinned else escape(where), soft_wrap=True)
    return 0


def prefetch(argv: Sequence[str], console: Console) -> int:
    """The sub-command `prefetch`, given what follows it; returns the exit status."""
    composition, graph = _graph_of(argv)
    work = planned(graph, Store(composition.entry.store)).work
    refuse_unpinned(graph, work.needed)
    lines = list(graph.prefetch(work.needed))
    for line in lines or ["nothing to download."]:
        console.print(f"  {escape(line)}", soft_wrap=True)
    return 0


def publish_again(argv: Sequence[str], console: Console) -> int:
    """The sub-command `publish`, given what follows it; returns the exit status. Raises InputError if stages miss."""
    target, argv = _target(argv)
    directory = _submission(argv)
    composition, graph = _graph_of(argv) if directory is None else planned_again(directory)
    store = Store(composition.entry.store)
    if target is not None:
        refuse_result(store, target)
    found = planned(graph, store)
    show_damaged(console, found, graph.limit_usd)
    work = found.work
    _refuse_to_make(work)
    recover(store, found)
    published = carry_out(console, graph, work, store, composition.entry.results)
    if published is None:
        return 1
    if directory is not None:
        directory.mark(directory.published_file, results=str(published.path))
    if target is not None:
        copy_to(published, target)
        console.print(f"copied to {target}", soft_wrap=True, markup=False)
    return 0


def _target(argv: Sequence[str]) -> tuple[Path | None, Sequence[str]]:
    """Where `to=` says that a copy is wanted, relative to the working directory; and the other arguments."""
    given = [each.partition("=")[2] for each in argv if each.startswith(TO)]
    if len(given) > 1 or "" in given:
        raise InputError("to: one folder, please. Write to=DIR.")
    others = [each for each in argv if not each.startswith(TO)]
    return (Path(given[0]).expanduser().absolute() if given else None), others


def planned_again(directory: SubmissionDirectory) -> tuple[Composition, Graph]:
    """The command of a submission once more, whose relative paths mean the directory where it was given."""
    submission = directory.read()
    store, results = Path(submission.store), Path(submission.results)
    with chdir(submission.here):
        composition = compose(submission.arguments)
        composition = dataclasses.replace(
            composition,
            entry=dataclasses.replace(composition.entry, store=store, results=results, redo=()),
            request=dataclasses.replace(
                composition.request, store=store, store_id=lambda: Store(store).id, pins=directory.pins_file
            ),
        )
        return composition, _graph(composition)


def refuse_unpinned(graph: Graph, stages: Sequence[Stage]) -> None:
    """What is to be made or fetched has its commits. Raises InputError, a line for each name that has none."""
    if lines := graph.unpinned(stages):
        raise InputError("\n".join(lines))


def _graph_of(argv: Sequence[str]) -> tuple[Composition, Graph]:
    composition = compose(argv)
    if composition.entry.redo:
        raise InputError(
            f"redo {','.join(composition.entry.redo)}: taken by the sweep itself alone. Leave it out here."
        )
    return composition, _graph(composition)


def _submission(argv: Sequence[str]) -> SubmissionDirectory | None:
    directory = SubmissionDirectory(Path(argv[0]).resolve()) if len(argv) == 1 else None
    return directory if directory and directory.exists else None


def _graph(composition: Composition) -> Graph:
    graph = pipeline_of(composition.entry.pipeline, "graph").graph(composition.points, composition.request)
    return graph.looked_after(composition.entry.yes)


def _refuse_to_make(work: Plan) -> None:
    if work.needed:
        first = work.needed[0]
        raise InputError(
            f"publish: {len(work.needed)} stages are not done, {first.address} ({first.label}) is the first."
            " Make them first: python -m sweep resume, or the same command without publish."
        )
