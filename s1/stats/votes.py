"""Unbiased pass@k and maj@k from S samples of each question, for every k from 1 to S.

    pass@k    at least one of k samples is correct: 1 - C(S - c, k) / C(S, k), if c of the S samples are correct
    maj@k     the majority answer is correct: the mean over all choices of k samples of 1/t if the correct answer is one
              of t answers tied for the most votes, else 0

Both are expectations over the choice of k samples, so sample order does not matter. The original code uses the first k
and breaks ties by the answer seen first; averaged over all orders, this equals maj@k.

Votes: all correct samples vote for the same answer, in any spelling. A wrong sample votes for its text as normalized by
the grader: 1/2 and 0.5 are two wrong answers, and such a split can only favor the correct one. A sample without a
readable answer counts among the k but does not vote; if no sample votes, the result is wrong.

Counting: let the correct answer have v votes, and let y count the wrong answers tied with it. The generating function
of draws in which no wrong answer has more than v votes is, with `silent` samples that do not vote,
    C(c, v) x^v (1 + x)^silent product over wrong answers of w samples (sum of C(w, a) x^a over a < v  +  C(w, v) x^v y)
and a draw of k samples with t tied wrong answers, x^k y^t, counts 1 / (1 + t). A polynomial in x is stored as one
integer, its value at a power of two above all its coefficients: products need no loop, and only the last division
rounds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s1.evaluate.graders import normalised
from s1.records import ScoreRow

SILENT = -1  # no readable answer
RIGHT = 0  # wrong answers are 1, 2, ... within their question


def votes(scores_S: Sequence[ScoreRow]) -> list[int]:
    """The vote of each sample of one question: RIGHT, SILENT, or the number of a wrong answer."""
    wrong: dict[str, int] = {}

    def vote(score: ScoreRow) -> int:
        if score.correct:
            return RIGHT
        if score.extracted is None:
            return SILENT
        return wrong.setdefault(normalised(score.extracted), len(wrong) + 1)

    return [vote(score) for score in scores_S]


def pass_at(correct_QS: np.ndarray) -> np.ndarray:
    """Probability per question that k of its S samples include a correct one, for k = 1..S: pass_QK."""
    samples = correct_QS.shape[1]
    draws_K = [math.comb(samples, k) for k in range(1, samples + 1)]
    by_right = [
        [(draws - math.comb(samples - right, k)) / draws for k, draws in enumerate(draws_K, start=1)]
        for right in range(samples + 1)
    ]
    return np.array(by_right)[correct_QS.sum(axis=1)]


def majority_at(votes_QS: np.ndarray) -> np.ndarray:
    """Probability per question that the majority of k of its S samples is correct, for k = 1..S: majority_QK."""
    tallies_Q = [_tally(votes_S) for votes_S in votes_QS.tolist()]
    expected = {tally: _majority(tally) for tally in dict.fromkeys(tallies_Q)}
    return np.array([expected[tally] for tally in tallies_Q])


@dataclass(frozen=True)
class _Tally:
    """Vote counts of one question: for the correct answer, for each wrong one, and without a vote."""

    right: int
    wrong: tuple[int, ...]
    silent: int


def _tally(votes_S: Sequence[int]) -> _Tally:
    count = Counter(votes_S)
    right, silent = count.pop(RIGHT, 0), count.pop(SILENT, 0)
    return _Tally(right, tuple(sorted(count.values())), silent)


def _majority(tally: _Tally) -> list[float]:
    """maj@k for k = 1..S."""
    samples = tally.right + sum(tally.wrong) + tally.silent
    parts = math.lcm(
        *range(1, len(tally.wrong) + 2)
    )  # a win is counted as this many parts, so that any tie divides it evenly
    bits = samples + parts.bit_length()  # no coefficient is above parts * C(S, k)
    x = 1 << bits
    won = sum(
        math.comb(tally.right, count) * x**count * _no_rival_above(tally, count, parts, x)
        for count in range(1, tally.right + 1)
    )
    return [(won >> bits * k) % x / (parts * math.comb(samples, k)) for k in range(1, samples + 1)]


def _no_rival_above(tally: _Tally, count: int, parts: int, x: int) -> int:
    """Weighted number of draws of the other samples in which no wrong answer has more than `count` votes."""
    rivals = [size for size in tally.wrong if size >= count]
    ways_T = [1]  # entry t: ways with t tied rivals, without the factor x^(count * t)
    for size in rivals:
        fewer = sum(math.comb(size, drawn) * x**drawn for drawn in range(count))
        equal = math.comb(size, count)
        same, one_less = [*ways_T, 0], [0, *ways_T]
        ways_T = [fewer * as_many + equal * before for as_many, before in zip(same, one_less, strict=True)]
    shared = sum(ways * x ** (count * ties) * (parts // (1 + ties)) for ties, ways in enumerate(ways_T))
    return shared * (1 + x) ** (tally.silent + sum(tally.wrong) - sum(rivals))
