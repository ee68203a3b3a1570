"""Paired comparison of two points on the same questions, in accuracy and in thinking tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from s1.config.schema import Statistics
from s1.report import measure
from s1.report.findings import PairedDifference
from s1.report.measure import Sampled
from s1.report.step import Direction, direction_of
from s1.stats.interval import Estimate

AtLevel: TypeAlias = "Callable[[float], Estimate]"


@dataclass(frozen=True)
class Comparison:
    """Compares any two of a set of points with the same questions."""

    sampled: Mapping[str, Sampled]
    valid: Mapping[str, bool]
    statistics: Statistics

    def difference(self, label: str, against: str, joint_level: float) -> PairedDifference:
        """Accuracy of `label` minus that of `against`; intervals at `joint_level` hold for all comparisons jointly."""
        one, other = self._pair(label, against)
        level = self.statistics.level
        differences_Q = one.accuracy_Q - other.accuracy_Q
        return PairedDifference(
            label=label,
            against=against,
            estimate=measure.paired(one, other, level),
            joint=measure.paired(one, other, joint_level),
            tokens=measure.longer(one, other, level),
            gained=int((differences_Q > 0).sum()),
            lost=int((differences_Q < 0).sum()),
            detectable=measure.detectable(one, other, level, self.statistics.power),
            valid=self.valid[label] and self.valid[against],
        )

    def at_level(self, label: str, against: str) -> AtLevel:
        """A function from confidence level to the interval of their difference."""
        one, other = self._pair(label, against)
        return lambda level: measure.paired(one, other, level)

    def _pair(self, label: str, against: str) -> tuple[Sampled, Sampled]:
        """Both points restricted to their common seeds, or unrestricted if there are none."""
        one, other = self.sampled[label], self.sampled[against]
        common = [seed for seed in one.seeds if seed in other.seeds]
        return (one.of_seeds(common), other.of_seeds(common)) if common else (one, other)


def bonferroni(level: float, comparisons: int) -> float:
    """The level of each interval such that all of them hold jointly at `level`."""
    return 1 - (1 - level) / max(1, comparisons)


def holm(intervals: Sequence[AtLevel], level: float) -> list[float]:
    """The level for each comparison such that at most 1 - `level` of such families contain any error (Holm 1979).

    Comparisons that are decided at the level for all are settled; the rest then need to hold only among themselves.
    """
    levels = [level] * len(intervals)
    open_places = list(range(len(intervals)))
    while open_places:
        each = bonferroni(level, len(open_places))
        for place in open_places:
            levels[place] = each
        undecided = [place for place in open_places if direction_of(intervals[place](each)) is Direction.UNKNOWN]
        if undecided == open_places:
            break
        open_places = undecided
    return levels
