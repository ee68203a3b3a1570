"""Weighted vote: the answer with the largest sum of rewards, exact over all choices while they can be counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1.config.schema import ConfigError
from s1.generate.methods import majority_vote
from s1.generate.methods.weighted_vote import AGGREGATOR, _choices
from s1.records import ScoreRow
from tests.support.ballots import over_all_choices, samples

REWARDED = st.lists(st.tuples(st.sampled_from("RRab-"), st.sampled_from([0.0, 0.1, 0.2, 0.3])), min_size=1, max_size=8)


def weighted(chosen: Sequence[ScoreRow]) -> Fraction:
    """What the vote of exactly these samples is worth; rewards are taken as tenths, so that sums are exact."""
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for score in chosen:
        if score.extracted is not None and score.reward is not None:
            sums[score.extracted] += Fraction(round(10 * score.reward), 10)
    winners = [answer for answer, total in sums.items() if total == max(sums.values())]
    return Fraction("7" in winners, len(winners) or 1)


@settings(deadline=None)
@given(REWARDED)
def test_it_is_the_mean_over_all_choices_of_samples(rewarded: list[tuple[str, float]]) -> None:
    """0.1 + 0.2 ties with 0.3, although the floating-point sums differ."""
    scores = samples("".join(letter for letter, _ in rewarded), [reward for _, reward in rewarded])
    for votes in range(1, len(scores) + 1):
        expected = over_all_choices(scores, votes, weighted)
        assert AGGREGATOR.expected(scores, votes) == pytest.approx(expected, abs=1e-12)


def test_equal_rewards_are_a_majority_vote() -> None:
    answers = "RRRaabb--aRRbcdR"
    for votes in range(1, 17):
        weights, plain = samples(answers, [0.7] * 16), samples(answers)
        expected = majority_vote.AGGREGATOR.expected(plain, votes)
        assert AGGREGATOR.expected(weights, votes) == pytest.approx(expected, abs=1e-12)


def test_one_sample_of_a_high_reward_outvotes_several_of_low_ones() -> None:
    assert AGGREGATOR.expected(samples("Raaa", [0.9, 0.2, 0.2, 0.2]), 4) == 1
    assert AGGREGATOR.expected(samples("Raaa", [0.5, 0.2, 0.2, 0.2]), 4) == 0


def test_many_choices_are_drawn_at_random_and_the_report_says_so() -> None:
    answers = "R" * 40 + "a" * 24
    drawn = AGGREGATOR.expected(samples(answers, [0.5] * 64), 8)
    assert drawn == AGGREGATOR.expected(samples(answers, [0.5] * 64), 8)
    assert drawn == pytest.approx(majority_vote.AGGREGATOR.expected(samples(answers), 8), abs=0.02)
    assert AGGREGATOR.choices(16, 8) == "all choices from 16 samples"
    assert AGGREGATOR.choices(64, 8) == "10,000 random choices from 64 samples"


@pytest.mark.parametrize(("total", "votes", "rows"), [(5, 2, 10), (16, 8, 12_870), (16, 16, 1), (30, 10, 10_000)])
def test_every_choice_has_so_many_different_samples(total: int, votes: int, rows: int) -> None:
    chosen = _choices(total, votes)
    assert chosen.shape == (rows, total)
    assert (chosen.sum(axis=1) == votes).all()
    # no sample is preferred; of all choices, each is in the same number
    assert np.ptp(chosen.mean(axis=0)) < 0.03


def test_a_negative_or_missing_reward_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"question q sample 1 has the reward -0\.5, and a weight must not be"):
        AGGREGATOR.expected(samples("RR", [0.5, -0.5]), 2)
    with pytest.raises(ConfigError, match="reward null: question q sample 0"):
        AGGREGATOR.expected(samples("RR", [None, 0.5]), 2)
