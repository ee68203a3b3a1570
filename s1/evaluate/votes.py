"""Votes of the samples of a question, and the expected result of a majority of k of them, exactly.

All correct samples vote for the same answer, in any spelling. A wrong sample votes for its text as normalized by the
grader: 1/2 and 0.5 are two wrong answers, and such a split can only favor the correct one. A sample without a readable
answer counts among the k but does not vote; if no sample votes, the result is wrong.

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
from functools import cache

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


@dataclass(frozen=True)
class Tally:
    """Vote counts of one question: for the correct answer, for each wrong one, and without a vote."""

    right: int
    wrong: tuple[int, ...]
    silent: int


def tally(votes_S: Sequence[int]) -> Tally:
    count = Counter(votes_S)
    right, silent = count.pop(RIGHT, 0), count.pop(SILENT, 0)
    return Tally(right, tuple(sorted(count.values())), silent)


@cache
def majority(tally: Tally) -> tuple[float, ...]:
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
    return tuple((won >> bits * k) % x / (parts * math.comb(samples, k)) for k in range(1, samples + 1))


def _no_rival_above(tally: Tally, count: int, parts: int, x: int) -> int:
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
