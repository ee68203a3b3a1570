"""Costs of a scan, planned and spent, from the plan and the records of its stages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweep.core.pipeline import CostEstimate
from sweep.core.stage import Stage
from sweep.store.documents import RecordJson

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Spent:
    """What all stages behind a result took; None: unknown."""

    tokens_sampled: int | None  # by engines
    tokens_from_scratch: int | None  # if no point had shared anything
    usd: float | None
    device_hours: float | None


@dataclass(frozen=True)
class PlannedStage:
    """What the plan says of a stage; of one in shards, of all of them."""

    devices: int  # that it occupies; a CPU counts as one
    estimate: CostEstimate
    is_priced: bool  # whether it occupies a device that costs money


def planned_stage(stage: Stage, estimates: Mapping[str, CostEstimate]) -> PlannedStage:
    """Devices and estimate of a stage; of one in shards, those of a shard and of all of them."""
    parts = stage.shards or (stage,)
    resources = parts[0].resources
    found = [estimates[each.address] for each in (stage, *stage.shards) if each.address in estimates]
    total = CostEstimate(
        sum(each.tokens for each in found),
        sum(each.device_seconds for each in found),
        sum(each.usd for each in found),
    )
    is_priced = any(part.settings.get("usd_per_hour") for part in parts)
    return PlannedStage(resources.nodes * max(1, resources.devices), total, is_priced)


def cost_rows(planned: Mapping[str, PlannedStage], records: Mapping[str, RecordJson]) -> list[dict[str, Any]]:
    """One row per stage name that costs something: planned beside spent. Both maps are by stage address."""
    rows: dict[str, dict[str, Any]] = {}
    for address, stage in planned.items():
        if not stage.is_priced or address not in records:
            continue
        name, record = address.partition("/")[0], records[address]
        row = rows.setdefault(name, {"stage": name, **dict.fromkeys(_NUMBERS, 0)})
        added = (
            1,
            *_planned(stage),
            record["seconds"],
            record["seconds"] * stage.devices,
            record["usd"],
            _tokens(record),
        )
        for column, number in zip(_NUMBERS, added, strict=True):
            row[column] = round(row[column] + number, 6)
    return list(rows.values())


_NUMBERS = (
    "stages",
    "planned_tokens",
    "planned_device_seconds",
    "planned_usd",
    "seconds",
    "device_seconds",
    "usd",
    "tokens",
)


def _planned(stage: PlannedStage) -> tuple[float, ...]:
    return stage.estimate.tokens, stage.estimate.device_seconds, stage.estimate.usd


def _tokens(record: RecordJson) -> int:
    """Tokens that a stage sampled or trained on; 0 for a stage that counts none."""
    summary = record["summary"]
    return int(summary.get("engine_tokens") or summary.get("tokens") or summary.get("completion_tokens") or 0)


def spent(planned: Mapping[str, PlannedStage], records: Mapping[str, RecordJson]) -> Spent:
    """Totals over all stages; tokens of the stages `traces` alone."""
    traces = [record["summary"] for address, record in records.items() if address.startswith("traces/")]
    rows = cost_rows(planned, records)
    return Spent(
        tokens_sampled=sum(int(summary.get("engine_tokens") or 0) for summary in traces),
        tokens_from_scratch=sum(int(summary.get("sampled_tokens") or 0) for summary in traces),
        usd=round(sum(record["usd"] for record in records.values()), 6),
        device_hours=round(sum(row["device_seconds"] for row in rows) / SECONDS_PER_HOUR, 6),
    )
