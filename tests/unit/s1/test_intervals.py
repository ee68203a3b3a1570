"""Intervals over questions hold their level: one sample or several, one seed or many, and paired differences.

What is simulated is a small part of benchmarks/coverage.py, with fixed seeds. The bootstrap that these intervals
replace fails the same cells.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaincinv

from s1.stats.bootstrap import draw_counts
from s1.stats.clustered import Spread, accuracy, share_limits, shares
from s1.stats.interval import Estimate, StatisticsError, two_sided_z, wilson
from s1.stats.lengths import mean_tokens, token_limits
from s1.stats.paired import detectable, difference, gains, sign_test, wald, wald_of
from s1.stats.seeds import SeedRange, seed_range, t_quantile, two_way
from s1.stats.votes import RIGHT, majority_at, pass_at
from tests.support.known import known

LEVEL, Z = 0.95, two_sided_z(0.95)
REPETITIONS = 2000


def first_right(right_Q: list[int], samples: int) -> np.ndarray:
    """One seed; of each question as many samples are right as given: correct_RQS."""
    return (np.arange(samples) < np.array(right_Q)[:, None])[None]


def drawn(rng: np.random.Generator, accuracy: float, correlation: float, questions: int, samples: int) -> np.ndarray:
    """Shares of right samples of questions whose chances follow a beta distribution: repetitions x questions."""
    shape = (REPETITIONS, questions)
    size = (1 - correlation) / correlation if correlation else np.inf
    chances = rng.beta(accuracy * size, (1 - accuracy) * size, shape) if correlation else np.full(shape, accuracy)
    return rng.binomial(samples, chances) / samples


def held(limits: tuple[np.ndarray, np.ndarray], truth: float | np.ndarray) -> float:
    return float(((limits[0] <= truth) & (truth <= limits[1])).mean())


def percentiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The control: a bootstrap over questions, as intervals were made before."""
    counts = draw_counts(values.shape[-1], 1000, 0)
    lo, hi = np.quantile(counts @ values.T / values.shape[-1], [0.025, 0.975], axis=0)
    return lo, hi


# ----------------------------------------------------------------------------------------------------- one point


def test_one_sample_per_question_has_the_interval_of_wilson():
    """Newcombe (1998), 81 of 263: 0.2553 to 0.3662."""
    found = accuracy(first_right([1] * 81 + [0] * 182, 1), LEVEL)
    assert (found.value, found.method, found.n) == (81 / 263, "Wilson", 263)
    assert (found.lo, found.hi) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_next_to_the_edge_the_limit_that_faces_the_middle_is_exact():
    """One of 12: an accuracy of 0.427% gives one right or more in 5% of runs; Wilson's 1.5% would miss 1%."""
    found = accuracy(first_right([1] + [0] * 11, 1), LEVEL)
    assert found.lo == pytest.approx(1 - 0.95 ** (1 / 12))
    assert found.hi == pytest.approx(wilson(1, 12, LEVEL).hi)
    assert "exact" in found.method
    mirrored = accuracy(first_right([1] * 11 + [0], 1), LEVEL)
    assert (known(mirrored.lo), known(mirrored.hi)) == (
        pytest.approx(1 - known(found.hi)),
        pytest.approx(1 - known(found.lo)),
    )


def test_none_right_claims_no_more_than_the_questions_allow():
    for samples in (1, 4, 64):
        none, every = (accuracy(first_right([right] * 12, samples), LEVEL) for right in (0, samples))
        assert (none.value, none.lo, none.hi) == (0, 0, pytest.approx(wilson(0, 12, LEVEL).hi))
        assert (every.value, every.lo, every.hi) == (1, pytest.approx(wilson(12, 12, LEVEL).lo), 1)


