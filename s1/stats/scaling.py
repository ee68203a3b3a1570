"""Control, Scaling and Performance (paper, section 3.2), and a slope that near-equal budgets cannot rule.

    Control       share of points whose mean thinking tokens lie within what was requested
    Scaling       mean over all pairs of points of (accuracy_b - accuracy_a) / (log2 tokens_b - log2 tokens_a)
    Slope         least squares: the same pairs, weighted by their squared distance on the log2 axis
    Performance   the best accuracy of any point, less what choosing the best of noisy points adds to it

Scaling is in percentage points per doubling of thinking tokens: the paper leaves the log2 unsaid, its Table 3 needs it.
Every function maps P points to one number, row by row: one row per resample R, or a single row for what was observed.
NaN inside, None outside: a statistic without a value in some row is undefined there.

A maximum over points is biased upward. So Performance chooses the best point on the questions of each resample, and
reads its accuracy, less that of the point that is best on all questions, on those that the resample left out; the mean
of it is what the choice adds (Tsamardinos, Greasidou & Borboudakis, 2018: bootstrap bias corrected cross-validation).
The interval is that of the point that is best on all questions, its lower limit moved down by as much. A point without
thinking may be the best; a slope over log2 tokens leaves it out. Where all questions differ alike between the points,
resamples know no spread, and there is no slope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from s1.generate.methods.method import Bounds
from s1.stats.bootstrap import resampled_means, statistic
from s1.stats.clustered import Spread, share_limits
from s1.stats.interval import Estimate, plain, two_sided_z

SAME_LENGTH_DOUBLINGS = 1e-9  # nearer than this, two points have the same mean length, and no slope between them
PER_DOUBLING = "pp per doubling"
NUMBERS_AT_ONCE = 4_000_000  # of resamples times pairs: a thousand points have half a million pairs
SAME_SHARE = 1e-9  # nearer than this, two accuracies differ by rounding
CHOSEN = ", best of "  # in the method of Performance, before what the choice was from
MANY_SAMPLES = 64  # of a question: how many its mean comes from is not known here, and no more are assumed


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
    """The best accuracy among the points, biased upward as an estimate of the accuracy of any."""
    return accuracy_RP.max(axis=1)


def optimism(accuracy_QP: np.ndarray, counts_RQ: np.ndarray) -> float | None:
    """How much higher the best accuracy is for being the best, as a share, not below 0; None of a single question."""
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
    """Performance of P points with its interval, corrected for the choice where there are questions to correct with."""
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
    """Performance with the interval of the best point itself, which knows its samples and seeds.

    The limit below is moved down as the value is.
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
    """All four with intervals over questions. Control is of all points; the others leave invalid ones out.

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
    """A count of points is known without an interval; the resamples add one where enough of them disagree."""
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
    """Every question differs between the points as every other does: resamples of them know no spread."""
    return bool(np.ptp(accuracy_QP - accuracy_QP[:, :1], axis=0).max() <= SAME_SHARE)


def _best(accuracy_P: np.ndarray) -> np.ndarray:
    """The first of the best points on the last axis; rounding must not decide between equal ones."""
    return accuracy_P.round(9).argmax(axis=-1)


def _doublings(tokens_RP: np.ndarray) -> np.ndarray:
    """log2 of the mean lengths; NaN for no thinking at all."""
    return np.log2(np.where(tokens_RP > 0, tokens_RP, np.nan))


def _ratio(numerator_R: np.ndarray, denominator_R: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    return np.divide(numerator_R, denominator_R, out=np.full(len(numerator_R), np.nan), where=denominator_R > 0)
