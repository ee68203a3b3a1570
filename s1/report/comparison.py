"""Paired comparison of two points on the same questions, in accuracy and in thinking tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from s1.config.schema import MOST_GROWTH, Statistics
from s1.report.findings import PairedDifference
from s1.report.step import Direction, direction_of
from s1.stats import paired as pairs
from s1.stats.grid import Sampled
from s1.stats.interval import Estimate, plain
from s1.stats.seeds import SEEDS_FOR_TWO_WAY, of_seeds, t_quantile, two_way
from s1.stats.sequential import repeated_level

SAME_TOKENS = 1e-9  # smaller differences of mean lengths are rounding errors
AtLevel: TypeAlias = "Callable[[float], Estimate]"


@dataclass(frozen=True)
class Comparison:
    """Compares any two of a set of points with the same questions."""

    sampled: Mapping[str, Sampled]
    valid: Mapping[str, bool]
    statistics: Statistics

    @property
    def level(self) -> float:
        """Of each interval: the level of `statistics`, or of all looks together if rounds follow a target."""
        return difference_level(self.statistics)

    def difference(self, label: str, against: str, joint_level: float) -> PairedDifference:
        """Accuracy of `label` minus that of `against`; intervals at `joint_level` hold for all comparisons jointly."""
        one, other = self._pair(label, against)
        level = self.level
        differences_Q = pairs.without_rounding(one.accuracy_Q - other.accuracy_Q)
        return PairedDifference(
            label=label,
            against=against,
            estimate=self._looked_at(_paired(one, other, level)),
            joint=self._looked_at(_paired(one, other, joint_level)),
            tokens=_longer(one, other, level),
            gained=int((differences_Q > 0).sum()),
            lost=int((differences_Q < 0).sum()),
            detectable=_detectable(one, other, level, self.statistics.power),
            valid=self.valid[label] and self.valid[against],
        )

    def _looked_at(self, estimate: Estimate) -> Estimate:
        looks = self.statistics.looks
        if self.statistics.target is None:
            return estimate
        return replace(estimate, method=f"{estimate.method}, repeated over {looks} looks")

    def at_level(self, label: str, against: str) -> AtLevel:
        """A function from confidence level to the interval of their difference."""
        one, other = self._pair(label, against)
        return lambda level: _paired(one, other, level)

    def _pair(self, label: str, against: str) -> tuple[Sampled, Sampled]:
        """Both points restricted to their common seeds, or unrestricted if there are none."""
        one, other = self.sampled[label], self.sampled[against]
        common = [seed for seed in one.seeds if seed in other.seeds]
        return (one.of_seeds(common), other.of_seeds(common)) if common else (one, other)


def difference_level(statistics: Statistics) -> float:
    """The level of the interval of one difference."""
    if statistics.target is None:
        return statistics.level
    return repeated_level(statistics.level, statistics.looks, MOST_GROWTH)


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


def _paired(one: Sampled, other: Sampled, level: float) -> Estimate:
    """Accuracy of `one` minus that of `other` in percentage points, paired by question and seed."""
    return pairs.difference(*_as_paired(one.correct_RQS, other.correct_RQS, one, other), level)


def _detectable(one: Sampled, other: Sampled, level: float, power: float) -> Estimate | None:
    """The smallest difference that `_paired` detects with this power; None if no question differs."""
    if not pairs.without_rounding(one.accuracy_Q - other.accuracy_Q).any():
        return None
    return pairs.detectable(*_as_paired(one.correct_RQS, other.correct_RQS, one, other), level, power)


def _longer(one: Sampled, other: Sampled, level: float) -> Estimate:
    """Mean thinking tokens of `one` minus those of `other`, paired: Student's t over questions.

    There is no interval for a single question or if all questions differ by the same amount; but if all traces of each
    point have the same length, the interval is that one value.
    """
    pair = _as_paired(one.thinking_tokens_RQS, other.thinking_tokens_RQS, one, other)
    differences_RQ = pair[0].mean(axis=2) - pair[1].mean(axis=2)
    seeds, questions = differences_RQ.shape
    differences_Q = differences_RQ.mean(axis=0)
    value = float(differences_Q.mean())
    if questions == 1:
        return plain(value, 1, "a single question, no interval", "tokens")
    if np.ptp(differences_RQ) <= SAME_TOKENS:
        if all(np.ptp(each) == 0 for each in pair):
            return Estimate(value, value, value, questions, "every trace the same", "tokens", level)
        return plain(value, questions, "every question differs alike, no interval", "tokens")
    variance, freedom = float(differences_Q.var(ddof=1)) / questions, float(questions - 1)
    if seeds >= SEEDS_FOR_TWO_WAY:
        crossed = two_way(differences_RQ)
        variance, freedom = variance + float(crossed.seed_variance), float(crossed.degrees_of_freedom)
    half = float(t_quantile(freedom, level)) * math.sqrt(variance)
    method = f"t over questions{of_seeds(seeds)}, paired"
    return Estimate(value, value - half, value + half, questions, method, "tokens", level)


def _as_paired(
    values_RQS: np.ndarray, others_RQS: np.ndarray, one: Sampled, other: Sampled
) -> tuple[np.ndarray, np.ndarray]:
    """Pair by question and seed; without common seeds pair by question, with all samples as of one seed."""
    if one.seeds == other.seeds:
        return values_RQS, others_RQS
    return _as_one_seed(values_RQS), _as_one_seed(others_RQS)


def _as_one_seed(values_RQS: np.ndarray) -> np.ndarray:
    seeds, questions, samples = values_RQS.shape
    return values_RQS.transpose(1, 0, 2).reshape(1, questions, seeds * samples)