@pytest.mark.parametrize(("questions", "samples"), [(12, 4), (12, 1), (30, 4), (5, 16), (100, 8)])
@pytest.mark.parametrize("together", [True, False], ids=["question by question", "sample by sample"])
def test_a_better_score_lowers_neither_limit(questions, samples, together):
    limits = []
    for right in range(questions * samples + 1):
        places = np.arange(questions * samples).reshape((questions, samples) if together else (samples, questions))
        means_Q = (places < right).mean(axis=1 if together else 0)
        limits.append(share_limits(means_Q, Spread(samples, Z), LEVEL))
    lo, hi = np.array(limits).T
    assert (np.diff(hi) >= -1e-12).all()
    assert (np.diff(lo) >= -1e-12).all()


@given(st.integers(1, 20), st.sampled_from([1, 3, 8]), st.integers(1, 6), st.integers(0, 2**31), st.floats(0, 1))
def test_no_interval_is_of_zero_width_and_each_holds_its_value(questions, seeds, samples, seed, share):
    rng = np.random.default_rng(seed)
    one, other = (rng.random((seeds, questions, samples)) < share for _ in range(2))
    found: list[Estimate] = [accuracy(one, LEVEL), difference(one, other, LEVEL), difference(one, one, LEVEL)]
    found += shares(np.stack([pass_at(each) for each in one]), samples, LEVEL)
    found += gains(np.stack([majority_at(np.where(each, RIGHT, RIGHT + 1)) for each in one]), samples, LEVEL)[1:]
    for each in found:
        assert known(each.lo) <= each.value <= known(each.hi)
        assert known(each.hi) - known(each.lo) > 0.01


def test_repeating_every_sample_does_not_narrow_the_interval():
    """Samples of one question are one cluster: copies of them are no new evidence."""
    once_RQS = (np.random.default_rng(0).random((1, 50, 1)) < 0.4).repeat(2, axis=2)
    once, many = accuracy(once_RQS, LEVEL), accuracy(once_RQS.repeat(8, axis=2), LEVEL)
    assert (once.lo, once.hi) == (pytest.approx(many.lo), pytest.approx(many.hi))


def test_samples_that_disagree_within_their_questions_narrow_the_interval():
    agreeing = accuracy(first_right([4] * 15 + [0] * 15, 4), LEVEL)
    mixed = accuracy(first_right([2] * 30, 4), LEVEL)
    assert agreeing.value == mixed.value == 0.5
    assert known(mixed.hi) - known(mixed.lo) == pytest.approx((known(agreeing.hi) - known(agreeing.lo)) / 2, rel=0.1)


def test_one_question_tells_nothing_of_others_however_many_its_samples():
    found = accuracy(first_right([32], 64), LEVEL)
    assert known(found.hi) - known(found.lo) > 0.75


@pytest.mark.parametrize("shape", [(12, 4), (0, 12, 4), (1, 0, 4), (1, 12, 0)])
def test_values_of_another_shape_are_refused(shape):
    with pytest.raises(StatisticsError, match="not seeds x questions x samples"):
        accuracy(np.zeros(shape), LEVEL)


@pytest.mark.parametrize(
    ("share", "correlation", "questions", "samples"),
    [(0.05, 0.3, 30, 4), (0.02, 0, 30, 4), (0.01, 0.9, 12, 4), (0.95, 0.3, 30, 4), (0.02, 0.3, 12, 16)],
)
def test_accuracy_of_several_samples_holds_where_the_bootstrap_did_not(share, correlation, questions, samples):
    means = drawn(np.random.default_rng(0), share, correlation, questions, samples)
    assert held(share_limits(means, Spread(samples, Z), LEVEL), share) > 0.94
    assert held(percentiles(means), share) < 0.92


def test_accuracy_of_one_sample_holds_at_one_percent_of_12_questions():
    means = drawn(np.random.default_rng(0), 0.01, 0, 12, 1)
    assert held(share_limits(means, Spread(1, Z), LEVEL), 0.01) > 0.97
    assert (
        held(
            (np.array([wilson(int(12 * mean + 0.5), 12, LEVEL).lo for mean in means.mean(axis=1)]), np.array(1.0)), 0.01
        )
        < 0.9
    )


