"""A step from one point to another: the change of accuracy, the change of thinking, and both in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from s1.report.findings import MeasuredPoint, PairedDifference
from s1.report.format import interval, value
from s1.stats.interval import Estimate


class Direction(Enum):
    RISES = "rises"
    FALLS = "falls"
    UNKNOWN = "cannot be told"


class Longer(Enum):
    YES = "longer"
    NO = "shorter"
    UNKNOWN = "not measurably longer"


@dataclass(frozen=True)
class PointStep:
    """Two points and their paired difference."""

    start: MeasuredPoint
    end: MeasuredPoint
    difference: PairedDifference  # end minus start

    @property
    def direction(self) -> Direction:
        """Direction by the interval that is widened for all comparisons of this kind (simultaneous coverage)."""
        return direction_of(self.difference.joint)

    @property
    def longer(self) -> Longer:
        """Whether thinking grows, by the paired interval, or by the value if there is none (one question)."""
        tokens = self.difference.tokens
        lo, hi = (tokens.value if end is None else end for end in (tokens.lo, tokens.hi))
        if lo > 0:
            return Longer.YES
        return Longer.NO if hi < 0 else Longer.UNKNOWN

    @property
    def is_rise(self) -> bool:
        """More accurate while thinking more."""
        return self.direction is Direction.RISES and self.longer is Longer.YES

    @property
    def _over_seeds(self) -> str:
        """Which seeds the difference covers, if the points differ in seeds; accuracies cover all seeds of a point."""
        one, other = ([source.seed for source in point.sources] for point in (self.start, self.end))
        if one == other:
            return ""
        common = [f"{seed}" for seed in one if seed in other]
        return f" over seed {', '.join(common)}, which both have" if common else " by question, of other seeds"

    @property
    def falls(self) -> bool:
        """Less accurate while thinking more."""
        return self.direction is Direction.FALLS and self.longer is Longer.YES

    @property
    def way(self) -> str:
        """`from 5.7% (max 8, 8.0 tokens) to 64.3% (natural end, 29.4 tokens)`."""
        ends = (
            f"{value(point.accuracy)} ({point.label}, {value(point.thinking_tokens)} tokens)"
            for point in (self.start, self.end)
        )
        return f"from {' to '.join(ends)}"

    @property
    def change(self) -> str:
        """`+58.7 points [+52.3, +64.7]`."""
        return f"{value(self.difference.estimate)} points {interval(self.difference.estimate)}{self._over_seeds}"

    @property
    def in_words(self) -> str:
        return f"{self.way}: {self.change}"


def direction_of(change: Estimate) -> Direction:
    """Direction of a change: whether its interval lies above or below zero."""
    if change.lo is not None and change.lo > 0:
        return Direction.RISES
    return Direction.FALLS if change.hi is not None and change.hi < 0 else Direction.UNKNOWN


def cannot_be_told(step: PointStep) -> str:
    """The rest of a sentence that begins with "Whether ..."."""
    row = step.difference
    if row.gained + row.lost == 0:
        return f"cannot be told at n = {row.estimate.n}: {step.way}, no question is answered differently."
    return f"cannot be told at n = {row.estimate.n}: {step.way} is {step.change}{_why_not(row)}."


def _why_not(row: PairedDifference) -> str:
    if direction_of(row.estimate) is not Direction.UNKNOWN:
        return f"; by itself it excludes zero, but the interval for all comparisons jointly is {interval(row.joint)}"
    if row.detectable is None:
        return ""
    return f", and this comparison shows only differences of about {value(row.detectable).lstrip('+')} points or more"
