"""Costs of a scan, planned and spent, from the plan and the records of its stages. Pure.

Rows are those of costs.csv (sweep/core/costs.py). A stage that was not planned for this result is `reused`:
what it took had been spent before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from s1.cost import usage
from sweep.core.costs import StageCost, addresses_of, devices_of, planned_cost
from sweep.core.pipeline import CostEstimate
from sweep.core.stage import Stage
from sweep.store.documents import RecordJson

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Spent:
    """What all stages behind a result took, those included that it reuses; None: unknown."""

    tokens_sampled: int | None  # by engines
    tokens_from_scratch: int | None  # if no point had shared anything
    usd: float | None
    device_hours: float | None


@dataclass(frozen=True)
class PlannedStage:
    """What the plan says of a stage."""

    addresses: tuple[str, ...]  # its own, and those of its shards
    devices: int  # that it occupies; 0 for one without an hourly price
    estimate: CostEstimate  # of it and its shards


def planned_stage(stage: Stage, estimates: Mapping[str, CostEstimate]) -> PlannedStage:
    """Devices and estimate of a stage; of one in shards, those of a shard and of all of them."""
    addresses = addresses_of(stage)
    return PlannedStage(addresses, devices_of(stage), planned_cost(estimates, addresses) or CostEstimate())


@dataclass(frozen=True)
class Bill:
    """Stages behind a result, all by address."""

    planned: Mapping[str, PlannedStage]
    records: Mapping[str, RecordJson]  # of the finished ones
    made: Mapping[str, CostEstimate] | None  # what commands for this result set out to make; None: unknown

    def rows(self) -> list[StageCost]:
        """One row per finished stage, as in costs.csv."""
        return [self._row(address) for address in sorted(self.planned) if address in self.records]

    def spent(self) -> Spent:
        """Totals over all stages; tokens of the stages `traces` alone."""
        traces = [record["summary"] for address, record in self.records.items() if address.startswith("traces/")]
        rows = self.rows()
        return Spent(
            tokens_sampled=sum(int(summary.get("engine_tokens") or 0) for summary in traces),
            tokens_from_scratch=sum(int(summary.get("sampled_tokens") or 0) for summary in traces),
            usd=round(sum(row.spent_usd for row in rows), 6),
            device_hours=round(sum((row.spent_device_seconds or 0.0) for row in rows) / SECONDS_PER_HOUR, 6),
        )

    def of_this_result(self) -> tuple[float, float]:
        """Planned and spent USD of what was made for this result; equal zeros if that is unknown."""
        rows = [row for row in self.rows() if row.reused is False]
        return sum(row.planned_usd or 0.0 for row in rows), sum(row.spent_usd for row in rows)

    def _row(self, address: str) -> StageCost:
        stage, record = self.planned[address], self.records[address]
        estimate = None if self.made is None else planned_cost(self.made, stage.addresses)
        taken = usage(record["summary"])
        return StageCost(
            name=address.partition("/")[0],
            stage=address,
            reused=None if self.made is None else estimate is None,
            planned_tokens=estimate and estimate.tokens,
            planned_device_seconds=estimate and estimate.device_seconds,
            planned_usd=estimate and estimate.usd,
            spent_tokens=taken.tokens,
            spent_device_seconds=round(record["seconds"] * stage.devices, 3),
            spent_usd=round(record["usd"] + taken.usd, 6),
            spent_seconds=record["seconds"],
        )