# ------------------------------------------------------------------------------------------------ two points


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(12, 0, 2 / 4096), (1, 0, 1), (6, 0, 2 / 64), (5, 0, 2 / 32), (0, 0, 1), (9, 1, 22 / 1024)],
)
def test_the_sign_test_is_exact(gained, lost, p):
    assert sign_test(gained, lost) == sign_test(lost, gained) == pytest.approx(p)


@pytest.mark.parametrize(
    ("gained", "lost", "questions", "can_be_told"),
    [(1, 0, 1, False), (3, 0, 3, False), (5, 0, 5, False), (5, 0, 30, False), (6, 0, 6, True), (12, 0, 12, True),
     (0, 12, 12, True), (0, 0, 12, False), (9, 1, 30, True), (7, 2, 30, False)],
)  # fmt: skip
def test_one_sample_shows_a_difference_where_the_exact_test_does(gained, lost, questions, can_be_told):
    after = first_right([1] * gained + [0] * (questions - gained), 1)
    before = first_right([0] * gained + [1] * lost + [0] * (questions - gained - lost), 1)
    found = difference(after, before, LEVEL)
    assert found.value == pytest.approx(100 * (gained - lost) / questions)
    assert found.unit == "pp"
    assert (known(found.lo) > 0 or known(found.hi) < 0) is can_be_told
    assert known(found.hi) - known(found.lo) > 10


def test_the_interval_of_one_sample_is_that_of_bonett_and_price():
    """Bonett & Price (2012): with one gained and one lost question more, (b - c)/(n + 2) -+ z times its Wald error."""
    after, before = first_right([1] * 20 + [0] * 40, 1), first_right([0] * 20 + [1] * 5 + [0] * 35, 1)
    found = difference(after, before, LEVEL)
    gained, lost = 21 / 62, 6 / 62
    half = Z * np.sqrt((gained + lost - (gained - lost) ** 2) / 62)
    assert found.lo == pytest.approx(100 * (gained - lost - half))
    assert found.hi == pytest.approx(100 * (gained - lost + half))


def test_equal_differences_of_few_questions_show_nothing_whatever_their_samples():
    for questions, can_be_told in ((1, False), (5, False), (6, True)):
        found = difference(first_right([16] * questions, 16), first_right([4] * questions, 16), LEVEL)
        assert found.value == pytest.approx(75)
        assert (known(found.lo) > 0) is can_be_told
    assert "widened to 0" not in found.method


def test_points_that_are_the_same_on_every_question_are_not_certainly_equal():
    same = first_right([4] * 6 + [0] * 6, 4)
    found = difference(same, same, LEVEL)
    assert found.value == 0
    assert known(found.lo) == -known(found.hi) < -10


def test_a_paired_difference_is_narrower_than_its_two_accuracies():
    easy, easier = first_right([1] * 120 + [0] * 80, 1), first_right([1] * 130 + [0] * 70, 1)
    paired, alone = difference(easier, easy, LEVEL), accuracy(easier, LEVEL)
    assert paired.value == pytest.approx(5)
    assert known(paired.lo) > 0
    assert known(paired.hi) - known(paired.lo) < 100 * (known(alone.hi) - known(alone.lo)) * 0.55


def test_the_detectable_difference_has_the_error_of_the_interval():
    """Not the variance under no difference, which the observed difference itself inflates."""
    after, before = first_right([1] * 40 + [0] * 20, 1), first_right([0] * 40 + [1] * 2 + [0] * 18, 1)
    interval = difference(after, before, LEVEL)
    error = (known(interval.hi) - known(interval.lo)) / (2 * Z)
    found = detectable(after, before, LEVEL, 0.8)
    assert found.value == pytest.approx((Z + 0.8416212) * error)
    under_no_difference = (Z + 0.8416212) * 100 * np.sqrt(42 / 60 / 60)
    assert found.value < 0.8 * under_no_difference
    assert (found.lo, found.unit) == (None, "pp")


def test_a_difference_above_100_points_is_never_asked_for():
    assert detectable(first_right([1], 1), first_right([0], 1), LEVEL, 0.8).value == 100


