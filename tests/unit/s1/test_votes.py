"""pass@k and maj@k against their definitions: every subset of the samples, and every order, counted one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.records import AnswerEnd, Ending, Outcome, ScoreRow
from s1.stats.votes import RIGHT, SILENT, majority_at, pass_at, votes

BALLOTS = st.lists(st.sampled_from([SILENT, RIGHT, RIGHT, 1, 1, 2, 2, 3, 4]), min_size=1, max_size=9)


def majority(votes_S: Sequence[int]) -> list[float]:
    return majority_at(np.array([votes_S]))[0].tolist()


def shared_win(votes_S: Sequence[int]) -> Fraction:
    """What a plain majority vote over all of them is worth."""
    counts = Counter(vote for vote in votes_S if vote != SILENT)
    best = [vote for vote, count in counts.items() if count == max(counts.values())]
    return Fraction(RIGHT in best, len(best) or 1)


def first_seen_wins(votes_S: Sequence[int]) -> bool:
    """As the original code has it: of two answers with as many votes, the one that came first."""
    counts = Counter(vote for vote in votes_S if vote != SILENT)  # in the order of their first votes
    return bool(counts) and max(counts, key=counts.__getitem__) == RIGHT


def score(extracted: str | None, *, correct: bool = False) -> ScoreRow:
    return ScoreRow("q", 0, "7", extracted, correct, Outcome.ANSWERED, Ending.NATURAL, 10, 1, AnswerEnd.STOP, 0, 0, 12)


# ------------------------------------------------------------------------------------------- the definitions


@given(BALLOTS)
def test_majority_at_k_is_the_mean_over_all_subsets(votes_S: list[int]) -> None:
    """Correctly rounded: the sum of whole numbers is divided once."""
    subsets = [list(combinations(votes_S, k)) for k in range(1, len(votes_S) + 1)]
    assert majority(votes_S) == [float(sum(map(shared_win, each)) / len(each)) for each in subsets]


@given(BALLOTS)
def test_pass_at_k_is_the_share_of_subsets_that_hold_a_right_one(votes_S: list[int]) -> None:
    subsets = [list(combinations(votes_S, k)) for k in range(1, len(votes_S) + 1)]
    counted = [sum(RIGHT in subset for subset in each) / len(each) for each in subsets]
    assert pass_at(np.array([votes_S]) == RIGHT)[0].tolist() == counted


@given(BALLOTS.filter(lambda votes_S: len(votes_S) <= 6))
def test_majority_at_k_is_the_mean_of_the_first_k_over_all_orders(votes_S: list[int]) -> None:
    """So it is what the original code would find, freed of the order in which the samples happened to come."""
    orders = list(permutations(votes_S))
    for k, expected in enumerate(majority(votes_S), start=1):
        assert expected == sum(first_seen_wins(order[:k]) for order in orders) / len(orders)


def test_the_first_k_alone_depend_on_the_order() -> None:
    assert [first_seen_wins(order) for order in [(RIGHT, 1), (1, RIGHT)]] == [True, False]
    assert majority([RIGHT, 1]) == majority([1, RIGHT]) == [0.5, 0.5]


# ------------------------------------------------------------------------------------------------ invariants


@given(st.lists(st.integers(SILENT, 12), min_size=1, max_size=64), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_nothing(votes_S: list[int], random) -> None:
    shuffled = random.sample(votes_S, len(votes_S))
    assert majority(shuffled) == majority(votes_S)


@given(st.lists(st.integers(SILENT, 12), min_size=1, max_size=64))
def test_one_sample_is_the_accuracy_and_all_are_a_plain_majority_vote(votes_S: list[int]) -> None:
    votes_1S = np.array([votes_S])
    accuracy = float((votes_1S == RIGHT).mean())
    found = majority(votes_S)
    assert found[0] == pass_at(votes_1S == RIGHT)[0, 0] == accuracy
    assert found[-1] == float(shared_win(votes_S))


@given(st.lists(st.integers(SILENT, 12), min_size=1, max_size=64))
def test_a_majority_needs_a_right_sample_and_more_samples_hold_one_more_often(votes_S: list[int]) -> None:
    passed_K = pass_at(np.array([votes_S]) == RIGHT)[0]
    assert (np.array(majority(votes_S)) <= passed_K).all()
    assert (np.diff(passed_K) >= 0).all()


@given(st.lists(st.integers(SILENT, 3), min_size=1, max_size=32), st.data())
def test_a_wrong_answer_in_two_spellings_never_lowers_the_majority(votes_S: list[int], data: st.DataObject) -> None:
    other = [data.draw(st.sampled_from([vote, 99])) if vote == 1 else vote for vote in votes_S]
    assert all(split >= whole for split, whole in zip(majority(other), majority(votes_S), strict=True))


def test_questions_are_independent() -> None:
    rows = [[RIGHT, 1, 1, 2], [RIGHT, RIGHT, 1, SILENT], [SILENT] * 4]
    assert majority_at(np.array(rows)).tolist() == [majority(row) for row in rows]


def test_many_samples_are_counted_without_rounding() -> None:
    """The counts of subsets have up to 45 digits here, a float holds 15 of them."""
    found = majority([RIGHT] * 76 + [1] * 75)
    assert found[0] == 76 / 151
    assert found[1] == pytest.approx(found[0], abs=1e-15)  # of two that differ, each wins half
    assert found[-1] == 1
    assert all(0.5 < each <= 1 for each in found)
    assert found[::2] == sorted(found[::2])  # of an odd number none is shared


# --------------------------------------------------------------------------------------------- who votes how


def test_right_samples_agree_however_spelled_and_wrong_ones_by_their_normalised_text() -> None:
    scores = [
        score("0.5", correct=True),
        score(r"\dfrac{1}{2}", correct=True),
        score(r"\dfrac13"),
        score(r"$ \frac 13 $."),
        score("1/3"),
        score(None),
        score("12"),
    ]
    assert votes(scores) == [RIGHT, RIGHT, 1, 1, 2, SILENT, 3]


def test_a_sample_without_an_answer_counts_among_k_and_does_not_vote() -> None:
    assert majority([SILENT, SILENT]) == [0, 0]
    assert majority([RIGHT, SILENT, SILENT]) == [pytest.approx(1 / 3), pytest.approx(2 / 3), 1]
