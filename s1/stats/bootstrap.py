"""The bootstrap over questions: one matrix of resamples serves every number of a curve, so all of them are paired.

    counts_RQ          how often resample r draws question q; every row adds up to Q
    means_RP           counts_RQ @ values_QP / Q: the mean of each point in each resample
    interval           the percentiles (1 - level)/2 and (1 + level)/2 of a statistic over the R resamples

Samples of one question are not independent, so the question is what is drawn (paper, Table 2: 10,000 paired resamples).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from s1.stats.interval import Estimate, wilson


def draw_counts(questions: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw Q questions with replacement, R times: counts_RQ."""
    drawn_RQ = rng.integers(questions, size=(resamples, questions))
    cell_RQ = drawn_RQ + questions * np.arange(resamples)[:, None]
    counts = np.bincount(cell_RQ.ravel(), minlength=resamples * questions)
    return counts.reshape(resamples, questions).astype(np.float64)


def resampled_means(counts_RQ: np.ndarray, values_QP: np.ndarray) -> np.ndarray:
    """The mean over questions in each resample: means_RP, or means_R of values_Q."""
    return counts_RQ @ values_QP / counts_RQ.shape[1]


def mean(values_Q: np.ndarray, counts_RQ: np.ndarray, level: float, unit: str) -> Estimate:
    """Mean over questions with its interval."""
    return means(values_Q[:, None], counts_RQ, level, unit)[0]


def means(values_QP: np.ndarray, counts_RQ: np.ndarray, level: float, unit: str) -> list[Estimate]:
    """The mean of each of P columns, all from the same resamples."""
    draws_RP = resampled_means(counts_RQ, values_QP)
    return [
        _estimate(float(values_Q.mean()), draws_R, len(values_QP), level, unit)
        for values_Q, draws_R in zip(values_QP.T, draws_RP.T, strict=True)
    ]


def shares(values_QP: np.ndarray, counts_RQ: np.ndarray, level: float) -> list[Estimate]:
    """The mean of each column of chances between 0 and 1.

    If all are 1, or all are 0, the bootstrap would claim certainty; Wilson over the questions does not.
    """
    questions = len(values_QP)
    return [
        wilson(questions * int(found.value), questions, level) if found.value in (0, 1) else found
        for found in means(values_QP, counts_RQ, level, "share")
    ]


def accuracy(correct_QS: np.ndarray, counts_RQ: np.ndarray, level: float) -> Estimate:
    """Share right: Wilson for one sample per question, the bootstrap over questions for several."""
    questions, samples = correct_QS.shape
    if samples == 1:
        return wilson(int(correct_QS.sum()), questions, level)
    return shares(correct_QS.mean(axis=1, keepdims=True), counts_RQ, level)[0]


def statistic(value: float, draws_R: np.ndarray, n: int, level: float, unit: str) -> Estimate | None:
    """A statistic that may be undefined (NaN), with its percentiles over the resamples where it is not."""
    defined_R = draws_R[np.isfinite(draws_R)]
    if not np.isfinite(value) or not len(defined_R):
        return None
    estimate = _estimate(float(value), defined_R, n, level, unit)
    undefined = len(draws_R) - len(defined_R)
    return replace(estimate, method=f"{estimate.method}, undefined in {undefined} more") if undefined else estimate


def _estimate(value: float, draws_R: np.ndarray, n: int, level: float, unit: str) -> Estimate:
    lo, hi = np.quantile(draws_R, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(lo), float(hi), n, f"bootstrap over questions, {len(draws_R)} resamples", unit, level)
