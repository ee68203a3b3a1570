"""Costs of a result: what its stages were expected to take when a command planned them, beside what they took.

store/<final stage>/<key>/planned.json   estimates of all stages that commands for this result set out to make
results/<name>/<key>/costs.csv           one row per stage behind the result
results/<name>/<key>/costs.js            the same by stage name, for the page: `window.s1Costs = [...]`

A stage that another result had left in the store was not planned for this one: it is `reused`, and what it took is not
part of what this result cost. A result without planned.json, of an earlier version, has neither.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path

from sweep.core.costs import BESIDE, StageCost, addresses_of, by_name, devices_of, planned_cost
from sweep.core.pipeline import CostEstimate, Graph
from sweep.core.spending import Spending, refusal, total, unchecked_line
from sweep.core.stage import Stage
from sweep.json_files import StoreError, read_json, write_json
from sweep.plain_values import is_table
from sweep.plan.graph import plan
from sweep.store.directory import StageDirectory, Store
from sweep.store.documents import BesideJson, ManifestStage
from sweep.store.spending import (
    Ledger,
    LimitedStage,
    keep_replaced,
    limited_by,
    read_limits,
    recorded_spending,
    tried,
    write_limits,
)

PLANNED = "planned.json"
PRICED = {"tokens", "device_seconds", "usd"}  # what planned.json of earlier versions has


def write_planned(graph: Graph, store: Store, needed: Sequence[Stage]) -> None:
    """Keep the estimates of the stages that are about to be made, with those of earlier commands for this result.

    Also sets the limits of the command for them. Call it before what is made again is set aside: its cost is kept.
    """
    if not needed:
        return
    directory = store.root / graph.accounted_at
    new = {stage.address: _estimate(graph, stage.address) for stage in needed}
    before = _account(graph, store, {})
    kept = {**(read_planned(store, graph.accounted_at) or {}), **new}
    for place in {directory, store.directory(graph.artifact).path}:  # mirrors read it beside the report of each round
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / PLANNED, {address: asdict(each) for address, each in kept.items()}, durable=False)
    _keep_replaced(store, directory, before, new)
    stages = _account(graph, store, new)
    fresh = {address: replace(stages[address], charged_usd=0.0) for address in new if address in stages}
    write_limits(store, graph.accounted_at, graph.limits, {**stages, **fresh}, new)


def _keep_replaced(store: Store, final: Path, made: Mapping[str, LimitedStage], needed: Collection[str]) -> None:
    """Keep what finished stages have cost that were made for this result and are about to be made again."""
    covered_shards = {shard for address in needed if address in made for shard in made[address].shards}
    for address in needed:
        if address not in made or address in covered_shards:
            continue
        stage = made[address]
        others = [shard for shard in stage.shards if shard not in needed]
        covered = total(recorded_spending(store.root, shard, stage.devices) for shard in others)
        keep_replaced(final, address, stage.devices, stage.charged_usd, covered)


def limit_lines(graph: Graph, store: Store, needed: Sequence[Stage]) -> tuple[list[str], list[str]]:
    """Why the plan must not begin within its limits, and what to note about them: at most one line each."""
    if not needed or not graph.limits.is_set:
        return [], []
    addresses = [stage.address for stage in needed]
    stages = _account(graph, store, {address: _estimate(graph, address) for address in addresses})
    if all(stages[each].is_free for each in addresses):
        return [], []
    ledger = Ledger(store.root / graph.accounted_at)
    expected = total(stages[each].expected for each in addresses)
    unknown = [each for each in addresses if stages[each].usd is None]
    refused = refusal(graph.limits, ledger.spent(stages), expected, tried(ledger.workers(), addresses))
    noted = unchecked_line(graph.limits, unknown)
    return [refused] if refused else [], [noted] if noted else []


def spent_on(graph: Graph, store: Store) -> Spending:
    """What was spent on the result of a graph so far."""
    return Ledger(store.root / graph.accounted_at).spent(_account(graph, store, {}))


def spent_beside(graph: Graph, store: Store, stages: Mapping[str, ManifestStage]) -> Spending:
    """What was spent on a result and is in none of its stages: other attempts, probes and earlier rounds."""
    made = [stage for stage in stages.values() if stage.get("reused") is False]
    listed = Spending(sum(each["usd"] for each in made), sum(each.get("device_seconds", 0.0) for each in made))
    beside = spent_on(graph, store).without(listed)
    return Spending(round(beside.usd, 4), round(beside.device_seconds, 1))


def _account(graph: Graph, store: Store, new: Mapping[str, CostEstimate]) -> dict[str, LimitedStage]:
    """All stages that are made for this result, by address: those of earlier commands and those in `new`."""
    made = {**(read_planned(store, graph.accounted_at) or {}), **new}
    known: Mapping[str, LimitedStage] = {}
    with suppress(OSError, StoreError):  # a damaged file is written again
        if (found := read_limits(store.root / graph.accounted_at)) is not None:
            known = found.stages
    return {**known, **_limited_stages(graph, store, made)}


def _estimate(graph: Graph, address: str) -> CostEstimate:
    return graph.estimates.get(address, CostEstimate())


def _limited_stages(graph: Graph, store: Store, made: Mapping[str, CostEstimate]) -> dict[str, LimitedStage]:
    """The stages of a graph that are made for this result, by address."""
    stages = {stage.address: stage for stage in plan([graph.artifact], lambda stage: False).needed}
    return {
        address: LimitedStage(
            usd=made[address].usd,
            device_seconds=made[address].device_seconds,
            devices=devices_of(stage),
            charged_usd=_charged(graph, store, stage),
            shards=tuple(each.address for each in stage.shards),
        )
        for address, stage in stages.items()
        if address in made
    }


def _charged(graph: Graph, store: Store, stage: Stage) -> float:
    """What others have charged for a finished stage, in USD."""
    with suppress(OSError, StoreError):
        return graph.usage(store.directory(stage).read_record()["summary"]).usd
    return 0.0


def read_planned(store: Store, artifact: str) -> dict[str, CostEstimate] | None:
    """Estimates by address, for the result with this final stage; None if no command kept any, or they are damaged."""
    with suppress(OSError, StoreError):
        content = read_json(store.root / artifact / PLANNED)
        names = {each.name for each in fields(CostEstimate)}
        if all(is_table(each) and PRICED <= each.keys() <= names for each in content.values()):
            return {address: CostEstimate(**each) for address, each in content.items()}
    return None


def accounts_of(store: Store, product: str) -> list[str]:
    """Addresses of the final stages beside which costs of a result are kept; for a later round, that of the first."""
    known = [StageDirectory(path).address for path in limited_by([StageDirectory(store.root / product)])]
    return list(dict.fromkeys([*known, product]))


def planned_of(graph: Graph, store: Store, stages: Sequence[Stage]) -> dict[str, CostEstimate | None]:
    """The estimate of each stage, by address: the sum over its shards; None if it was not planned for this result.

    Empty if nothing is known about what was planned.
    """
    known = read_planned(store, graph.accounted_at)
    if known is None:
        return {}
    return {stage.address: planned_cost(known, addresses_of(stage)) for stage in stages}


# -------------------------------------------------------------------------------------------------- the tables


def stage_costs(stages: Mapping[str, ManifestStage], beside: BesideJson | None = None) -> list[StageCost]:
    """One row per stage behind a result, by name and address; and one for what was spent beside them."""
    rows = [_stage_cost(address, stage) for address, stage in sorted(stages.items())]
    return rows if beside is None else [*rows, _beside_cost(beside)]


def _beside_cost(beside: BesideJson) -> StageCost:
    """The row for other attempts, probes and earlier rounds, which are no part of the plan of the result."""
    return StageCost(BESIDE, "", False, 0, 0.0, 0.0, None, beside["device_seconds"], beside["usd"], 0.0)


def _stage_cost(address: str, stage: ManifestStage) -> StageCost:
    planned = stage.get("planned")
    return StageCost(
        name=address.partition("/")[0],
        stage=address,
        reused=stage.get("reused"),
        planned_tokens=planned and planned["tokens"],
        planned_device_seconds=planned and planned["device_seconds"],
        planned_usd=planned and planned["usd"],
        spent_tokens=stage.get("tokens"),
        spent_device_seconds=stage.get("device_seconds"),
        spent_usd=stage["usd"],
        spent_seconds=stage["seconds"],
    )


def costs_csv(rows: Sequence[StageCost]) -> str:
    """Rows as CSV; an unknown value is an empty cell, `reused` is yes, no or empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([each.name for each in fields(StageCost)])
    writer.writerows(row.cells.values() for row in rows)
    return text.getvalue()


def costs_js(rows: Sequence[StageCost]) -> str:
    """Rows of stages as a script for the page: sums by name, each with its `stages`."""
    summed = [
        asdict(each) | {"stages": [asdict(row) for row in rows if row.name == each.name]} for each in by_name(rows)
    ]
    # In HTML a script must not contain "</script>", and U+2028 ended lines in older JavaScript: ASCII has neither.
    return f"window.s1Costs = {json.dumps(summed, indent=1)};\n".replace("</", "<\\/")


SIDE_FILES: Mapping[str, Callable[[Sequence[StageCost]], str]] = {"costs.csv": costs_csv, "costs.js": costs_js}
