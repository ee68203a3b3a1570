"""Samples of one question as letters, and a brute-force mean over every choice of k of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations

from s1.records import AnswerEnd, Ending, Outcome, ScoreRow


def samples(answers: str, rewards: Sequence[float | None] | None = None, question: str = "q") -> list[ScoreRow]:
    """A sample per letter: R is right, "-" has no readable answer, every other letter is a wrong answer."""
    return [
        ScoreRow(
            question,
            place,
            "7",
            None if letter == "-" else "7" if letter == "R" else letter,
            letter == "R",
            Outcome.NONE if letter == "-" else Outcome.ANSWERED,
            Ending.NATURAL,
            10,
            2,
            AnswerEnd.STOP,
            0,
            0,
            14,
            reward=None if rewards is None else rewards[place],
        )
        for place, letter in enumerate(answers)
    ]


def over_all_choices(scores: Sequence[ScoreRow], votes: int, once: Callable[[Sequence[ScoreRow]], Fraction]) -> float:
    """The mean of `once` over every choice of `votes` samples, in exact arithmetic."""
    choices = list(combinations(scores, votes))
    return float(sum(map(once, choices), Fraction(0)) / len(choices))
