"""How the variance between seeds of one point enters an interval.

Fewer than 8 seeds say little about their variance, so an interval is over questions and holds for these seeds only; the
report adds the range over seeds. From 8 seeds on, questions and seeds are crossed random effects. The variance of a
mean is

    Var = (MS_question + MS_seed - MS_rest) / (Q R) = V_question/Q + V_seed/R + V_rest/(Q R)

with mean squares of the two-way table without replication, and Satterthwaite's degrees of freedom (Searle, Casella &
McCulloch, Variance Components, 1992; Owen, 2007, on why one-way resampling falls short).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from s1.stats.interval import StatisticsError

SEEDS_FOR_TWO_WAY = 8


@dataclass(frozen=True)
class SeedRange:
    """The lowest and highest accuracy of any seed, as shares."""

    seeds: int
    lowest: float
    highest: float


@dataclass(frozen=True)
class TwoWay:
    """The contribution of seeds to an interval over questions; arrays if the input had several tables."""

    seed_variance: np.ndarray  # of the grand mean: V_seed / R, not below 0
    degrees_of_freedom: np.ndarray


def seed_range(values_RQS: np.ndarray) -> SeedRange | None:
    """The range of the seeds' means; None for a single seed."""
    seeds, _, _ = require_RQS(values_RQS)
    means_R = values_RQS.mean(axis=(1, 2))
    return SeedRange(seeds, float(means_R.min()), float(means_R.max())) if seeds > 1 else None


def two_way(values_RQ: np.ndarray) -> TwoWay:
    """Two-way analysis of variance over the last two axes, seeds and questions."""
    seeds, questions = values_RQ.shape[-2:]
    grand = values_RQ.mean(axis=(-2, -1), keepdims=True)
    by_question = values_RQ.mean(axis=-2, keepdims=True)
    by_seed = values_RQ.mean(axis=-1, keepdims=True)
    question_df, seed_df = max(questions - 1, 1), seeds - 1
    question = seeds * np.square(by_question - grand).sum(axis=(-2, -1)) / question_df
    seed = questions * np.square(by_seed - grand).sum(axis=(-2, -1)) / seed_df
    rest = np.square(values_RQ - by_question - by_seed + grand).sum(axis=(-2, -1)) / (question_df * seed_df)
    total = question + np.maximum(seed - rest, 0)
    seed_parts = np.square(seed) / seed_df + np.square(rest) / (question_df * seed_df)
    parts = np.square(question) / question_df + np.where(seed > rest, seed_parts, 0)
    known = parts > 0
    freedom = np.divide(np.square(total), parts, out=np.full_like(total, float(min(question_df, seed_df))), where=known)
    return TwoWay(np.maximum(seed - rest, 0) / (questions * seeds), freedom)


def t_quantile(degrees_of_freedom: float | np.ndarray, level: float) -> float | np.ndarray:
    """Half width of a two-sided interval of Student's t, in standard errors."""
    return stdtrit(np.maximum(degrees_of_freedom, 1), (1 + level) / 2)


def of_seeds(seeds: int) -> str:
    """The part of an interval's `method` text that describes its seeds."""
    if seeds == 1:
        return ""
    return f" and {seeds} seeds, two-way" if seeds >= SEEDS_FOR_TWO_WAY else f", given these {seeds} seeds"


def require_RQS(values_RQS: np.ndarray) -> tuple[int, int, int]:
    """The numbers of seeds, questions and samples. Raises StatisticsError for another shape or an empty axis."""
    if values_RQS.ndim != 3 or 0 in values_RQS.shape:
        raise StatisticsError(f"values {values_RQS.shape}: not seeds x questions x samples. Pass at least one of each.")
    seeds, questions, samples = values_RQS.shape
    return seeds, questions, samples
