"""Two points on the same questions: the paired difference of their accuracies, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from s1.config import Statistics
from s1.records import Score
from s1.report.findings import Difference
from s1.stages import CurvePoint
from s1.stats.audit import Requested
from s1.stats.grid import Grid
from s1.stats.paired import detectable, difference


@dataclass(frozen=True)
class Scored:
    """A point and its scores."""

    point: CurvePoint
    key: str
    scores: list[Score]
    answers: Path  # the directory of what was scored

    @property
    def requested(self) -> Requested:
        return Requested(self.point.max_thinking_tokens, self.point.min_thinking_tokens, self.point.waits)


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of any two points that answer the same questions."""

    grids: Mapping[str, Grid]
    valid: Mapping[str, bool]
    statistics: Statistics

    def difference(self, label: str, against: str) -> Difference:
        """Accuracy of `label` less that of `against`."""
        values, reference = self.grids[label], self.grids[against]
        differences_Q = values.accuracy_Q - reference.accuracy_Q
        pair = values.correct_QS[None], reference.correct_QS[None]  # one seed
        level, power = self.statistics.level, self.statistics.power
        return Difference(
            label=label,
            against=against,
            estimate=difference(*pair, level),
            gained=int((differences_Q > 0).sum()),
            lost=int((differences_Q < 0).sum()),
            detectable=detectable(*pair, level, power),
            valid=self.valid[label] and self.valid[against],
        )
