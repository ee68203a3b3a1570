"""Verdicts: what is said of more or less thinking is what was measured, the turn included."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s1.config.schema import Budget, Forcing
from s1.records import Ending
from s1.report.comparison import AtLevel, bonferroni, holm
from s1.report.findings import Findings, Series
from s1.report.page import Page
from s1.report.series import Scored
from s1.report.verdict import contradicts_monotony, shape_in_words, verdict
from s1.stages import ReportConfig
from s1.stats.interval import Estimate
from tests.support.scans import found, measured, of, point

HMM = Budget(Forcing.BUDGET, None, 0, 0, "Hmm", None)


@pytest.fixture(autouse=True)
def engine_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s1.report.curve.read_engine", lambda directory: {"engine": "scripted"})


def series_of(*asked: tuple[int | None, int, int, int], questions: int = 300) -> Series:
    """Of (limit, Waits, right questions, thinking tokens)."""
    scored = [measured(point(limit, waits), range(right), tokens, questions) for limit, waits, right, tokens in asked]
    (series,) = found(scored).series
    return series


BUDGET_SCAN = ((8, 0, 17, 8), (16, 0, 57, 16), (40, 0, 193, 28), (None, 0, 193, 29), (None, 1, 242, 68))
TURNED = (*BUDGET_SCAN, (None, 2, 271, 110), (None, 4, 216, 196))


# -------------------------------------------------------------------------------------------------- the turn


def test_a_curve_that_rises_then_falls_is_said_to_fall() -> None:
    """The front page once said "rises" of a page with x2 -> x4 of -18.3 points."""
    series = series_of(*TURNED)
    said = verdict(series)
    assert said[0].startswith(
        "Accuracy rises with thinking to Wait x2, from 5.7% (max 8, 8.0 tokens) to 90.3% (Wait x2,"
    )
    assert said[1].startswith(
        "Then it falls, from 90.3% (Wait x2, 111.0 tokens) to 72.0% (Wait x4, 197.0 tokens): -18.3"
    )
    assert said[2].startswith("Wait x2 is the best of 7 points, chosen by the numbers")
    assert "the level at which all 21 pairs hold together" in said[2]
    assert said[-1].endswith("That is past the peak: Wait x2 scores higher.")
    assert shape_in_words(series) == "rises to Wait x2, then falls"
    assert contradicts_monotony(series)


def test_a_curve_that_only_rises_contradicts_nothing() -> None:
    series = series_of(*BUDGET_SCAN)
    assert shape_in_words(series) == "rises to Wait x1"
    assert not contradicts_monotony(series)


def test_a_slow_descent_is_named_though_no_single_step_shows() -> None:
    steps = tuple((None, waits, 280 - 6 * waits, 60 * waits) for waits in range(1, 8))
    series = series_of((8, 0, 20, 8), *steps)
    assert shape_in_words(series) == "rises to Wait x1, then falls"
    assert "to 79.3% (Wait x7, 421.0 tokens)" in next(each for each in verdict(series) if each.startswith("Then it"))


def test_a_dip_before_the_peak_is_named() -> None:
    series = series_of((8, 0, 100, 8), (16, 0, 200, 16), (None, 1, 100, 60), (None, 2, 290, 120))
    assert shape_in_words(series) == "rises to Wait x2 with a fall on the way, after max 16"
    assert any(each.startswith("On the way accuracy falls, from 66.7% (max 16,") for each in verdict(series))


def test_a_curve_that_only_falls_is_said_to_fall() -> None:
    series = series_of((8, 0, 250, 8), (None, 0, 100, 30))
    assert verdict(series)[0].startswith("Accuracy falls with more thinking, from 83.3% (max 8, 8.0 tokens) to 33.3%")
    assert shape_in_words(series) == "falls after max 8"


def test_a_fall_that_chance_makes_is_no_fall() -> None:
    series = series_of((8, 0, 20, 8), (None, 1, 201, 60), (None, 2, 200, 90))
    assert shape_in_words(series) == "rises to Wait x1; whether it then falls cannot be told"


def test_the_claim_is_compared_with_every_series() -> None:
    series = series_of(*TURNED)
    findings = found([measured(point(8, 0), range(3), 8)])
    page = Page(ReportConfig("scan", "More is better.", ""), replace(findings, series=[series]), [], "c0ffee000000")
    assert page.claim_sentences == [
        "Held against the numbers: rises to Wait x2, then falls.",
        "A claim that accuracy never falls with more thinking is contradicted.",
    ]
    silent = replace(page, report=ReportConfig("scan", "", ""))
    assert silent.claim_sentences == []


# ------------------------------------------------------------------------------------------- measured thinking


def test_suppressed_ends_that_think_less_are_not_more_thinking() -> None:
    """Hmm x3 that thinks less than Hmm x1: the order is that of the tokens, whatever was asked."""
    budgets = [(replace(HMM, waits=waits), right, tokens) for waits, right, tokens in ((1, 250, 90), (3, 120, 40))]
    scored = [measured(of(budget, ""), range(right), tokens, 300) for budget, right, tokens in budgets]
    (series,) = found(scored).series
    assert [each.label for each in series.points] == ["Hmm x3", "Hmm x1"]
    assert verdict(series)[0].startswith("Accuracy rises with thinking to Hmm x1, from 40.0% (Hmm x3, 41.0 tokens)")
    suppression = verdict(series)[-1]
    assert suppression.startswith(
        "Accuracy falls when the end of thinking is suppressed, from 83.3% (Hmm x1, 91.0 tokens)"
    )
    assert "The thinking is shorter (91.0 and 41.0 tokens), so this says nothing about more thinking." in suppression


def test_points_that_think_alike_allow_nothing_to_be_said_of_more_thinking() -> None:
    series = series_of((40, 0, 100, 30), (None, 0, 200, 30))
    said = verdict(series)
    assert said[0] == (
        "Whether accuracy changes with thinking cannot be told: no point thinks measurably longer than another."
    )
    assert said[1].startswith("Without measurably longer thinking accuracy rises, from 33.3% (max 40, 31.0 tokens)")
    assert shape_in_words(series) == "cannot be told"


def test_waits_that_did_not_happen_are_claimed_by_no_label_and_no_verdict() -> None:
    """N3: Hmm x2 and x3 with one Wait each, in traces that the context cut."""

    def cut(waits: int) -> Scored:
        each = measured(of(replace(HMM, waits=waits), f"Hmm x{waits}"), range(10), 470, 40)
        ended = [replace(row, waits=1, ending=Ending.FORCED) for row in each.scores]
        return replace(each, scores=ended)

    (series,) = found([measured(of(HMM, ""), range(20), 30), cut(2), cut(3)]).series
    assert [each.label for each in series.points] == [
        "natural end",
        "Hmm x2 asked, x1.0 happened",
        "Hmm x3 asked, x1.0 happened",
    ]
    assert any("Hmm x3 was asked, and x1.0 happened on average" in note for note in series.notes)
    assert all("Hmm x3 asked, x1.0 happened" in each for each in verdict(series) if "Hmm x3" in each)


# ------------------------------------------------------------------------------------------- what cannot be told


def test_one_question_tells_nothing() -> None:
    """N17: +100.0 points [+100.0, +100.0] of a single row."""
    series = series_of((8, 0, 0, 8), (None, 0, 1, 30), questions=1)
    (row,) = series.neighbours
    assert row.estimate.value == 100 and row.estimate.lo is not None and row.estimate.lo <= 0
    assert verdict(series)[0].startswith("Whether accuracy rises with thinking cannot be told at n = 1")
    assert shape_in_words(series) == "cannot be told"


@pytest.mark.parametrize(("questions", "tells"), [(3, False), (5, False), (24, True)])
def test_equal_differences_tell_only_where_an_exact_test_does(questions: int, tells: bool) -> None:
    series = series_of((8, 0, 0, 8), (None, 0, questions, 30), questions=questions)
    assert shape_in_words(series).startswith("rises") is tells
    assert series.neighbours[0].estimate.lo != series.neighbours[0].estimate.hi


def test_points_that_all_failed_the_audit_allow_nothing_to_be_said() -> None:
    broken = measured(point(8, 0), range(3), 8)
    broken = replace(broken, scores=[replace(row, thinking_tokens=99) for row in broken.scores])
    (series,) = found([broken]).series
    assert verdict(series) == ["Fewer than two valid points in this series: there is nothing to compare."]
    assert (shape_in_words(series), contradicts_monotony(series)) == ("nothing to compare", False)


def test_no_difference_is_not_said_to_be_one() -> None:
    series = series_of((8, 0, 20, 8), (None, 0, 20, 30), questions=40)
    assert "no question is answered differently" in verdict(series)[0]
    assert shape_in_words(series) == "cannot be told"


# ------------------------------------------------------------------------------------------------ several at once


def test_holm_judges_the_clearest_at_the_strictest_level() -> None:
    def interval(distance: float) -> AtLevel:
        """An estimate of 1 that excludes zero up to a level."""
        return lambda level: Estimate(1, 0.5 if level <= distance else -0.5, 2, 10, "", "pp", level)

    assert holm([interval(0.96), interval(0.999)], 0.95) == [0.95, bonferroni(0.95, 2)]
    assert holm([interval(0.96), interval(0.96)], 0.95) == [bonferroni(0.95, 2)] * 2
    assert holm([], 0.95) == []


def test_a_difference_that_would_show_alone_does_not_show_among_many() -> None:
    """Six of forty gained, none lost: p = 0.03 in one comparison, and no evidence in one of ten pairs."""
    series = series_of((8, 0, 10, 8), (None, 0, 16, 30), questions=40)
    assert shape_in_words(series) == "rises to natural end"
    among = series_of((8, 0, 10, 8), (10, 0, 11, 10), (12, 0, 12, 12), (14, 0, 14, 14), (None, 0, 16, 30), questions=40)
    assert shape_in_words(among) == "cannot be told"
    assert "by itself it excludes zero, but the interval for all comparisons jointly is [-3.6," in verdict(among)[0]


def test_findings_have_one_peak_and_all_pairs_counted() -> None:
    findings: Findings = found([measured(point(limit, 0), range(limit), limit, 40) for limit in (8, 16, 32)])
    (series,) = findings.series
    assert (series.peak, series.pairs) == ("max 32", 3)
