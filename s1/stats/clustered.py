"""Intervals for mean probabilities over questions with several samples each, valid at 0 and 100 % too.

The question is the unit, since samples of one question are not independent. Let m be a question's share of correct
samples, p the mean of m, and w the mean of m(1 - m); the variance between questions is V = p(1 - p) - w. A limit is the
p0 that is z standard errors away, as in Wilson (1927), with the largest of three variances at p0:

    p0(1 - p0) - w             unbiased at the true accuracy; the largest possible if all samples agree (w = 0)
    p0(1 - p0) V / p(1 - p)    the design effect of the sample (Kish, 1965; Korn & Graubard, 1998)
    p0(1 - p0) / samples       the variance of independent samples, as a lower bound

With one sample per question all three equal Wilson's. Near 0 and 100 % an interval can miss only on the side of the
edge, and Wilson's does so too often. There we use the exact one-sided limit at the same level, for the effective number
of questions, if it is farther away (Clopper & Pearson, 1934; Brown, Cai & DasGupta, 2001). benchmarks/coverage.py
measures the coverage.

Functions whose names end in `_limits` handle many repetitions at once: every array has its questions on the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from s1.stats.interval import Estimate, StatisticsError, two_sided_z, wilson
from s1.stats.seeds import SEEDS_FOR_TWO_WAY, of_seeds, require_RQS, t_quantile, two_way

QUESTIONS_WITH_SPREAD = 3  # with fewer, disagreement within questions is ignored

Limits = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Spread:
    """Inputs of an interval besides the questions' means."""

    samples: int  # per question, over all seeds
    quantile: float | np.ndarray  # half width in standard errors
    seed_variance: float | np.ndarray = 0.0  # contribution of the seeds to the variance of the mean


def accuracy(correct_RQS: np.ndarray, level: float) -> Estimate:
    """Share of correct answers over R seeds, Q questions and S samples. Raises StatisticsError for an empty axis.

    One seed and sample: Wilson. Fewer than 8 seeds: over questions, for these seeds only. 8 or more: over both.
    """
    seeds, questions, samples = require_RQS(correct_RQS)
    values_RQ = correct_RQS.mean(axis=2)
    limits = accuracy_limits(values_RQ, samples, level)
    if seeds * samples == 1:
        closed = wilson(int(correct_RQS.sum()), questions, level)
        assert closed.lo is not None and closed.hi is not None  # a Wilson interval always has both
        as_closed = np.allclose(limits, (closed.lo, closed.hi), rtol=0, atol=1e-9)
        method = "Wilson" if as_closed else "Wilson, with an exact limit next to 0 or 100 %"
    else:
        method = f"Wilson over questions{of_seeds(seeds)}, clustered"
    return _share(values_RQ.mean(axis=0), limits, method, level)


def shares(values_RQK: np.ndarray, samples: int, level: float) -> list[Estimate]:
    """Mean probabilities, such as maj@k for k = 1..K, from values per seed and question with `samples` samples each."""
    seeds, _questions, _columns = require_RQS(values_RQK)
    lo_K, hi_K = accuracy_limits(np.moveaxis(values_RQK, -1, 0), samples, level)
    method = f"Wilson over questions{of_seeds(seeds)}, clustered"
    return [
        _share(values_Q, limits, method, level)
        for values_Q, limits in zip(values_RQK.mean(axis=0).T, zip(lo_K, hi_K, strict=True), strict=True)
    ]


def accuracy_limits(values_RQ: np.ndarray, samples: int, level: float) -> Limits:
    """Lower and upper limit of the mean over the last two axes, seeds and questions; values are shares of `samples`."""
    seeds = values_RQ.shape[-2]
    means_Q = values_RQ.mean(axis=-2)
    if seeds < SEEDS_FOR_TWO_WAY:
        return share_limits(means_Q, Spread(seeds * samples, two_sided_z(level)), level)
    found = two_way(values_RQ)
    spread = Spread(seeds * samples, t_quantile(found.degrees_of_freedom, level), found.seed_variance)
    return share_limits(means_Q, spread, level)


def share_limits(means_Q: np.ndarray, spread: Spread, level: float) -> Limits:
    """Lower and upper limit of the mean over the last axis. Raises StatisticsError for values outside 0 to 1."""
    if means_Q.size and not (means_Q.min() >= 0 and means_Q.max() <= 1):
        raise StatisticsError(f"shares {means_Q.min()} to {means_Q.max()}: outside 0 to 1. Pass shares.")
    questions = means_Q.shape[-1]
    mean = means_Q.mean(axis=-1)
    within = (means_Q * (1 - means_Q)).mean(axis=-1)
    most = mean * (1 - mean)
    if questions < QUESTIONS_WITH_SPREAD:
        within = np.zeros_like(within)
    design = np.divide(most - within, most, out=np.ones_like(mean), where=most > 0).clip(1 / spread.samples, 1)
    scale = np.square(spread.quantile) / questions
    constant = spread.seed_variance * questions
    limits = [
        _roots(mean, scale, 1.0, constant - within),
        _roots(mean, scale, design, constant),
    ]
    exact_lo, exact_hi = _one_sided(mean, questions / design, level)
    lo = np.minimum.reduce([*(lo for lo, _ in limits), np.where(mean <= 0.5, exact_lo, 1)])
    hi = np.maximum.reduce([*(hi for _, hi in limits), np.where(mean >= 0.5, exact_hi, 0)])
    return lo.clip(0, 1), hi.clip(0, 1)


def _roots(mean: np.ndarray, scale: np.ndarray, factor: float | np.ndarray, constant: np.ndarray) -> Limits:
    """The two p0 with (mean - p0)^2 = scale (factor p0(1 - p0) + constant); the mean itself if there are none."""
    leading = 1 + factor * scale
    middle = mean + factor * scale / 2
    discriminant = np.square(middle) - leading * (np.square(mean) - scale * constant)
    half = np.sqrt(np.maximum(discriminant, 0))
    none = discriminant < 0
    lo, hi = (np.where(none, mean, (middle + sign * half) / leading) for sign in (-1, 1))
    return np.minimum(lo, mean), np.maximum(hi, mean)


def _one_sided(mean: np.ndarray, effective: np.ndarray, level: float) -> Limits:
    """Clopper-Pearson limits for a count out of `effective`, each one-sided at the full error rate."""
    right, wrong = mean * effective, (1 - mean) * effective
    lo = np.where(right > 0, betaincinv(np.where(right > 0, right, 1), wrong + 1, 1 - level), 0)
    hi = np.where(wrong > 0, 1 - betaincinv(np.where(wrong > 0, wrong, 1), right + 1, 1 - level), 1)
    return lo, hi


def _share(means_Q: np.ndarray, limits: Limits, method: str, level: float) -> Estimate:
    value = float(means_Q.mean())
    lo, hi = (float(end) for end in limits)
    # Rounding must not put the value outside its interval.
    return Estimate(value, min(lo, value), max(hi, value), len(means_Q), method, "share", level)
