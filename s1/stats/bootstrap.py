"""Bootstrap over questions: all statistics of a curve use one matrix of resamples, so all of them are paired.

    counts_RQ          how often resample r draws question q; every row adds up to Q
    means_RP           counts_RQ @ values_QP / Q: the mean of each point in each resample
    interval           of a statistic over the R resamples, widened for few questions

Samples of one question are not independent, so whole questions are resampled (paper, Table 2: 10,000 paired resamples).
The bootstrap variance divides by n instead of n - 1, and plain percentiles use normal instead of t quantiles. So we use
the percentiles of the expanded interval (Hesterberg, 2015): those of the normal quantile sqrt(n / (n - 1)) times the t
quantile, 1.1 and 98.9 % for 95 % at n = 12. If few answers change, percentiles are discrete and too narrow. So the
interval also extends to either side by at least that product times the standard error of the resamples; for it,
resamples beyond the percentiles are clipped, since a slope between nearly equal lengths has no finite variance.

The random numbers are computed here, so that no library version can change a published number: number i of a seed is
SplitMix64 (Steele, Lea & Flood, 2014) at state seed + (i + 1) * GAMMA, all modulo 2^64, and draws the question
(its upper 32 bits * Q) >> 32.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from s1.stats.interval import Estimate, StatisticsError
from s1.stats.seeds import t_quantile

GAMMA = 0x9E3779B97F4A7C15
MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31
WORD = 2**64
SAME = 1e-12  # relative to the largest draw; smaller differences are rounding


def stream(seed: int, count: int) -> np.ndarray:
    """The first `count` random numbers of a seed, as unsigned 64-bit integers."""
    state = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GAMMA) + np.uint64(seed % WORD)
    for shift, factor in MIXERS:
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return state ^ (state >> np.uint64(LAST_SHIFT))


def draw_counts(questions: int, resamples: int, seed: int) -> np.ndarray:
    """Draw Q questions with replacement, R times: counts_RQ. Raises StatisticsError if there are none to draw."""
    if questions < 1 or resamples < 1:
        raise StatisticsError(
            f"questions {questions}, resamples {resamples}: nothing to draw. Give at least 1 of each."
        )
    upper = stream(seed, resamples * questions) >> np.uint64(32)
    drawn_RQ = ((upper * np.uint64(questions)) >> np.uint64(32)).astype(np.int64).reshape(resamples, questions)
    cell_RQ = drawn_RQ + questions * np.arange(resamples)[:, None]
    counts = np.bincount(cell_RQ.ravel(), minlength=resamples * questions)
    return counts.reshape(resamples, questions).astype(np.float64)


def resampled_means(counts_RQ: np.ndarray, values_QP: np.ndarray) -> np.ndarray:
    """The mean over questions in each resample: means_RP, or means_R of values_Q."""
    return counts_RQ @ values_QP / counts_RQ.shape[1]


def statistic(value: float, draws_R: np.ndarray, n: int, level: float, unit: str) -> Estimate | None:
    """A statistic of n questions with its interval over the resamples in which it is defined (not NaN).

    None if all resamples agree: so few or so similar questions do not show how uncertain the statistic is.
    """
    defined_R = draws_R[np.isfinite(draws_R)]
    if not np.isfinite(value) or is_degenerate(defined_R):
        return None
    errors = np.sqrt(n / (n - 1)) * t_quantile(n - 1, level)
    lo, hi = np.quantile(defined_R, [ndtr(-errors), ndtr(errors)])
    half = errors * defined_R.clip(lo, hi).std()
    lo, hi = min(float(lo), float(value - half)), max(float(hi), float(value + half))
    if is_degenerate(np.array([lo, hi])):  # all but a few resamples agree
        return None
    method = f"bootstrap over questions, {len(defined_R)} resamples"
    undefined = len(draws_R) - len(defined_R)
    if undefined:
        method += f", undefined in {undefined} more"
    return Estimate(float(value), lo, hi, n, method, unit, level)


def is_degenerate(draws_R: np.ndarray) -> bool:
    """Whether there are no draws, or all are equal up to rounding, so that percentiles would claim certainty."""
    return not len(draws_R) or float(np.ptp(draws_R)) <= SAME * float(np.abs(draws_R).max())
