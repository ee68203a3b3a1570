"""Two points on the same questions: the paired difference of their accuracies, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s1.config import Statistics
from s1.generate.methods.method import ComputeRequest
from s1.records import Score
from s1.report.findings import Difference
from s1.stages import CurvePoint
from s1.stats import bootstrap
from s1.stats.grid import Grid
from s1.stats.interval import detectable_paired_pp, plain


@dataclass(frozen=True)
class Scored:
    """A point and its scores."""

    point: CurvePoint
    key: str
    scores: list[Score]
    answers: Path  # the directory of what was scored

    @property
    def request(self) -> ComputeRequest:
        return self.point.request


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of any two points that answer the same questions."""

    grids: Mapping[str, Grid]
    valid: Mapping[str, bool]
    counts_RQ: np.ndarray
    statistics: Statistics

    def difference(self, label: str, against: str) -> Difference:
        """Accuracy of `label` less that of `against`."""
        differences_Q = 100 * (self.grids[label].accuracy_Q - self.grids[against].accuracy_Q)
        level, power = self.statistics.level, self.statistics.power
        detectable = detectable_paired_pp(differences_Q, level, power)
        method = f"at {100 * power:g} % power, from the observed discordance"
        return Difference(
            label=label,
            against=against,
            estimate=bootstrap.mean(differences_Q, self.counts_RQ, level, "pp"),
            gained=int((differences_Q > 0).sum()),
            lost=int((differences_Q < 0).sum()),
            detectable=None if detectable is None else plain(detectable, len(differences_Q), method, "pp"),
            valid=self.valid[label] and self.valid[against],
        )