def test_points_of_other_questions_or_seeds_are_not_compared():
    one = first_right([1] * 12, 1)
    for other in (one[:, :11], one.repeat(2, axis=0)):
        with pytest.raises(StatisticsError, match="different seeds or questions"):
            difference(one, other, LEVEL)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.5, 0.95])
@pytest.mark.parametrize(("samples", "correlation"), [(1, 0), (4, 0.3), (16, 0.9)])
def test_paired_differences_hold_their_level(share, samples, correlation):
    rng = np.random.default_rng(1)
    one, other = (drawn(rng, each, correlation, 30, samples) for each in (share, share / 2))
    assert held(wald(one, other, samples, LEVEL).limits, share / 2) > 0.94
    if share == 0.02:
        assert held(percentiles(one - other), share / 2) < 0.8


@pytest.mark.parametrize(("share", "correlation", "votes"), [(0.2, 0, 8), (0.6, 0, 16), (0.6, 0.3, 8), (0.9, 0.9, 4)])
def test_points_of_votes_and_their_differences_hold_their_level(share, correlation, votes):
    """A probability for each question, from 16 samples: of an interval, and less one sample or another point."""
    samples = 16
    majority_C = majority_at(np.where(np.arange(samples) < np.arange(samples + 1)[:, None], RIGHT, 1))[:, votes - 1]

    def expected(rng: np.random.Generator, accuracy: float, questions: int) -> tuple[np.ndarray, np.ndarray]:
        right = np.rint(samples * drawn(rng, accuracy, correlation, questions, samples)).astype(int)
        return majority_C[right], right / samples

    truth, truth_of_other = (expected(np.random.default_rng(2), each, 500)[0].mean() for each in (share, share / 2))
    rng = np.random.default_rng(3)
    (values, one_sample), (others, _) = (expected(rng, each, 30) for each in (share, share / 2))
    assert held(share_limits(values, Spread(samples, Z), LEVEL), truth) > 0.94
    assert held(wald(values, one_sample, samples, LEVEL).limits, truth - share) > 0.93
    assert held(wald(values, others, samples, LEVEL).limits, truth - truth_of_other) > 0.94


def test_a_vote_of_one_has_no_gain_and_no_interval():
    found = gains(majority_at(np.where(first_right([1, 2, 3] * 4, 3)[0], RIGHT, RIGHT + 1))[None], 3, LEVEL)
    assert (found[0].value, found[0].lo) == (0, None)
    assert known(found[2].lo) < found[2].value < known(found[2].hi)


# --------------------------------------------------------------------------------------------------- seeds


def test_below_8_seeds_the_interval_is_over_questions_and_the_range_is_added():
    values_RQS = np.stack([first_right([1] * right + [0] * (30 - right), 1)[0] for right in (10, 12, 17)])
    found = accuracy(values_RQS, LEVEL)
    assert (found.value, found.n) == (pytest.approx(13 / 30), 30)
    assert found.method == "Wilson over questions, given these 3 seeds, clustered"
    assert seed_range(values_RQS) == SeedRange(3, 10 / 30, 17 / 30)
    assert seed_range(values_RQS[:1]) is None


def test_the_variance_of_crossed_seeds_and_questions_is_that_of_the_table():
    """Three seeds, two questions: mean squares 24 of questions, 6 of seeds, 2 of the rest."""
    found = two_way(np.array([[0.0, 6], [1, 5], [5, 7]]))
    assert found.seed_variance == pytest.approx((6 - 2) / 6)
    assert found.degrees_of_freedom == pytest.approx((24 + 6 - 2) ** 2 / (24**2 / 1 + 6**2 / 2 + 2**2 / 2))


