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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields

from sweep.core.costs import StageCost, addresses_of, by_name, devices_of, planned_cost
from sweep.core.pipeline import CostEstimate, Graph
from sweep.core.spending import Spending, refusal, total, unchecked_line
from sweep.core.stage import Stage
from sweep.json_files import StoreError, read_json, write_json
from sweep.plain_values import is_table
from sweep.plan.graph import plan
from sweep.store.directory import Store
from sweep.store.documents import ManifestStage
from sweep.store.spending import Ledger, LimitedStage, tried, write_limits

PLANNED = "planned.json"
PRICED = {"tokens", "device_seconds", "usd"}  # what planned.json of earlier versions has


def write_planned(graph: Graph, store: Store, needed: Sequence[Stage]) -> None:
    """Keep the estimates of the stages that are about to be made, with those of earlier commands for this result.

    Also sets the limits of the command for them.
    """
    if not needed:
        return
    directory = store.directory(graph.artifact).path
    directory.mkdir(parents=True, exist_ok=True)
    new = {stage.address: _estimate(graph, stage.address) for stage in needed}
    kept = {**(read_planned(store, graph.artifact.address) or {}), **new}
    write_json(directory / PLANNED, {address: asdict(each) for address, each in kept.items()}, durable=False)
    write_limits(store, graph.artifact.address, graph.limits, _limited_stages(graph, store, kept), new)


def limit_lines(graph: Graph, store: Store, needed: Sequence[Stage]) -> tuple[list[str], list[str]]:
    """Why the plan must not begin within its limits, and what to note about them: at most one line each."""
    if not needed or not graph.limits.is_set:
        return [], []
    addresses = [stage.address for stage in needed]
    kept = {
        **(read_planned(store, graph.artifact.address) or {}),
        **{address: _estimate(graph, address) for address in addresses},
    }
    stages = _limited_stages(graph, store, kept)
    if all(stages[each].is_free for each in addresses):
        return [], []
    ledger = Ledger(store.directory(graph.artifact).path)
    expected = total(stages[each].expected for each in addresses).without(tried(ledger.workers(), addresses))
    unknown = [each for each in addresses if stages[each].usd is None]
    refused = refusal(graph.limits, _spent(ledger, stages, addresses), expected)
    noted = unchecked_line(graph.limits, unknown)
    return [refused] if refused else [], [noted] if noted else []


def _spent(ledger: Ledger, stages: Mapping[str, LimitedStage], needed: Sequence[str]) -> Spending:
    """What was spent on a result, without the records of stages that are made again."""
    return ledger.spent({address: stage for address, stage in stages.items() if address not in needed})


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


def planned_of(graph: Graph, store: Store, stages: Sequence[Stage]) -> dict[str, CostEstimate | None]:
    """The estimate of each stage, by address: the sum over its shards; None if it was not planned for this result.

    Empty if nothing is known about what was planned.
    """
    known = read_planned(store, graph.artifact.address)
    if known is None:
        return {}
    return {stage.address: planned_cost(known, addresses_of(stage)) for stage in stages}


# -------------------------------------------------------------------------------------------------- the tables


def stage_costs(stages: Mapping[str, ManifestStage]) -> list[StageCost]:
    """One row per stage behind a result, by name and address."""
    return [_stage_cost(address, stage) for address, stage in sorted(stages.items())]


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
