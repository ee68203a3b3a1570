"""Majority vote: exact over all choices, from the scores of the samples alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from s1.generate.methods.majority_vote import AGGREGATOR
from s1.records import ScoreRow
from tests.support.ballots import over_all_choices, samples

ANSWERS = st.text("RRab-", min_size=1, max_size=8)


def vote(chosen: Sequence[ScoreRow]) -> Fraction:
    """What the majority of exactly these samples is worth; a tie counts in part."""
    count = Counter(score.extracted for score in chosen if score.extracted is not None)
    best = [answer for answer, votes in count.items() if votes == max(count.values())]
    return Fraction("7" in best, len(best) or 1)


@settings(deadline=None)
@given(ANSWERS)
def test_it_is_the_mean_over_all_choices_of_samples(answers: str) -> None:
    scores = samples(answers)
    for votes in range(1, len(scores) + 1):
        assert AGGREGATOR.expected(scores, votes) == over_all_choices(scores, votes, vote)


def test_right_answers_are_one_class_in_any_spelling_and_wrong_ones_are_not() -> None:
    spelled = [replace(score, extracted=text) for score, text in zip(samples("RR"), ("1/2", "0.5"), strict=True)]
    same, other = (samples(letters) for letters in ("aaa", "abc"))
    assert AGGREGATOR.expected([*spelled, *same], 5) == 0
    assert AGGREGATOR.expected([*spelled, *other], 5) == 1


def test_one_vote_is_the_share_of_right_samples() -> None:
    assert AGGREGATOR.expected(samples("RRa-"), 1) == 0.5


def test_a_question_of_which_nothing_can_be_read_is_wrong() -> None:
    assert AGGREGATOR.expected(samples("---"), 2) == 0


def test_it_needs_no_rewards() -> None:
    assert not AGGREGATOR.needs_rewards
    assert AGGREGATOR.choices(16, 4) == "all choices from 16 samples"
