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
from dataclasses import asdict, dataclass, fields

from sweep.core.pipeline import CostEstimate, Graph
from sweep.core.stage import Stage
from sweep.json_files import StoreError, read_json, write_json
from sweep.plain_values import is_table
from sweep.store.directory import Store
from sweep.store.documents import ManifestJson, ManifestStage, PlannedCostJson

PLANNED = "planned.json"
HOURLY_PRICE = "usd_per_hour"  # in the settings of stages that occupy devices


def write_planned(graph: Graph, store: Store, needed: Sequence[Stage]) -> None:
    """Keep the estimates of the stages that are about to be made, with those of earlier commands for this result."""
    if not needed:
        return
    directory = store.directory(graph.artifact).path
    directory.mkdir(parents=True, exist_ok=True)
    new = {stage.address: asdict(graph.estimates.get(stage.address, CostEstimate())) for stage in needed}
    write_json(directory / PLANNED, {**(_read_planned(graph, store) or {}), **new}, durable=False)


def _read_planned(graph: Graph, store: Store) -> dict[str, PlannedCostJson] | None:
    """Estimates by address; None if no command kept any, or the file is damaged."""
    with suppress(OSError, StoreError):
        content = read_json(store.directory(graph.artifact).path / PLANNED)
        names = {each.name for each in fields(CostEstimate)}
        if all(is_table(each) and each.keys() == names for each in content.values()):
            return content
    return None


def planned_of(graph: Graph, store: Store, stages: Sequence[Stage]) -> dict[str, PlannedCostJson | None]:
    """The estimate of each stage, by address: the sum over its shards; None if it was not planned for this result.

    Empty if nothing is known about what was planned.
    """
    known = _read_planned(graph, store)
    if known is None:
        return {}
    return {
        stage.address: _sum([known[each.address] for each in (stage, *stage.shards) if each.address in known])
        for stage in stages
    }


def _sum(estimates: Sequence[PlannedCostJson]) -> PlannedCostJson | None:
    if not estimates:
        return None
    return {
        "tokens": sum(each["tokens"] for each in estimates),
        "device_seconds": round(sum(each["device_seconds"] for each in estimates), 3),
        "usd": round(sum(each["usd"] for each in estimates), 6),
    }


def devices_of(stage: Stage) -> int:
    """Devices that a stage occupies; 0 for one that has no hourly price. A laptop's processor counts as one."""
    made = stage.shards[0] if stage.shards else stage
    return made.resources.nodes * max(1, made.resources.devices) if HOURLY_PRICE in made.settings else 0


# -------------------------------------------------------------------------------------------------- the tables


@dataclass(frozen=True)
class StageCost:
    """Planned and spent cost of one stage, or of all stages of a name. None: unknown, or nothing was planned."""

    name: str
    stage: str  # address; "": all of this name
    reused: bool | None  # whether an earlier result had made it; None: unknown
    planned_tokens: int | None
    planned_device_seconds: float | None
    planned_usd: float | None
    spent_tokens: int | None
    spent_device_seconds: float | None
    spent_usd: float
    spent_seconds: float  # of wall-clock time


@dataclass(frozen=True)
class CostTotals:
    """Sums over a result, in USD; what was reused had been spent before."""

    planned_usd: float
    spent_usd: float
    reused_usd: float

    @property
    def line(self) -> str:
        reused = f"; what it reuses had cost {_usd(self.reused_usd)}" if self.reused_usd else ""
        return f"cost: planned {_usd(self.planned_usd)}, spent {_usd(self.spent_usd)}{reused}"


def stage_costs(manifest: ManifestJson) -> list[StageCost]:
    """One row per stage behind a result, by name and address."""
    return [_stage_cost(address, stage) for address, stage in sorted(manifest["stages"].items())]


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


def by_name(rows: Sequence[StageCost]) -> list[StageCost]:
    """Sums over the stages of each name; a name is reused if all its stages are."""
    names = dict.fromkeys(row.name for row in rows)
    return [_summed(name, [row for row in rows if row.name == name]) for name in names]


def _summed(name: str, rows: Sequence[StageCost]) -> StageCost:
    def total(field: str) -> float | None:
        known = [value for row in rows if (value := getattr(row, field)) is not None]
        return sum(known) if known else None

    tokens = [total(field) for field in ("planned_tokens", "spent_tokens")]
    planned_tokens, spent_tokens = (None if each is None else int(each) for each in tokens)
    reuse = [row.reused for row in rows]
    return StageCost(
        name=name,
        stage="",
        reused=None if None in reuse else all(reuse),
        planned_tokens=planned_tokens,
        planned_device_seconds=_rounded(total("planned_device_seconds"), 3),
        planned_usd=_rounded(total("planned_usd"), 6),
        spent_tokens=spent_tokens,
        spent_device_seconds=_rounded(total("spent_device_seconds"), 3),
        spent_usd=round(sum(row.spent_usd for row in rows), 6),
        spent_seconds=round(sum(row.spent_seconds for row in rows), 3),
    )


def totals(rows: Sequence[StageCost]) -> CostTotals | None:
    """Sums of stage rows; None if nothing is known about what was planned."""
    if any(row.reused is None for row in rows):
        return None
    return CostTotals(
        planned_usd=sum(row.planned_usd or 0.0 for row in rows),
        spent_usd=sum(row.spent_usd for row in rows if not row.reused),
        reused_usd=sum(row.spent_usd for row in rows if row.reused),
    )


def costs_csv(rows: Sequence[StageCost]) -> str:
    """Rows as CSV; an unknown value is an empty cell, `reused` is yes, no or empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([each.name for each in fields(StageCost)])
    for row in rows:
        cells = asdict(row) | {"reused": {None: "", True: "yes", False: "no"}[row.reused]}
        writer.writerow(cells.values())
    return text.getvalue()


def costs_js(rows: Sequence[StageCost]) -> str:
    """Rows of stages as a script for the page: sums by name, each with its `stages`."""
    summed = [
        asdict(each) | {"stages": [asdict(row) for row in rows if row.name == each.name]} for each in by_name(rows)
    ]
    # In HTML a script must not contain "</script>", and U+2028 ended lines in older JavaScript: ASCII has neither.
    return f"window.s1Costs = {json.dumps(summed, indent=1)};\n".replace("</", "<\\/")


SIDE_FILES: Mapping[str, Callable[[Sequence[StageCost]], str]] = {"costs.csv": costs_csv, "costs.js": costs_js}


def _rounded(value: float | None, decimals: int) -> float | None:
    return None if value is None else round(value, decimals)


def _usd(value: float) -> str:
    return f"{value:,.2f} USD" if value >= 1 else f"{value:.4f} USD"
