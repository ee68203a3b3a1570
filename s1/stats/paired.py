"""Paired difference between two points on the same questions: its interval, and the smallest detectable difference.

One sample per question: Bonett & Price (2012), the Wald interval after adding one question that is gained and one that
is lost. It has a positive width even if all differences are equal or there is a single question. Several samples: the
two added questions have weight k^2, where k is the share of an answer's variance that lies between questions (1 for one
sample): the more the samples of a question disagree, the less likely is a question that is wholly gained or lost. The
variance is never below that of independent samples.

An interval excludes zero only if an exact test does. With one sample per question, this is the exact McNemar (sign)
test; with several, enough questions must differ for a sign-flip test to reach the level at all (6 for 95 %). Otherwise
the interval is widened to include 0, and `method` says so. 12 of 12 gained excludes 0, 1 of 1 does not.

With fewer than 8 seeds, the interval holds for these seeds only. From 8 on, the two-way variance of the differences,
paired by question and by seed, adds the contribution of the seeds (s1/stats/seeds.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import bdtr

from s1.stats.clustered import QUESTIONS_WITH_SPREAD, Limits
from s1.stats.interval import Estimate, StatisticsError, plain, power_z, two_sided_z
from s1.stats.seeds import SEEDS_FOR_TWO_WAY, of_seeds, require_RQS, t_quantile, two_way
from s1.stats.votes import RIGHT, majority_at

SAME_SHARE = 1e-9  # smaller differences of a question are rounding


@dataclass(frozen=True)
class Wald:
    """Center, standard error and quantile of an interval, in shares; arrays for many repetitions."""

    centre: np.ndarray
    standard_error: np.ndarray
    quantile: float | np.ndarray

    @property
    def limits(self) -> Limits:
        half = self.quantile * self.standard_error
        return (self.centre - half).clip(-1, 1), (self.centre + half).clip(-1, 1)


def difference(values_RQS: np.ndarray, against_RQS: np.ndarray, level: float) -> Estimate:
    """Mean of `values` minus mean of `against`, in percentage points, paired by question and by seed.

    Raises StatisticsError unless both have the same seeds and questions; samples may differ in number.
    """
    seeds, _questions, samples = _require_paired(values_RQS, against_RQS)
    differences_Q = without_rounding(values_RQS.mean(axis=(0, 2)) - against_RQS.mean(axis=(0, 2)))
    found = wald_of(values_RQS, against_RQS, level)
    if seeds * samples == 1:
        return _points(differences_Q, found, "Bonett-Price, paired", _mcnemar_rejects(differences_Q, level), level)
    method = f"Bonett-Price over questions{of_seeds(seeds)}, clustered, paired"
    return _points(differences_Q, found, method, _enough_differ(differences_Q, level), level)


def without_rounding(differences_Q: np.ndarray) -> np.ndarray:
    """Differences of shares with those that only rounding makes set to 0, or they would count as questions that differ.

    The same probability may come from a mean over samples and from an exact expectation over choices of samples.
    """
    return np.where(np.abs(differences_Q) > SAME_SHARE, differences_Q, 0.0)


def gains(values_RQK: np.ndarray, samples: int, level: float) -> list[Estimate]:
    """For k = 1..K: the probability with k of `samples` samples minus that with one, such as maj@k - maj@1, in pp.

    The first is 0 by construction and has no interval. No question can gain or lose a whole answer, so the two added
    questions gain and lose the most that maj@k and maj@1 can differ with two rival answers, or were seen to differ.
    """
    seeds, questions, _columns = require_RQS(values_RQK)
    method = f"Bonett-Price over questions{of_seeds(seeds)}, clustered, paired"
    found = [plain(0, questions, "0 by construction", "pp")]
    values_KRQ = np.moveaxis(values_RQK, -1, 0)
    for values_RQ, size in zip(values_KRQ[1:], largest_gains(samples)[1:], strict=False):
        means_Q, against_Q = values_RQ.mean(axis=0), values_KRQ[0].mean(axis=0)
        of_questions = gain_wald(means_Q, against_Q, seeds * samples, float(size), level)
        interval = _with_seeds(of_questions, values_RQ - values_KRQ[0], level)
        differences_Q = without_rounding(means_Q - against_Q)
        found.append(_points(differences_Q, interval, method, _enough_differ(differences_Q, level), level))
    return found


def detectable(values_RQS: np.ndarray, against_RQS: np.ndarray, level: float, power: float) -> Estimate:
    """The smallest true difference that the interval of `difference` detects with this power, in percentage points.

    100, the largest possible difference, if there are too few questions to detect any.
    """
    _require_paired(values_RQS, against_RQS)
    found = wald_of(values_RQS, against_RQS, level)
    smallest = 100 * (found.quantile + power_z(power)) * found.standard_error
    method = f"at {100 * power:g} % power, from the standard error of the interval"
    return plain(min(float(smallest), 100.0), values_RQS.shape[1], method, "pp")


def sign_test(gained: int, lost: int) -> float:
    """Two-sided p of the exact McNemar test: the probability that fair coins split gains and losses as unevenly."""
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def wald_of(values_RQS: np.ndarray, against_RQS: np.ndarray, level: float) -> Wald:
    """Center, error and quantile over the last three axes (seeds, questions, samples); others may precede them."""
    values_RQ, against_RQ = values_RQS.mean(axis=-1), against_RQS.mean(axis=-1)
    seeds = values_RQ.shape[-2]
    samples = seeds * min(values_RQS.shape[-1], against_RQS.shape[-1])
    found = wald(values_RQ.mean(axis=-2), against_RQ.mean(axis=-2), samples, level)
    return _with_seeds(found, values_RQ - against_RQ, level)


def wald(values_Q: np.ndarray, against_Q: np.ndarray, samples: int, level: float) -> Wald:
    """Bonett-Price interval over the last axis, with the two added questions weighted by `_between_share`."""
    between = _between_share(values_Q, against_Q, samples)
    found = _bonett_price(values_Q - against_Q, between, 1.0, level)
    questions = values_Q.shape[-1]
    if samples == 1:  # the original formula, which divides by n + 2
        return replace(found, standard_error=found.standard_error * np.sqrt((questions + 1) / (questions + 2)))
    independent = (_within(values_Q) + _within(against_Q)) / (samples - 1) / questions
    return replace(found, standard_error=np.maximum(found.standard_error, np.sqrt(independent)))


def gain_wald(values_Q: np.ndarray, against_Q: np.ndarray, samples: int, size: float, level: float) -> Wald:
    """Interval for two probabilities from the same samples; with two rival answers they differ by at most `size`."""
    differences_Q = values_Q - against_Q
    largest = np.maximum(np.abs(differences_Q).max(axis=-1), size)
    return _bonett_price(differences_Q, _between_share(values_Q, against_Q, samples), largest, level)


def _with_seeds(found: Wald, differences_RQ: np.ndarray, level: float) -> Wald:
    """Add the variance between seeds to the interval, from 8 seeds on."""
    if differences_RQ.shape[-2] < SEEDS_FOR_TWO_WAY:
        return found
    crossed = two_way(differences_RQ)
    error = np.sqrt(np.square(found.standard_error) + crossed.seed_variance)
    return Wald(found.centre, error, t_quantile(crossed.degrees_of_freedom, level))


def _bonett_price(differences_Q: np.ndarray, between: np.ndarray, size: float | np.ndarray, level: float) -> Wald:
    """Add two questions of weight between^2, one that gains `size` and one that loses it."""
    added = np.square(between)
    count = differences_Q.shape[-1] + 2 * added
    centre = differences_Q.sum(axis=-1) / count
    variance = (np.square(differences_Q).sum(axis=-1) + 2 * added * np.square(size)) / count - np.square(centre)
    return Wald(centre, np.sqrt(variance / (count - 1)), two_sided_z(level))


def _between_share(values_Q: np.ndarray, against_Q: np.ndarray, samples: int) -> np.ndarray:
    """The share of an answer's variance that lies between questions; 1 for one sample or too few questions."""
    if values_Q.shape[-1] < QUESTIONS_WITH_SPREAD:
        return np.ones(values_Q.shape[:-1])
    between = 1 - (_within(values_Q) + _within(against_Q)) / (_most(values_Q) + _most(against_Q))
    return between.clip(1 / samples, 1)


