"""Control, Scaling and Performance (paper, section 3.2), and a slope that is robust to near-equal budgets.

    Control       share of points whose mean thinking tokens are within the requested bounds
    Scaling       mean over all pairs of points of (accuracy_b - accuracy_a) / (log2 tokens_b - log2 tokens_a)
    Slope         least squares: the same pairs, weighted by their squared distance on the log2 axis
    Performance   the best accuracy of any point, minus the bias from choosing the best of noisy points

Scaling is in percentage points per doubling of thinking tokens: the paper does not mention the log2, but its Table 3
implies it. Each function maps P points to one number per row; rows are resamples R, or there is a single row of
observed values. Arrays mark undefined values as NaN; results use None.

A maximum over points is biased upward. To estimate the bias, we choose the best point on the questions of each resample
and compare its accuracy with that of the overall best point, on the questions that the resample left out; the mean loss
is the bias (Tsamardinos, Greasidou & Borboudakis, 2018: bootstrap bias corrected cross-validation). The interval is
that of the overall best point, with the lower limit moved down by the bias. A point without thinking may be the best,
but slopes over log2 tokens exclude it. If all questions differ by the same amount between points, resamples show no
variation and there is no slope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from s1.generate.methods.method import Bounds
from s1.stats.bootstrap import resampled_means, statistic
from s1.stats.clustered import Spread, share_limits
from s1.stats.interval import Estimate, plain, two_sided_z

SAME_LENGTH_DOUBLINGS = 1e-9  # closer pairs count as equally long and are skipped
PER_DOUBLING = "pp per doubling"
NUMBERS_AT_ONCE = 4_000_000  # resamples x pairs in memory: a thousand points have half a million pairs
SAME_SHARE = 1e-9  # smaller differences of accuracies are rounding
CHOSEN = ", best of "  # in the method text of Performance, before the number of points
MANY_SAMPLES = 64  # per question; the real number is unknown here, this is the assumed maximum


@dataclass(frozen=True)
class Metrics:
    """None: undefined for these points."""

    control: Estimate | None
    scaling: Estimate | None
    slope: Estimate | None
    performance: Estimate | None


def control(tokens_RP: np.ndarray, bounds: Sequence[Bounds | None]) -> np.ndarray:
    """Share of points whose mean length is within its requested bounds; NaN if no point has bounds."""
    bounded = [(index, each) for index, each in enumerate(bounds) if each is not None]
    if not bounded:
        return np.full(len(tokens_RP), np.nan)
    lowest_P = np.array([each.lowest for _, each in bounded])
    highest_P = np.array([np.inf if each.highest is None else each.highest for _, each in bounded])
    tokens_RP = tokens_RP[:, [index for index, _ in bounded]]
    return np.mean((lowest_P <= tokens_RP) & (tokens_RP <= highest_P), axis=1)


def scaling(tokens_RP: np.ndarray, accuracy_RP: np.ndarray) -> np.ndarray:
    """Mean slope over all pairs of points, in pp per doubling; pairs with equal mean length are skipped."""
    pairs = np.triu_indices(tokens_RP.shape[1], k=1)
    blocks = max(1, len(tokens_RP) * len(pairs[0]) // NUMBERS_AT_ONCE)
    rows = zip(np.array_split(tokens_RP, blocks), np.array_split(accuracy_RP, blocks), strict=True)
    return np.concatenate([_mean_slope(*each, pairs) for each in rows])


def _mean_slope(tokens_RP: np.ndarray, accuracy_RP: np.ndarray, pairs: tuple[np.ndarray, ...]) -> np.ndarray:
    earlier, later = pairs
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
    """The best accuracy among the points; as an estimate it is biased upward."""
    return accuracy_RP.max(axis=1)


def optimism(accuracy_QP: np.ndarray, counts_RQ: np.ndarray) -> float | None:
    """The upward bias of the best accuracy, as a share, at least 0; None for a single question."""
    left_out_RQ = (counts_RQ == 0).astype(np.float64)
    left_out_R = left_out_RQ.sum(axis=1)
    some = left_out_R > 0
    if not some.any():
        return None
    chosen_R = _best(counts_RQ[some] @ accuracy_QP)
    best = int(_best(accuracy_QP.mean(axis=0)))
    elsewhere_RP = left_out_RQ[some] @ accuracy_QP / left_out_R[some, None]
    lost_R = elsewhere_RP[:, best] - elsewhere_RP[np.arange(len(chosen_R)), chosen_R]
    return max(0.0, float(lost_R.mean()))


def best_point(accuracy_QP: np.ndarray, counts_RQ: np.ndarray, level: float) -> Estimate:
    """Performance of P points with its interval, bias-corrected if there is more than one question."""
    questions, points = accuracy_QP.shape
    values_Q = accuracy_QP[:, _best(accuracy_QP.mean(axis=0))]
    value = float(values_Q.mean())
    lo, hi = (float(end) for end in share_limits(values_Q, Spread(MANY_SAMPLES, two_sided_z(level)), level))
    method = "Wilson over questions, clustered"
    if points > 1:
        bias = optimism(accuracy_QP, counts_RQ)
        corrected = "not corrected" if bias is None else "corrected"
        method += f"{CHOSEN}{points} points, {corrected} for the choice"
        value, lo = (max(0.0, each - (bias or 0.0)) for each in (value, lo))
    return Estimate(value, min(lo, value), max(hi, value), questions, method, "share", level)


def as_sure_as(performance: Estimate, best: Estimate) -> Estimate:
    """Performance with the interval of the best point itself, which accounts for its samples and seeds.

    The lower limit is moved down by the same bias as the value.
    """
    _, *corrected = performance.method.split(CHOSEN)
    lo, hi = (performance.value if end is None else end for end in (best.lo, best.hi))
    moved = max(0.0, lo + performance.value - best.value)
    return replace(
        performance,
        lo=min(moved, performance.value),
        hi=max(hi, performance.value),
        method=CHOSEN.join([best.method, *corrected]),
    )


def metrics(
    tokens_QP: np.ndarray,
    accuracy_QP: np.ndarray,
    bounds: Sequence[Bounds | None],
    valid: Sequence[bool],
    counts_RQ: np.ndarray,
    level: float,
) -> Metrics:
    """All four metrics with intervals over questions. Control uses all points; the others exclude invalid ones.

    Values are means per question, over all its samples and seeds.
    """
    usable = [index for index, ok in enumerate(valid) if ok and tokens_QP[:, index].any()]
    tokens, right = tokens_QP[:, usable], accuracy_QP[:, usable]
    best_of = accuracy_QP[:, [index for index, ok in enumerate(valid) if ok]]

    def slope_of(of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Estimate | None:
        if not usable or _are_alike(right):
            return None
        observed = of(tokens.mean(axis=0, keepdims=True), right.mean(axis=0, keepdims=True))
        draws_R = of(resampled_means(counts_RQ, tokens), resampled_means(counts_RQ, right))
        return statistic(float(observed[0]), draws_R, len(tokens_QP), level, PER_DOUBLING)

    return Metrics(
        control=_control(tokens_QP, bounds, counts_RQ, level),
        scaling=slope_of(scaling),
        slope=slope_of(slope),
        performance=best_point(best_of, counts_RQ, level) if best_of.size else None,
    )


def _control(
    tokens_QP: np.ndarray, bounds: Sequence[Bounds | None], counts_RQ: np.ndarray, level: float
) -> Estimate | None:
    """Control, with an interval if enough resamples disagree with the observed value."""
    observed = float(control(tokens_QP.mean(axis=0, keepdims=True), bounds)[0])
    if np.isnan(observed):
        return None
    draws_R = control(resampled_means(counts_RQ, tokens_QP), bounds)
    found = statistic(observed, draws_R, len(tokens_QP), level, "share")
    if found is None or found.lo is None or found.hi is None:
        same = int((draws_R == observed).sum())
        return plain(observed, len(tokens_QP), f"the same in {same} of {len(draws_R)} resamples of questions", "share")
    return replace(found, lo=max(found.lo, float(draws_R.min())), hi=min(found.hi, float(draws_R.max())))


def _are_alike(accuracy_QP: np.ndarray) -> bool:
    """Whether all questions differ by the same amount between points, so that resamples show no variation."""
    return bool(np.ptp(accuracy_QP - accuracy_QP[:, :1], axis=0).max() <= SAME_SHARE)


def _best(accuracy_P: np.ndarray) -> np.ndarray:
    """The index of the best point on the last axis, the first of equals; rounding must not break ties."""
    return accuracy_P.round(9).argmax(axis=-1)


def _doublings(tokens_RP: np.ndarray) -> np.ndarray:
    """log2 of the mean lengths; NaN without thinking."""
    return np.log2(np.where(tokens_RP > 0, tokens_RP, np.nan))


def _ratio(numerator_R: np.ndarray, denominator_R: np.ndarray) -> np.ndarray:
    """The quotient; NaN where the denominator is 0."""
    return np.divide(numerator_R, denominator_R, out=np.full(len(numerator_R), np.nan), where=denominator_R > 0)
