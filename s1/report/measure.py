"""The numbers of points over R seeds, Q questions and S samples: where the report asks the statistics.

Below TWO_WAY_SEEDS seeds an interval is over questions, given these seeds; the range over seeds stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist

import numpy as np

from s1.report.findings import AtK
from s1.stats import bootstrap
from s1.stats.grid import Grid
from s1.stats.interval import Estimate, plain
from s1.stats.votes import majority_at, pass_at


@dataclass(frozen=True)
class Sampled:
    """The grids of one point, one per seed; the same questions in one order."""

    seeds: tuple[int, ...]
    grids: tuple[Grid, ...]

    @property
    def questions(self) -> tuple[str, ...]:
        return self.grids[0].questions

    @cached_property
    def correct_RQS(self) -> np.ndarray:
        return np.stack([grid.correct_QS for grid in self.grids])

    @cached_property
    def thinking_tokens_RQ(self) -> np.ndarray:
        return np.stack([grid.thinking_tokens_Q for grid in self.grids])

    @property
    def accuracy_Q(self) -> np.ndarray:
        return self.correct_RQS.mean(axis=(0, 2))

    @property
    def thinking_tokens_Q(self) -> np.ndarray:
        return self.thinking_tokens_RQ.mean(axis=0)

    @property
    def answer_tokens_Q(self) -> np.ndarray:
        return np.stack([grid.answer_tokens_QS.mean(axis=1) for grid in self.grids]).mean(axis=0)

    def of_seeds(self, seeds: Sequence[int]) -> Sampled:
        """The same point, these seeds only."""
        kept = [(seed, grid) for seed, grid in zip(self.seeds, self.grids, strict=True) if seed in seeds]
        return Sampled(tuple(seed for seed, _ in kept), tuple(grid for _, grid in kept))


def accuracy(sampled: Sampled, counts_RQ: np.ndarray, level: float) -> Estimate:
    """Share right."""
    seeds, questions, samples = sampled.correct_RQS.shape
    correct_QS = sampled.correct_RQS.transpose(1, 0, 2).reshape(questions, seeds * samples)
    return _given(bootstrap.accuracy(correct_QS, counts_RQ, level), seeds)


def tokens(values_Q: np.ndarray, seeds: int, counts_RQ: np.ndarray, level: float) -> Estimate:
    """Mean tokens per trace."""
    return _given(bootstrap.mean(values_Q, counts_RQ, level, "tokens"), seeds)


def at_every_k(sampled: Sampled, counts_RQ: np.ndarray, level: float) -> Iterator[AtK]:
    """pass@k and maj@k of the samples of each seed, in the mean over seeds; nothing for one sample."""
    seeds, _, samples = sampled.correct_RQS.shape
    if samples == 1:
        return
    passed_QK = np.mean([pass_at(grid.correct_QS) for grid in sampled.grids], axis=0)
    majority_QK = np.mean([majority_at(grid.votes_QS) for grid in sampled.grids], axis=0)
    passed_K = bootstrap.shares(passed_QK, counts_RQ, level)
    majority_K = bootstrap.shares(majority_QK, counts_RQ, level)
    for k in range(1, samples + 1):
        gain = _paired(majority_QK[:, k - 1] - sampled.accuracy_Q, seeds * samples, level)
        same = plain(0.0, gain.n, "one sample is no vote", "pp")
        found = (passed_K[k - 1], majority_K[k - 1], gain if k > 1 else same)
        yield AtK(k, *(_given(each, seeds) for each in found))


def vote(sampled: Sampled, level: float) -> Estimate:
    """Majority of all samples less the accuracy of one, in percentage points; at any level."""
    seeds, _, samples = sampled.correct_RQS.shape
    majority_Q = np.mean([majority_at(grid.votes_QS)[:, -1] for grid in sampled.grids], axis=0)
    return _given(_paired(majority_Q - sampled.accuracy_Q, seeds * samples, level), seeds)


def paired(one: Sampled, other: Sampled, level: float) -> Estimate:
    """Accuracy of `one` less that of `other` in percentage points, by question and seed; at any level."""
    seeds, _, samples = one.correct_RQS.shape
    return _given(_paired(one.accuracy_Q - other.accuracy_Q, seeds * samples, level), seeds)


def detectable(one: Sampled, other: Sampled, level: float, power: float) -> Estimate | None:
    """The smallest difference that `paired` shows with this power; None where no question differs."""
    differences_Q = one.accuracy_Q - other.accuracy_Q
    if not differences_Q.any():
        return None
    found = _paired(differences_Q, 1, level)
    assert found.lo is not None and found.hi is not None
    normal = NormalDist()
    errors = 1 + normal.inv_cdf(power) / normal.inv_cdf((1 + level) / 2)
    method = f"at {100 * power:g} % power, from the standard error of the interval"
    return plain(errors * (found.hi - found.lo) / 2, len(differences_Q), method, "pp")


def _paired(differences_Q: np.ndarray, samples: int, level: float) -> Estimate:
    """Bonett and Price (2012): one question more that is gained, one that is lost; zero where a sign test cannot."""
    questions = len(differences_Q)
    count, value = questions + 2, float(differences_Q.mean())
    centre = differences_Q.sum() / count
    error = math.sqrt(((np.square(differences_Q).sum() + 2) / count - centre**2) / count)
    half = NormalDist().inv_cdf((1 + level) / 2) * error
    lo, hi = max(-1.0, centre - half), min(1.0, centre + half)
    if _sign_test(differences_Q) > 1 - level:
        lo, hi = min(lo, 0.0), max(hi, 0.0)
    name = "Bonett-Price, paired" if samples == 1 else "Bonett-Price over questions, paired"
    return Estimate(100 * value, 100 * min(lo, value), 100 * max(hi, value), questions, name, "pp", level)


def _sign_test(differences_Q: np.ndarray) -> float:
    """Two-sided p of as many questions gained and lost, or more unevenly, by fair coins."""
    gained, lost = int((differences_Q > 0).sum()), int((differences_Q < 0).sum())
    tail = sum(math.comb(gained + lost, count) for count in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / 2 ** (gained + lost))


def _given(estimate: Estimate, seeds: int) -> Estimate:
    """The same, its method saying what it holds for."""
    if seeds == 1:
        return estimate
    return replace(estimate, method=f"{estimate.method}, given these {seeds} seeds")