@pytest.mark.parametrize("seeds", [8, 16])
def test_many_seeds_hold_for_seeds_not_seen_where_questions_alone_do_not(seeds):
    """The seeds' standard deviation is 10 points, around 50%; 198 questions of two samples."""
    rng = np.random.default_rng(2)
    repetitions, questions, spread_of_seeds = 600, 198, 0.10
    chances = rng.beta(2, 2, (repetitions, 1, questions)) * 0.4 + 0.3
    chances = chances + spread_of_seeds * rng.uniform(-1, 1, (repetitions, seeds, 1)) * np.sqrt(3)
    values = rng.binomial(2, chances) / 2
    found = two_way(values)
    spread = Spread(2 * seeds, t_quantile(found.degrees_of_freedom, LEVEL), found.seed_variance)
    assert held(share_limits(values.mean(axis=1), spread, LEVEL), 0.5) > 0.93
    assert held(percentiles(values.mean(axis=1)), 0.5) < 0.8


def test_pooled_points_are_paired_by_seed():
    """What a seed does to both points is no part of their difference."""
    rng = np.random.default_rng(3)
    seed_R11 = rng.normal(0, 0.12, (10, 1, 1))
    chances_Q1 = rng.uniform(0.35, 0.65, (60, 1))
    one, other = (rng.random((10, 60, 4)) < chances_Q1 + seed_R11 for _ in range(2))
    paired = wald_of(one, other, LEVEL).limits
    shuffled = wald_of(one, other[rng.permutation(10)], LEVEL).limits
    assert paired[1] - paired[0] < 0.6 * (shuffled[1] - shuffled[0])
    assert "10 seeds, two-way" in difference(one, other, LEVEL).method


def test_chances_of_many_seeds_have_the_interval_of_both_sources():
    """pass@1 and maj@1 are the accuracy, of pooled seeds too."""
    rng = np.random.default_rng(5)
    correct_RQS = rng.random((8, 30, 4)) < rng.uniform(0.2, 0.8, (1, 30, 1)) + rng.normal(0, 0.1, (8, 1, 1))
    one, *_, last = shares(np.stack([pass_at(each) for each in correct_RQS]), 4, LEVEL)
    whole = accuracy(correct_RQS, LEVEL)
    assert (one.value, one.lo, one.hi, one.method) == (
        *map(pytest.approx, (whole.value, whole.lo, whole.hi)),
        whole.method,
    )
    assert last.value > one.value
    majority_RQK = np.stack([majority_at(np.where(each, RIGHT, RIGHT + 1)) for each in correct_RQS])
    pooled, given_seeds = gains(majority_RQK, 4, LEVEL)[3], gains(majority_RQK[:7], 4, LEVEL)[3]
    assert "8 seeds, two-way" in pooled.method
    assert "given these 7 seeds" in given_seeds.method


# -------------------------------------------------------------------------------------------------- tokens


def test_traces_that_all_reach_the_budget_are_the_only_interval_of_one_value():
    found = mean_tokens(np.full((1, 12, 4), 4096), LEVEL)
    assert (found.value, found.lo, found.hi, found.method) == (4096, 4096, 4096, "every trace the same")
    equal_means = mean_tokens(np.tile([100, 300], (1, 12, 1)), LEVEL)
    assert known(equal_means.lo) < 200 < known(equal_means.hi)
    for traces in ([100, 300], [200]):
        single = mean_tokens(np.array([[traces]]), LEVEL)
        assert (single.value, single.lo) == (200, None)


def test_mean_lengths_hold_their_level_though_their_tail_is_long():
    lengths = np.exp(np.random.default_rng(4).normal(0, 0.7, (REPETITIONS, 1, 30, 1)))
    truth = np.exp(0.7**2 / 2)
    assert held(token_limits(lengths, LEVEL), truth) > 0.93
    assert held(percentiles(lengths[:, 0, :, 0]), truth) < 0.92


def test_the_beta_questions_of_the_benchmark_have_the_correlation_that_they_claim():
    size = (1 - 0.3) / 0.3
    chances = betaincinv(0.2 * size, 0.8 * size, (np.arange(20_000) + 0.5) / 20_000)
    assert chances.var() / (0.2 * 0.8) == pytest.approx(0.3, abs=0.001)
