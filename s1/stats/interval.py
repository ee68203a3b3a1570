"""Estimates with intervals, and the closed forms for one sample: the Wilson interval and detectable differences.

An `Estimate` always has its interval, n, method and unit. An unknown quantity is None, never 0 or NaN. Accuracies are
shares between 0 and 1; differences between them are in percentage points ("pp").

    Wilson       (p + z^2/2n -+ z sqrt(p(1 - p)/n + z^2/4n^2)) / (1 + z^2/n)
    detectable   (z_level + z_power) * standard error of the difference, of two points; paired: s1/stats/paired.py
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from sweep.errors import SweepError


class StatisticsError(SweepError, ValueError):
    """Input that a statistic is not defined for: `<thing> <value>: <what is wrong>. <what to do>.`"""


@dataclass(frozen=True)
class Estimate:
    value: float
    lo: float | None  # lo, hi and level are None for an estimate without an interval
    hi: float | None
    n: int  # independent units: questions, unless the method says otherwise
    method: str
    unit: str
    level: float | None

    def __post_init__(self) -> None:
        bounds = [self.lo, self.hi, self.level]
        if any(each is None for each in bounds) and any(each is not None for each in bounds):
            raise StatisticsError(f"interval {bounds}: incomplete. Give lo, hi and level, or none of them.")
        if not all(math.isfinite(each) for each in [self.value, *bounds] if each is not None):
            raise StatisticsError(
                f"estimate {self.value} [{self.lo}, {self.hi}]: not finite. Use None for a missing value."
            )
        if self.lo is not None and self.hi is not None and self.lo > self.hi:
            raise StatisticsError(f"interval [{self.lo}, {self.hi}]: lo is above hi. Swap them.")


def plain(value: float, n: int, method: str, unit: str) -> Estimate:
    """A count or an estimate without an interval; `method` describes it."""
    return Estimate(value=float(value), lo=None, hi=None, n=n, method=method, unit=unit, level=None)


def wilson(successes: int, n: int, level: float) -> Estimate:
    """Share of successes with the score interval of Wilson (1927), which is valid at 0 and 100 % too."""
    if n < 1:
        raise StatisticsError(f"n {n}: no observations. Give at least 1.")
    share, z = successes / n, two_sided_z(level)
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    lo, hi = ((centre + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return Estimate(share, max(lo, 0.0), min(hi, 1.0), n, "Wilson", "share", level)


def two_sided_z(level: float) -> float:
    """Half width of a two-sided normal interval, in standard errors."""
    return NormalDist().inv_cdf((1 + level) / 2)


def standard_error_pp(accuracy: float, n: int) -> float:
    """Binomial standard error of one accuracy, in percentage points."""
    return 100 * math.sqrt(accuracy * (1 - accuracy) / n)


def detectable_unpaired_pp(accuracy: float, n: int, level: float, power: float) -> float:
    """Smallest difference that two independent runs of n questions each detect with this power."""
    return (two_sided_z(level) + power_z(power)) * math.sqrt(2) * standard_error_pp(accuracy, n)


def power_z(power: float) -> float:
    """Standard errors that a true difference must exceed the interval's half width by."""
    return NormalDist().inv_cdf(power)
