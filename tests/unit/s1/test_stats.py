"""Intervals, the bootstrap over questions, and Control / Scaling / Performance against the paper's Table 3."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.generate.methods.method import Bounds
from s1.records import AnswerEnd, Ending, Outcome, ScoreRow
from s1.stats.bootstrap import draw_counts, resampled_means, statistic, stream
from s1.stats.grid import grid, require_paired
from s1.stats.interval import (
    Estimate,
    StatisticsError,
    detectable_unpaired_pp,
    plain,
    standard_error_pp,
    wilson,
)
from s1.stats.scaling import best_point, control, metrics, performance, scaling, slope
from s1.stats.votes import RIGHT
from tests.support.known import known

# AIME24, right answers of 30, mean thinking tokens, requested limit (paper, Tables 11 to 13).
TCC = ([8, 9, 10, 10, 12], [7939, 7158, 8263, 7108, 7500], [1024, 2048, 4096, 8192, 16384])
TCC_FORCED = ([1, 9, 10, 10, 12], [1024, 2048, 4031, 5664, 6330], [1024, 2048, 4096, 8192, 16384])
SCC = ([10, 7, 10, 11, 10], [7252, 6277, 5396, 5552, 7551], [1600, 3200, 6400, 12800, 25600])
SCC_FORCED = ([7, 7, 10, 11, 10], [1517, 2963, 4636, 5409, 7551], [1600, 3200, 6400, 12800, 25600])


def score(question: str, *, sample: int = 0, correct: bool = True, tokens: int = 10) -> ScoreRow:
    return ScoreRow(
        question,
        sample,
        "1",
        "1",
        correct,
        Outcome.ANSWERED,
        Ending.NATURAL,
        tokens,
        1,
        AnswerEnd.STOP,
        0,
        0,
        tokens + 2,
    )


# ------------------------------------------------------------------------------------------------ the paper


@pytest.mark.parametrize(
    ("rows", "exact_scaling", "published_scaling", "published_control"),
    [(TCC, -23.77, -24, 0.4), (TCC_FORCED, 13.16, 13, 1), (SCC, 2.93, 3, 0.6), (SCC_FORCED, 6.41, 6, 1)],
)
def test_scaling_and_control_are_those_of_table_3(rows, exact_scaling, published_scaling, published_control):
    right, tokens, limits = rows
    tokens_1P, accuracy_1P = np.array([tokens], float), np.array([right]) / 30
    found = scaling(tokens_1P, accuracy_1P)[0]
    assert found == pytest.approx(exact_scaling, abs=0.005)
    assert round(found) == published_scaling
    assert control(tokens_1P, [Bounds(highest=limit) for limit in limits])[0] == published_control


def test_class_conditional_control_is_that_of_table_3():
    """Short should think less than the default of 6109 tokens, long more."""
    tokens_1P, accuracy_1P = np.array([[8033.0, 9651.0]]), np.array([[9, 11]]) / 30
    wanted = [Bounds(highest=6109), Bounds(lowest=6109)]
    assert control(tokens_1P, wanted)[0] == 0.5
    assert round(scaling(tokens_1P, accuracy_1P)[0]) == 25
    assert performance(accuracy_1P)[0] == pytest.approx(0.367, abs=0.0005)


# ---------------------------------------------------------------------------------------- scaling and slope


@given(st.floats(-30, 30), st.lists(st.integers(1, 30_000), min_size=2, max_size=8, unique=True))
def test_scaling_and_slope_recover_a_straight_line(pp_per_doubling, tokens):
    tokens_1P = np.array([tokens], float)
    line_1P = 0.4 + pp_per_doubling / 100 * np.log2(tokens_1P)
    assert scaling(tokens_1P, line_1P)[0] == pytest.approx(pp_per_doubling, abs=1e-6)
    assert slope(tokens_1P, line_1P)[0] == pytest.approx(pp_per_doubling, abs=1e-6)


def test_two_points_of_the_same_length_have_no_slope_between_them():
    assert scaling(np.array([[100.0, 200.0, 200.0]]), np.array([[0.1, 0.2, 0.3]]))[0] == pytest.approx(15)
    assert math.isnan(scaling(np.array([[200.0, 200.0]]), np.array([[0.1, 0.2]]))[0])
    assert math.isnan(slope(np.array([[200.0, 200.0]]), np.array([[0.1, 0.2]]))[0])


def test_near_equal_lengths_rule_the_scaling_but_not_the_slope():
    tokens_1P, accuracy_1P = np.array([[64.0, 128.0, 129.0]]), np.array([[0.4, 0.5, 0.49]])
    assert scaling(tokens_1P, accuracy_1P)[0] < 0 < slope(tokens_1P, accuracy_1P)[0]


def test_control_is_none_when_no_point_requests_a_length():
    assert math.isnan(control(np.array([[10.0]]), [None])[0])


def test_metrics_leave_invalid_points_out_of_all_but_control():
    tokens_QP = np.tile([8.0, 16.0, 99.0], (40, 1))
    accuracy_QP = np.tile([0.0, 0.5, 1.0], (40, 1))
    accuracy_QP[:20, 1] += 0.25
    accuracy_QP[20:, 1] -= 0.25
    requested = [Bounds(highest=8), Bounds(highest=16), Bounds(highest=32)]
    found = metrics(tokens_QP, accuracy_QP, requested, [True, True, False], draw_counts(40, 200, 0), 0.95)
    assert known(found.performance).value == 0.5
    assert known(found.scaling).value == known(found.slope).value == pytest.approx(50)
    assert (known(found.control).value, known(found.control).lo) == (pytest.approx(2 / 3), None)


def test_questions_that_are_all_alike_give_no_slope_and_no_interval_of_zero_width():
    tokens_QP, accuracy_QP = np.tile([8.0, 16.0], (40, 1)), np.tile([0.0, 1.0], (40, 1))
    found = metrics(
        tokens_QP, accuracy_QP, [Bounds(highest=8), Bounds(highest=16)], [True, True], draw_counts(40, 200, 0), 0.95
    )
    assert (found.scaling, found.slope) == (None, None)
    assert known(found.performance).value == 1
    assert 0.85 < known(known(found.performance).lo) < 0.95
    single = metrics(
        tokens_QP[:1], accuracy_QP[:1], [Bounds(highest=8)] * 2, [True, True], draw_counts(1, 200, 0), 0.95
    )
    assert (single.scaling, single.slope) == (None, None)
    assert "not corrected" in known(single.performance).method


def test_the_best_of_points_that_are_all_alike_is_not_taken_for_better():
    """Four points of 50% on 30 questions: their maximum is 9 points too high on average, Performance hardly at all."""
    draw, highest, corrected = np.random.default_rng(3), [], []
    for _ in range(60):
        accuracy_QP = (draw.random((30, 4)) < 0.5).astype(float)
        estimate = best_point(accuracy_QP, draw_counts(30, 200, 0), 0.95)
        highest.append(performance(accuracy_QP.mean(axis=0, keepdims=True))[0])
        corrected.append(estimate.value)
        assert known(estimate.lo) < estimate.value <= highest[-1] < known(estimate.hi)
    assert np.mean(highest) > 0.57
    assert abs(np.mean(corrected) - 0.5) < 0.025


def test_metrics_of_a_single_point_have_a_performance_and_no_slope():
    found = metrics(np.full((5, 1), 8.0), np.full((5, 1), 0.2), [None], [True], draw_counts(5, 50, 0), 0.95)
    assert (found.control, found.scaling, found.slope) == (None, None, None)
    assert known(found.performance).value == pytest.approx(0.2)


# ---------------------------------------------------------------------------------------------- closed form


def test_wilson_is_the_published_interval():
    """Newcombe (1998), 81 of 263: 0.2553 to 0.3662."""
    estimate = wilson(81, 263, 0.95)
    assert (estimate.lo, estimate.hi) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_value_and_is_never_of_zero_width(case):
    successes, n = case
    estimate = wilson(successes, n, 0.95)
    assert 0 <= known(estimate.lo) <= estimate.value + 1e-9 and estimate.value - 1e-9 <= known(estimate.hi) <= 1
    assert known(estimate.hi) - known(estimate.lo) > 0


def test_a_single_run_of_aime_can_hardly_show_anything():
    assert standard_error_pp(0.5, 30) == pytest.approx(9.1, abs=0.05)
    assert detectable_unpaired_pp(0.5, 30, 0.95, 0.8) == pytest.approx(36, abs=0.5)
    assert detectable_unpaired_pp(0.6, 198, 0.95, 0.8) == pytest.approx(14, abs=0.5)
    assert detectable_unpaired_pp(0.93, 500, 0.95, 0.8) == pytest.approx(4.5, abs=0.05)


def test_an_incomplete_estimate_is_refused():
    with pytest.raises(StatisticsError, match="incomplete"):
        Estimate(50, 40, None, 30, "Wilson", "share", 0.95)
    with pytest.raises(StatisticsError, match="not finite"):
        plain(math.nan, 30, "mean", "share")
    with pytest.raises(StatisticsError, match="lo is above hi"):
        Estimate(50, 60, 40, 30, "Wilson", "share", 0.95)


# ------------------------------------------------------------------------------------------------ bootstrap


def test_every_resample_draws_as_many_questions_as_there_are():
    counts_RQ = draw_counts(7, 1000, 0)
    assert counts_RQ.shape == (1000, 7)
    assert set(counts_RQ.sum(axis=1)) == {7.0}
    assert np.array_equal(counts_RQ, draw_counts(7, 1000, 0))


def test_resampled_means_are_those_of_drawing_the_questions_one_by_one():
    counts_RQ, values_Q = draw_counts(6, 50, 0), np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    drawn_one_by_one = [np.repeat(values_Q, row.astype(int)).mean() for row in counts_RQ]
    assert resampled_means(counts_RQ, values_Q) == pytest.approx(drawn_one_by_one)


def test_the_resamples_are_a_stream_that_no_library_can_change():
    """SplitMix64 of seed 0, as its reference code gives it, and the counts of three resamples of five questions."""
    reference = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC, 0x1B39896A51A8749B]
    assert stream(0, 5).tolist() == reference
    assert draw_counts(5, 3, 0).tolist() == [[2, 0, 1, 0, 2], [1, 2, 0, 1, 1], [0, 1, 2, 2, 0]]
    assert not np.array_equal(draw_counts(5, 3, 0), draw_counts(5, 3, 1))
    assert np.array_equal(draw_counts(5, 3, -1), draw_counts(5, 3, 2**64 - 1))


def test_every_question_is_drawn_as_often_as_any_other():
    often_Q = draw_counts(7, 20_000, 1).sum(axis=0)
    assert np.abs(often_Q / 20_000 - 1).max() < 4 * math.sqrt(6 / 7 / 20_000)


@pytest.mark.parametrize(("questions", "resamples"), [(0, 10), (5, 0)])
def test_nothing_to_draw_is_refused(questions, resamples):
    with pytest.raises(StatisticsError, match="nothing to draw"):
        draw_counts(questions, resamples, 0)


def test_the_interval_of_a_statistic_nears_the_normal_one_on_many_questions():
    draws_R = resampled_means(draw_counts(400, 10_000, 0), np.arange(400) % 2)
    estimate = statistic(0.5, draws_R, 400, 0.95, "share")
    assert (known(estimate).lo, known(estimate).hi) == (
        pytest.approx(0.451, abs=0.003),
        pytest.approx(0.549, abs=0.003),
    )


def test_a_statistic_without_a_value_is_none_and_undefined_resamples_are_told():
    assert statistic(math.nan, np.array([1.0, 2.0]), 5, 0.95, "pp") is None
    partly = statistic(1.0, np.array([1.0, 2.0, math.nan]), 5, 0.95, "pp")
    assert known(partly).method == "bootstrap over questions, 2 resamples, undefined in 1 more"


@pytest.mark.parametrize("draws", [[], [math.nan], [3.0], [0.1 + 0.2, 0.3, 0.3]])
def test_resamples_that_all_agree_are_no_certainty(draws):
    assert statistic(0.3, np.array(draws), 12, 0.95, "pp") is None


def test_control_has_an_interval_only_where_enough_resamples_disagree():
    requested, right_QP = [Bounds(highest=100), Bounds(highest=200)], np.tile([0.0, 1.0], (20, 1))
    counts_RQ = draw_counts(20, 1000, 0)

    def found(longest: float) -> Estimate:
        tokens_QP = np.tile([50.0, 100.0], (20, 1))
        tokens_QP[0] = longest
        return known(metrics(tokens_QP, right_QP, requested, [True, True], counts_RQ, 0.95).control)

    always, mostly, sometimes = found(60), found(300), found(900)
    assert (always.value, always.lo, always.method) == (1, None, "the same in 1000 of 1000 resamples of questions")
    assert (mostly.value, mostly.lo) == (1, None)
    assert (sometimes.value, sometimes.lo, sometimes.hi) == (1, 0, 1)


# ----------------------------------------------------------------------------------------------------- grid


def test_a_grid_orders_questions_and_samples_whatever_the_order_of_the_rows():
    rows = [score("b", sample=1, correct=False), score("a"), score("b"), score("a", sample=1)]
    made = grid(rows, "max 8")
    assert made.questions == ("a", "b")
    assert made.correct_QS.tolist() == [[True, True], [True, False]]
    assert made.votes_QS.tolist() == [[RIGHT, RIGHT], [RIGHT, 1]]
    assert made.accuracy_Q.tolist() == [1, 0.5]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "max 8: no scores"),
        ([score("a"), score("a")], "max 8: question a sample 0 has two scores"),
        ([score("a"), score("a", sample=1), score("b")], r"max 8: question b lacks samples \[1\]"),
    ],
)
def test_a_grid_refuses_rows_that_do_not_fill_it(rows, complaint):
    with pytest.raises(StatisticsError, match=complaint):
        grid(rows, "max 8")


def test_points_of_different_questions_are_refused_by_naming_the_missing_ones():
    grids = {"max 8": grid([score("a"), score("b")], "max 8"), "max 16": grid([score("a")], "max 16")}
    with pytest.raises(StatisticsError, match=r"max 16: lacks 1 of 2 questions that other points have \(b\)"):
        require_paired(grids)
