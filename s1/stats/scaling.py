"""Control, Scaling and Performance (paper, section 3.2), and a slope that near-equal budgets cannot rule.

    Control       share of points whose mean thinking tokens lie within what was requested
    Scaling       mean over all pairs of points of (accuracy_b - accuracy_a) / (log2 tokens_b - log2 tokens_a)
    Slope         least squares: the same pairs, weighted by their squared distance on the log2 axis
    Performance   the best accuracy of any point

Scaling is in percentage points per doubling of thinking tokens: the paper leaves the log2 unsaid, its Table 3 needs it.
Every function maps P points to one number, row by row: one row per resample R, or a single row for what was observed.
NaN inside, None outside: a statistic without a value in some row is undefined there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from s1.generate.methods.method import Bounds
from s1.stats.bootstrap import resampled_means, statistic
from s1.stats.interval import Estimate

SAME_LENGTH_DOUBLINGS = 1e-9  # nearer than this, two points have the same mean length, and no slope between them
PER_DOUBLING = "pp per doubling"


@dataclass(frozen=True)
class Metrics:
    """None: these points cannot tell."""

    control: Estimate | None
    scaling: Estimate | None
    slope: Estimate | None
    performance: Estimate | None


def control(tokens_RP: np.ndarray, bounds: Sequence[Bounds | None]) -> np.ndarray:
    """Share of the points with a requested length whose mean length honours it; NaN if none requests any."""
    asked = [(index, each) for index, each in enumerate(bounds) if each is not None]
    if not asked:
        return np.full(len(tokens_RP), np.nan)
    lowest_P = np.array([each.lowest for _, each in asked])
    highest_P = np.array([np.inf if each.highest is None else each.highest for _, each in asked])
    tokens_RP = tokens_RP[:, [index for index, _ in asked]]
    return np.mean((lowest_P <= tokens_RP) & (tokens_RP <= highest_P), axis=1)


def scaling(tokens_RP: np.ndarray, accuracy_RP: np.ndarray) -> np.ndarray:
    """Mean slope over all pairs of points, in pp per doubling; a pair of the same mean length has none."""
    earlier, later = np.triu_indices(tokens_RP.shape[1], k=1)
    doublings_RP = _doublings(tokens_RP)
    run = doublings_RP[:, later] - doublings_RP[:, earlier]
    rise_pp = 100 * (accuracy_RP[:, later] - accuracy_RP[:, earlier])
    differs = np.abs(run) > SAME_LENGTH_DOUBLINGS
    slopes = np.divide(rise_pp, run, out=np.zeros_like(run), where=differs)
    return _ratio(slopes.sum(axis=1), differs.sum(axis=1).astype(float))


def slope(tokens_RP: np.ndarray, accuracy_RP: np.ndarray) -> np.ndarray:
    """Least-squares slope of accuracy over log2 tokens, in pp per doubling."""
    doublings_RP = _doublings(tokens_RP)
    run_RP = doublings_RP - doublings_RP.mean(axis=1, keepdims=True)
    spread_R = np.square(run_RP).sum(axis=1)
    spread_R = np.where(spread_R > SAME_LENGTH_DOUBLINGS**2, spread_R, 0.0)
    return _ratio(100 * (run_RP * accuracy_RP).sum(axis=1), spread_R)


def performance(accuracy_RP: np.ndarray) -> np.ndarray:
    """The best accuracy among the points."""
    return accuracy_RP.max(axis=1)


def metrics(
    tokens_QP: np.ndarray,
    accuracy_QP: np.ndarray,
    bounds: Sequence[Bounds | None],
    valid: Sequence[bool],
    counts_RQ: np.ndarray,
    level: float,
) -> Metrics:
    """All four with intervals over resampled questions. Control is of all points; the others leave invalid ones out."""
    usable = [index for index, ok in enumerate(valid) if ok and tokens_QP[:, index].any()]

    def told(of: Callable[[np.ndarray, np.ndarray], np.ndarray], points: Sequence[int], unit: str) -> Estimate | None:
        if not points:
            return None
        tokens, right = tokens_QP[:, points], accuracy_QP[:, points]
        observed = of(tokens.mean(axis=0, keepdims=True), right.mean(axis=0, keepdims=True))
        draws_R = of(resampled_means(counts_RQ, tokens), resampled_means(counts_RQ, right))
        return statistic(float(observed[0]), draws_R, len(tokens_QP), level, unit)

    return Metrics(
        control=told(lambda tokens, _: control(tokens, bounds), range(len(bounds)), "share"),
        scaling=told(scaling, usable, PER_DOUBLING),
        slope=told(slope, usable, PER_DOUBLING),
        performance=told(lambda _, right: performance(right), usable, "share"),
    )


def _doublings(tokens_RP: np.ndarray) -> np.ndarray:
    """log2 of the mean lengths; NaN for no thinking at all."""
    return np.log2(np.where(tokens_RP > 0, tokens_RP, np.nan))


def _ratio(numerator_R: np.ndarray, denominator_R: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    return np.divide(numerator_R, denominator_R, out=np.full(len(numerator_R), np.nan), where=denominator_R > 0)
