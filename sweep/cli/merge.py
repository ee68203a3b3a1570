"""The command `merge`: one result over the points of several finished results.

The scores are those in the store, as they are; only the statistics and the report are made.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sweep.claims.lock import LockMode
from sweep.config.compose import compose, compose_entry, pipeline_of
from sweep.console import Console
from sweep.core.pipeline import ComposedPoint, FinishedResult, MergeRequest
from sweep.core.recorded import RecordedStage
from sweep.errors import InputError
from sweep.local.execute import execute_plan
from sweep.local.show import show_plan
from sweep.plan.planning import Planned, clear, planned
from sweep.results.costs import write_planned
from sweep.results.find import find_result
from sweep.results.publish import require_place
from sweep.results.result import Result
from sweep.store.directory import Store, StoreError
from sweep.store.recorded import RecordedStages

SWEEP = ("python", "-m", "sweep")


def merge(
    console: Console, results: Sequence[str], name: str, like: str | None, apart: bool, overrides: Sequence[str]
) -> int:
    """Publish one result over the points of several. Raises InputError if they cannot be merged."""
    entry = compose_entry(overrides)
    store = Store(entry.store)
    with store.held(LockMode.SHARED):
        found = [find_result("merge", each, entry.results, store) for each in results]
        _refuse_repeated(results, found)
        chosen = find_result("--like", like, entry.results, store).name if like is not None else None
        if chosen is not None and chosen not in {each.name for each in found}:
            raise InputError(f"--like {like}: not one of the merged results. Name one of {', '.join(results)}.")
        graph = pipeline_of(entry.pipeline, "merged").merged(
            [_finished(each, store) for each in found],
            MergeRequest(name, _command(found, name, chosen, apart), recomposed, chosen, apart),
        )
        work = planned(graph, store)
        _refuse_remaking(work)
        show_plan(console, graph, work, store)
        require_place(graph, store, entry.results)
        write_planned(graph, store, work.work.needed)
        clear(store, work)
        return 0 if execute_plan(console, graph, work.work, store, entry.results) else 1


def recomposed(command: str) -> Sequence[ComposedPoint]:
    """The points of a recorded command. Raises InputError if it does not compose any more."""
    words = shlex.split(command)
    return compose(words[len(SWEEP) :] if tuple(words[: len(SWEEP)]) == SWEEP else words).composed


def _command(found: Sequence[Result], name: str, like: str | None, apart: bool) -> str:
    options = [*(["--like", like] if like else []), *(["--apart"] if apart else [])]
    return shlex.join([*SWEEP, "merge", *(each.name for each in found), "--name", name, *options])


def _refuse_repeated(typed: Sequence[str], found: Sequence[Result]) -> None:
    names = [(each.name, each.manifest.digest) for each in found]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise InputError(f"merge {typed[at]}: {name[0]} is named twice. Name each result once.")
    if len(found) < 2:
        raise InputError(f"merge {typed[0]}: one result. Name at least two.")


def _finished(result: Result, store: Store) -> FinishedResult:
    """The result with its final stage from the store. Raises InputError if the store lacks it."""
    manifest = result.manifest
    if manifest.artifact is None:
        raise InputError(f"merge {result.name}: published by an earlier version. Run its command again.")
    try:
        artifact = RecordedStages(store).read(manifest.artifact)
    except StoreError as error:
        raise InputError(
            f"merge {result.name}: {error} Name its store with --store DIR, or run the command of the result again."
        ) from None
    return FinishedResult(result.name, artifact, manifest.digests)


def _refuse_remaking(found: Planned) -> None:
    """Raises InputError if a stage of a merged result would be made again."""
    reasons = {address: damage.fault for address, damage in found.damaged.items()} | dict(found.again)
    for stage in found.work.needed:
        if isinstance(stage, RecordedStage):
            why = reasons.get(stage.address, "not finished")
            raise InputError(
                f"{stage.address} ({stage.label}): {why}. Run the command of its result again, then merge."
            )