def largest_gains(samples: int) -> np.ndarray:
    """The most that maj@k with two rival answers can differ from the accuracy, for k = 1..S; at least half a sample.

    With k = 2, a rival only takes half of a tie; an unreadable sample takes nothing, so maj@2 uses the value of maj@3.
    """
    right_CS = np.arange(samples)[None] < np.arange(samples + 1)[:, None]
    majority_CK = majority_at(np.where(right_CS, RIGHT, RIGHT + 1))
    sizes_K = np.abs(majority_CK - majority_CK[:, :1]).max(axis=0)
    if samples > 2:
        sizes_K[1] = sizes_K[2]
    return np.maximum(sizes_K, 0.5 / samples)


def _within(values_Q: np.ndarray) -> np.ndarray:
    """The part of an answer's variance that lies within questions."""
    return (values_Q * (1 - values_Q)).mean(axis=-1)


def _most(values_Q: np.ndarray) -> np.ndarray:
    """The whole variance of an answer, after adding one right and one wrong question to its mean."""
    mean = (values_Q.sum(axis=-1) + 1) / (values_Q.shape[-1] + 2)
    return mean * (1 - mean)


def _points(differences_Q: np.ndarray, found: Wald, method: str, possible: bool, level: float) -> Estimate:
    """Estimate in percentage points; unless `possible`, no exact test excludes zero, so the interval must not."""
    value = float(differences_Q.mean())
    # Rounding must not put the value outside its interval.
    lo, hi = (float(end) for end in found.limits)
    lo, hi = min(lo, value), max(hi, value)
    if not possible and not lo <= 0 <= hi:
        lo, hi, method = min(lo, 0.0), max(hi, 0.0), f"{method}, widened to 0 as no exact test excludes it"
    return Estimate(100 * value, 100 * lo, 100 * hi, len(differences_Q), method, "pp", level)


def _mcnemar_rejects(differences_Q: np.ndarray, level: float) -> bool:
    return sign_test(int((differences_Q > 0).sum()), int((differences_Q < 0).sum())) <= 1 - level


def _enough_differ(differences_Q: np.ndarray, level: float) -> bool:
    """Whether a sign-flip test of these differences can reach the level at all."""
    return 2.0 ** (1 - int((differences_Q != 0).sum())) <= 1 - level


def _require_paired(values_RQS: np.ndarray, against_RQS: np.ndarray) -> tuple[int, int, int]:
    seeds, questions, samples = require_RQS(values_RQS)
    if require_RQS(against_RQS)[:2] != (seeds, questions):
        raise StatisticsError(
            f"values {values_RQS.shape} and {against_RQS.shape}: different seeds or questions. Pass only shared ones."
        )
    return seeds, questions, max(samples, against_RQS.shape[2])
