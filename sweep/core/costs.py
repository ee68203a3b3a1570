"""Planned and spent costs of stages, as rows and sums. Pure: what is read and written is in sweep/results/costs.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum

from sweep.core.pipeline import CostEstimate
from sweep.core.stage import Stage

SECONDS_PER_HOUR = 3600
BESIDE = "beside"  # name of the row for what was spent on a result and is in none of its stages
BESIDE_TEXT = "other attempts, probes and earlier rounds"
HOURLY_PRICE = "usd_per_hour"  # in the settings of stages that occupy devices


def devices_of(stage: Stage) -> int:
    """Devices that a stage occupies; 0 for one that has no hourly price. A laptop's processor counts as one."""
    made = stage.shards[0] if stage.shards else stage
    return made.resources.nodes * max(1, made.resources.devices) if HOURLY_PRICE in made.settings else 0


def addresses_of(stage: Stage) -> tuple[str, ...]:
    """The address of a stage and those of its shards, which are planned apart."""
    return tuple(each.address for each in (stage, *stage.shards))


def planned_cost(estimates: Mapping[str, CostEstimate], addresses: Sequence[str]) -> CostEstimate | None:
    """The sum of the estimates of a stage and its shards; None: none of them was planned."""
    found = [estimates[each] for each in addresses if each in estimates]
    if not found:
        return None
    tokens, seconds, usd = (amount(found, each) for each in Quantity)
    return CostEstimate(
        None if tokens.unknown else int(tokens.known),
        None if seconds.unknown else round(seconds.known, 3),
        None if usd.unknown else round(usd.known, 6),
    )


class Quantity(Enum):
    """Fields of an estimate that share its interval."""

    TOKENS = "tokens"
    DEVICE_SECONDS = "device_seconds"
    USD = "usd"


@dataclass(frozen=True)
class Amount:
    """A sum over estimates, with the 95% interval that their intervals add up to."""

    known: float  # the sum of what is known
    low: float
    high: float
    unknown: int  # how many estimates are unknown: the sum is then a lower bound


def amount(estimates: Sequence[CostEstimate], quantity: Quantity) -> Amount:
    """Sum one quantity, and the ends of its intervals: estimates of one plan share their lengths and err together."""
    values = [(getattr(each, quantity.value), _range(each, quantity)) for each in estimates]
    known = [(float(value), ends) for value, ends in values if value is not None]
    return Amount(
        known=sum(value for value, _ in known),
        low=sum(value * low for value, (low, _) in known),
        high=sum(value * high for value, (_, high) in known),
        unknown=len(values) - len(known),
    )


def _range(estimate: CostEstimate, quantity: Quantity) -> tuple[float, float]:
    if quantity is Quantity.TOKENS:
        return estimate.tokens_low, estimate.tokens_high
    return estimate.time_low, estimate.time_high


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

    @property
    def cells(self) -> dict[str, str | int | float | None]:
        """Values by column; `reused` is yes or no."""
        reused = {None: None, True: "yes", False: "no"}[self.reused]
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"reused": reused}


@dataclass(frozen=True)
class CostTotals:
    """Sums over a result, in USD; what was reused had been spent before."""

    planned_usd: float | None  # None: the price of a stage was unknown
    spent_usd: float
    reused_usd: float
    planned_device_hours: float = 0.0
    spent_device_hours: float = 0.0
    beside_usd: float = 0.0  # of what was spent: in no stage of the result

    @property
    def line(self) -> str:
        planned = (
            "unknown" if self.planned_usd is None else f"{_usd(self.planned_usd)}{_hours(self.planned_device_hours)}"
        )
        beside = f", {_usd(self.beside_usd)} of it in {BESIDE_TEXT}" if self.beside_usd else ""
        reused = f"; what it reuses had cost {_usd(self.reused_usd)}" if self.reused_usd else ""
        return f"cost: planned {planned}, spent {_usd(self.spent_usd)}{_hours(self.spent_device_hours)}{beside}{reused}"


def by_name(rows: Sequence[StageCost]) -> list[StageCost]:
    """Sums over the stages of each name; a name is reused if all its stages are."""
    names = dict.fromkeys(row.name for row in rows)
    return [_summed(name, [row for row in rows if row.name == name]) for name in names]


def _summed(name: str, rows: Sequence[StageCost]) -> StageCost:
    def total(field: str) -> float | None:
        known = [value for row in rows if (value := getattr(row, field)) is not None]
        return sum(known) if known else None

    def planned(field: str) -> float | None:
        is_unknown = any(row.reused is False and getattr(row, field) is None for row in rows)
        return None if is_unknown else total(field)

    tokens = [planned("planned_tokens"), total("spent_tokens")]
    planned_tokens, spent_tokens = (None if each is None else int(each) for each in tokens)
    reuse = [row.reused for row in rows]
    return StageCost(
        name=name,
        stage="",
        reused=None if None in reuse else all(reuse),
        planned_tokens=planned_tokens,
        planned_device_seconds=_rounded(planned("planned_device_seconds"), 3),
        planned_usd=_rounded(planned("planned_usd"), 6),
        spent_tokens=spent_tokens,
        spent_device_seconds=_rounded(total("spent_device_seconds"), 3),
        spent_usd=round(sum(row.spent_usd for row in rows), 6),
        spent_seconds=round(sum(row.spent_seconds for row in rows), 3),
    )


def totals(rows: Sequence[StageCost]) -> CostTotals | None:
    """Sums of stage rows; None if nothing is known about what was planned."""
    if any(row.reused is None for row in rows):
        return None
    made = [row for row in rows if not row.reused]
    is_unknown = any(row.planned_usd is None for row in made)
    return CostTotals(
        planned_usd=None if is_unknown else sum(row.planned_usd or 0.0 for row in made),
        spent_usd=sum(row.spent_usd for row in made),
        reused_usd=sum(row.spent_usd for row in rows if row.reused),
        planned_device_hours=sum(row.planned_device_seconds or 0.0 for row in rows) / SECONDS_PER_HOUR,
        spent_device_hours=sum(row.spent_device_seconds or 0.0 for row in made) / SECONDS_PER_HOUR,
        beside_usd=sum(row.spent_usd for row in made if row.name == BESIDE),
    )


def _rounded(value: float | None, decimals: int) -> float | None:
    return None if value is None else round(value, decimals)


def _hours(hours: float) -> str:
    """Hours of devices behind a price; "" if there are none."""
    return f" ({hours:.3g} device-hours)" if hours else ""


def _usd(value: float) -> str:
    return f"{value:,.2f} USD" if value >= 1 else f"{value:.4f} USD"
