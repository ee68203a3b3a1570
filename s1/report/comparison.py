"""Two points on the same questions: the paired difference of their accuracies, and of their thinking."""

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
    """Paired comparison of any two points that answer the same questions."""

    sampled: Mapping[str, Sampled]
    valid: Mapping[str, bool]
    statistics: Statistics

    def difference(self, label: str, against: str, joint_level: float) -> PairedDifference:
        """Accuracy of `label` less that of `against`; at `joint_level` all comparisons of its kind hold together."""
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
        """The interval of their difference at any level."""
        one, other = self._pair(label, against)
        return lambda level: measure.paired(one, other, level)

    def _pair(self, label: str, against: str) -> tuple[Sampled, Sampled]:
        """Over the seeds that both have, if any."""
        one, other = self.sampled[label], self.sampled[against]
        common = [seed for seed in one.seeds if seed in other.seeds]
        return (one.of_seeds(common), other.of_seeds(common)) if common else (one, other)


def bonferroni(level: float, comparisons: int) -> float:
    """The level of each of so many intervals at which all hold together."""
    return 1 - (1 - level) / max(1, comparisons)


def holm(intervals: Sequence[AtLevel], level: float) -> list[float]:
    """The level at which each comparison is judged, so that no more than 1 - `level` of such families err at all.

    Holm (1979): those that show at the level for all of them are settled; the others need hold among themselves only.
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
