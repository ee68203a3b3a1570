"""Statistics of points over R seeds, Q questions and S samples, from s1/stats.

Below 8 seeds an interval holds for these seeds only; reports add the range over seeds (s1/stats/seeds.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from s1.report.findings import AtK
from s1.stats import clustered, lengths
from s1.stats import paired as pairs
from s1.stats.grid import Grid
from s1.stats.interval import Estimate, plain
from s1.stats.seeds import SEEDS_FOR_TWO_WAY, of_seeds, t_quantile, two_way
from s1.stats.votes import majority_at, pass_at

SAME_TOKENS = 1e-9  # smaller differences of mean lengths are rounding errors


@dataclass(frozen=True)
class Sampled:
    """The grids of one point, one per seed, with the same questions in the same order."""

    seeds: tuple[int, ...]
    grids: tuple[Grid, ...]

    @property
    def questions(self) -> tuple[str, ...]:
        return self.grids[0].questions

    @cached_property
    def correct_RQS(self) -> np.ndarray:
        return np.stack([grid.correct_QS for grid in self.grids])

    @cached_property
    def thinking_tokens_RQS(self) -> np.ndarray:
        return np.stack([grid.thinking_tokens_QS for grid in self.grids])

    @cached_property
    def answer_tokens_RQS(self) -> np.ndarray:
        return np.stack([grid.answer_tokens_QS for grid in self.grids])

    @property
    def accuracy_Q(self) -> np.ndarray:
        return self.correct_RQS.mean(axis=(0, 2))

    @property
    def thinking_tokens_Q(self) -> np.ndarray:
        return self.thinking_tokens_RQS.mean(axis=(0, 2))

    def of_seeds(self, seeds: Sequence[int]) -> Sampled:
        """The same point, restricted to these seeds."""
        kept = [(seed, grid) for seed, grid in zip(self.seeds, self.grids, strict=True) if seed in seeds]
        return Sampled(tuple(seed for seed, _ in kept), tuple(grid for _, grid in kept))


def accuracy(sampled: Sampled, level: float) -> Estimate:
    """Share of right answers."""
    return clustered.accuracy(sampled.correct_RQS, level)


def tokens(tokens_RQS: np.ndarray, level: float) -> Estimate:
    """Mean tokens per trace."""
    return lengths.mean_tokens(tokens_RQS, level)


def at_every_k(sampled: Sampled, level: float) -> Iterator[AtK]:
    """pass@k and maj@k within each seed, averaged over seeds; nothing for one sample."""
    samples = sampled.correct_RQS.shape[2]
    if samples == 1:
        return
    majority_RQK = np.stack([majority_at(grid.votes_QS) for grid in sampled.grids])
    estimates_K = zip(
        clustered.shares(np.stack([pass_at(grid.correct_QS) for grid in sampled.grids]), samples, level),
        clustered.shares(majority_RQK, samples, level),
        pairs.gains(majority_RQK, samples, level),
        strict=True,
    )
    yield from (AtK(k, *estimates) for k, estimates in enumerate(estimates_K, start=1))


def paired(one: Sampled, other: Sampled, level: float) -> Estimate:
    """Accuracy of `one` minus that of `other` in percentage points, paired by question and seed."""
    return pairs.difference(*_as_paired(one.correct_RQS, other.correct_RQS, one, other), level)


def detectable(one: Sampled, other: Sampled, level: float, power: float) -> Estimate | None:
    """The smallest difference that `paired` detects with this power; None if no question differs."""
    if not (one.accuracy_Q - other.accuracy_Q).any():
        return None
    return pairs.detectable(*_as_paired(one.correct_RQS, other.correct_RQS, one, other), level, power)


def longer(one: Sampled, other: Sampled, level: float) -> Estimate:
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
