"""Limits on what a result may cost, and how to tell that one is reached. Pure; files are in sweep/store/spending.py.

Spent is what the stages made for a result have cost, attempts that were interrupted and work in flight included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sweep.errors import SweepError

SECONDS_PER_HOUR = 3600
EXIT_LIMIT = 5  # exit status of a command that a limit has stopped
LIMIT_FIELDS = ("cost.limit_usd", "cost.limit_device_hours")


class LimitReached(SweepError):
    """A limit on the cost stopped a stage. What is finished is kept, and a higher limit continues it."""

    exit_status = EXIT_LIMIT


@dataclass(frozen=True)
class Limits:
    """The most that a result may cost; None: no limit."""

    usd: float | None = None
    device_hours: float | None = None

    @property
    def is_set(self) -> bool:
        return self.usd is not None or self.device_hours is not None


@dataclass(frozen=True)
class Spending:
    """An amount that was spent, or that is expected."""

    usd: float = 0.0
    device_seconds: float = 0.0

    def __add__(self, other: Spending) -> Spending:
        return Spending(self.usd + other.usd, self.device_seconds + other.device_seconds)

    def without(self, other: Spending) -> Spending:
        """What is left of this after `other`, at least zero."""
        return Spending(max(0.0, self.usd - other.usd), max(0.0, self.device_seconds - other.device_seconds))


def total(amounts: Iterable[Spending]) -> Spending:
    """The sum of amounts."""
    return sum(amounts, Spending())


@dataclass(frozen=True)
class _Figure:
    """One limit beside what is spent and expected, in its unit."""

    field: str
    limit: float
    spent: float
    expected: float
    unit: str
    used: float = 0.0  # of what is expected: by earlier attempts, which are part of `spent`

    @property
    def is_reached(self) -> bool:
        return self.spent >= self.limit

    @property
    def is_exceeded(self) -> bool:
        return self.spent + self.left > self.limit

    @property
    def left(self) -> float:
        return max(0.0, self.expected - self.used)

    def amount(self, value: float) -> str:
        return f"{value:,.2f} {self.unit}" if value >= 1 or not value else f"{value:.4f} {self.unit}"


def refusal(limits: Limits, spent: Spending, expected: Spending, tried: Spending = Spending()) -> str | None:
    """Why a plan must not begin, with the figures and what to change; None if it is within its limits.

    `tried`: what earlier attempts at the plan have spent; it is part of `spent` and of what is expected.
    """
    for figure in _figures(limits, spent, expected, tried):
        if figure.is_exceeded or (figure.expected and figure.is_reached):
            used = figure.amount(figure.expected - figure.left) if figure.used else ""
            attempts = f", of which earlier attempts have used {used}" if used else ""
            before = f", and {figure.amount(figure.spent)} are spent already" if figure.spent else ""
            return (
                f"{figure.field} {figure.limit:g}: this is estimated at"
                f" {figure.amount(figure.expected)}{attempts}{before}."
                " Raise the limit, or ask for fewer points, questions or tokens."
            )
    return None


def stop(limits: Limits, spent: Spending, expected: Spending = Spending(), what: str = "") -> str | None:
    """Why work must stop, or `what` must not begin; None if it is within its limits."""
    for figure in _figures(limits, spent, expected):
        if figure.is_reached or figure.is_exceeded:
            more = "" if figure.is_reached else f", and {what} is estimated at {figure.amount(figure.expected)} more"
            return (
                f"stopped by {figure.field}: spent {figure.amount(figure.spent)} of {figure.amount(figure.limit)}"
                f"{more}. What is finished is kept. To continue, run the same command with a higher {figure.field}."
            )
    return None


def unchecked_line(limits: Limits, unknown: Sequence[str]) -> str | None:
    """Says that stages without an estimate are limited only while they run; None if there are none, or no limit."""
    if not unknown or not limits.is_set:
        return None
    more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    field = LIMIT_FIELDS[0] if limits.usd is not None else LIMIT_FIELDS[1]
    return f"{field}: the cost of {unknown[0]}{more} is unknown, so the limit is checked only while it runs."


def _figures(limits: Limits, spent: Spending, expected: Spending, tried: Spending = Spending()) -> Iterator[_Figure]:
    if limits.usd is not None:
        yield _Figure(LIMIT_FIELDS[0], limits.usd, spent.usd, expected.usd, "USD", tried.usd)
    if limits.device_hours is not None:
        hours = [each.device_seconds / SECONDS_PER_HOUR for each in (spent, expected, tried)]
        yield _Figure(LIMIT_FIELDS[1], limits.device_hours, hours[0], hours[1], "device-hours", hours[2])
