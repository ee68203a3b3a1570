"""Mean numbers of tokens: Student's t over questions, corrected for their skew.

Lengths have a long tail, so a plain t interval is too low at its upper end. Hall's (1992) transformation of t removes
the skewness of the questions' means, and its inverse has a closed form:

    g(t) = t + a t^2/3 + a^2 t^3/27 + a/6,  a = skewness / sqrt(n)
"""

from __future__ import annotations

import math

import numpy as np

from s1.stats.clustered import Limits
from s1.stats.interval import Estimate, plain
from s1.stats.seeds import SEEDS_FOR_TWO_WAY, of_seeds, require_RQS, t_quantile, two_way


def mean_tokens(tokens_RQS: np.ndarray, level: float) -> Estimate:
    """Mean per trace over R seeds, Q questions and S samples, in tokens.

    If every trace has the same length, because all reach the budget, the interval is that one value. A single question
    has no interval. Raises StatisticsError for an empty axis.
    """
    seeds, questions, _ = require_RQS(tokens_RQS)
    value = float(tokens_RQS.mean())
    if questions == 1:
        return plain(value, 1, "a single question, no interval", "tokens")
    if tokens_RQS.min() == tokens_RQS.max():
        return Estimate(value, value, value, questions, "every trace the same", "tokens", level)
    lo, hi = (float(end) for end in token_limits(tokens_RQS, level))
    method = f"t over questions{of_seeds(seeds)}, corrected for skew"
    return Estimate(value, min(lo, value), max(hi, value), questions, method, "tokens", level)


def token_limits(tokens_RQS: np.ndarray, level: float) -> Limits:
    """Lower and upper limit of the mean over the last three axes; further axes may precede them."""
    seeds, questions, samples = tokens_RQS.shape[-3:]
    means_Q = tokens_RQS.mean(axis=(-3, -1))
    mean = means_Q.mean(axis=-1)
    away_Q = means_Q - mean[..., None]
    # At least the variance of independent traces, since question means may agree by chance.
    traces = seeds * samples
    between = np.square(away_Q).sum(axis=-1) / (questions - 1)
    within = tokens_RQS.var(axis=(-3, -1)).mean(axis=-1) / max(traces - 1, 1)
    variance = np.maximum(between, within) / questions
    quantile = t_quantile(questions - 1, level)
    if seeds >= SEEDS_FOR_TWO_WAY:
        crossed = two_way(tokens_RQS.mean(axis=-1))
        variance, quantile = variance + crossed.seed_variance, t_quantile(crossed.degrees_of_freedom, level)
    error = np.sqrt(variance)
    third = np.power(away_Q, 3).mean(axis=-1)
    spread = np.square(away_Q).mean(axis=-1) ** 1.5
    skew = np.divide(third, spread, out=np.zeros_like(mean), where=spread > 0) / math.sqrt(questions)
    lo, hi = mean - error * _untransformed(quantile, skew), mean - error * _untransformed(-quantile, skew)
    return np.maximum(lo, 0), hi


def _untransformed(value: float | np.ndarray, skew: np.ndarray) -> np.ndarray:
    """The t with g(t) = value; `value` itself without skew."""
    a = np.where(np.abs(skew) < 1e-6, 1e-6, skew)
    return 3 / a * (np.cbrt(1 + a * (value - a / 6)) - 1)
