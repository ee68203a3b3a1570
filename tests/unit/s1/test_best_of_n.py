"""Best of N: the sample with the highest reward, exact over all choices, ties in part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1.config.schema import ConfigError
from s1.generate.methods.best_of_n import AGGREGATOR
from s1.records import ScoreRow
from tests.support.ballots import over_all_choices, samples

REWARDED = st.lists(st.tuples(st.sampled_from("Rab-"), st.sampled_from([-1.5, 0.0, 0.25, 0.5])), min_size=1, max_size=8)


def best(chosen: Sequence[ScoreRow]) -> Fraction:
    """The best of exactly these samples; of several with the same reward, each is as likely."""
    highest = max(score.reward for score in chosen if score.reward is not None)
    of_these = [score.correct for score in chosen if score.reward == highest]
    return Fraction(sum(of_these), len(of_these))


@settings(deadline=None)
@given(REWARDED)
def test_it_is_the_mean_over_all_choices_of_samples(rewarded: list[tuple[str, float]]) -> None:
    scores = samples("".join(letter for letter, _ in rewarded), [reward for _, reward in rewarded])
    for votes in range(1, len(scores) + 1):
        expected = over_all_choices(scores, votes, best)
        assert AGGREGATOR.expected(scores, votes) == pytest.approx(expected, abs=1e-12)


def test_all_samples_take_the_best_one_and_one_sample_takes_any() -> None:
    scores = samples("aRa-", [0.1, 0.9, 0.3, 0.2])
    assert [AGGREGATOR.expected(scores, votes) for votes in (1, 2, 4)] == [0.25, 0.5, 1.0]


def test_a_sample_without_an_answer_may_be_the_best() -> None:
    assert AGGREGATOR.expected(samples("R-", [0.2, 0.9]), 2) == 0


@pytest.mark.parametrize(
    ("reward", "complaint"),
    [
        (None, r"reward null: question q sample 1 has no reward\. Choose a reward model with reward=NAME\."),
        (float("nan"), r"reward nan: of question q sample 1, is not a number"),
    ],
)
def test_a_missing_reward_is_refused(reward: float | None, complaint: str) -> None:
    first, second = samples("RR", [0.5, 0.5])
    with pytest.raises(ConfigError, match=complaint):
        AGGREGATOR.expected([first, replace(second, reward=reward)], 2)
