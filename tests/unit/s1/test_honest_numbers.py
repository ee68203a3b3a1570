"""Scans that once made a report say what its numbers do not: the right words and values for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from s1.config.schema import Budget, Compare, ConfigError, Forcing
from s1.records import AnswerEnd, Ending, ScoreRow
from s1.report.curve import find
from s1.report.findings import Series
from s1.report.page import Page
from s1.report.render import kept
from s1.report.series import Scored
from s1.report.tables import shown
from s1.report.verdict import shape_in_words, verdict
from s1.stages import CurveConfig, CurvePoint, ReportConfig
from s1.stats.bootstrap import draw_counts
from s1.stats.scaling import metrics, scaling
from sweep.console import Console
from sweep.local.show import result_table
from tests.support.scans import COST, STATISTICS, found, measured, of, point, rows, run, series_of


@pytest.fixture(autouse=True)
def engine_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s1.report.curve.read_engine", lambda directory: {"engine": "scripted"})


def one_series(*scored: Scored) -> Series:
    (series,) = found(scored).series
    return series


def forced(limit: int | None = None, minimum: int = 0, waits: int = 0, answer: int | None = None) -> Budget:
    return Budget(Forcing.BUDGET, limit, minimum, waits, "Wait", answer)


def capped(each: Scored, answers: int) -> Scored:
    """So many answers cut by their cap."""
    cut = [replace(score, answer_end=AnswerEnd.CAP, correct=False) for score in each.scores[:answers]]
    return replace(each, scores=[*cut, *each.scores[answers:]])


def altered(each: Scored, **changes: object) -> Scored:
    return replace(each, scores=[replace(score, **changes) for score in each.scores])


# ------------------------------------------------------------------------------------------------------ the shape


def test_a_rise_behind_a_fall_is_named() -> None:
    """87.5, 25.0, 90.0: "whether it rises cannot be told" was all that was said of the last step."""
    u_shape = one_series(
        measured(point(8, 0), range(35), 50),
        measured(point(16, 0), range(10), 50),
        measured(point(32, 0), range(36), 50),
        measured(point(None, 0), range(36), 50),
    )
    assert any(
        each.startswith("After that it rises again, from 25.0% (max 16, 16.0 tokens) to 90.0% (max 32, 32.0 tokens): +")
        for each in verdict(u_shape)
    )
    assert shape_in_words(u_shape) == "whether it rises cannot be told; falls after max 8, rises again after max 16"


def test_a_rise_after_the_lowest_point_behind_the_peak_is_named() -> None:
    counts = {8: 40, 16: 12, 24: 13, 32: 30}
    series = one_series(*(measured(point(limit, 0), range(right), 50) for limit, right in counts.items()))
    assert shape_in_words(series) == "falls after max 8, rises again after max 16"
    assert any("rises again, from 30.0% (max 16," in each and "to 75.0% (max 32," in each for each in verdict(series))


def test_a_rise_to_the_peak_is_not_said_twice() -> None:
    counts = {8: 2, 16: 20, 24: 5, 32: 38}
    series = one_series(*(measured(point(limit, 0), range(right), 50) for limit, right in counts.items()))
    assert shape_in_words(series) == "rises to max 32 with a fall on the way, after max 16"
    assert not any("rises again" in each for each in verdict(series))


# ------------------------------------------------------------------------------------------------- held-back ends


def test_a_cut_reference_says_nothing_of_suppressed_ends() -> None:
    """Its natural end is invalid, so max 8 is the reference: from there to Wait x1 the cut goes as well."""
    series = one_series(
        measured(point(8, 0), range(5), 50),
        capped(measured(of(forced(answer=None), "natural end"), range(20), 50), 9),
        measured(point(None, 1), range(30), 100),
    )
    assert series.reference == "max 8"
    assert series.fixed_comparisons == []
    assert not any("suppressed" in each for each in verdict(series))


@pytest.mark.parametrize(("limit", "compared"), [(16, True), (8, False), (None, False)])
def test_suppressed_ends_are_compared_under_one_maximum(limit: int | None, compared: bool) -> None:
    series = one_series(
        measured(of(forced(16), "a"), range(10), 50), measured(of(forced(limit, waits=1), "b"), range(20), 60)
    )
    assert bool(series.fixed_comparisons) is compared


def test_a_reference_that_nothing_cuts_may_have_a_maximum() -> None:
    series = one_series(measured(of(forced(100), "a"), range(10), 50), measured(point(None, 1), range(20), 120))
    assert series.fixed_comparisons == ["Wait x1"]


def test_a_minimum_that_holds_nothing_back_is_not_said_to() -> None:
    series = one_series(measured(point(None, 0), range(10), 50), measured(of(forced(minimum=8), "m"), range(30), 50))
    said = verdict(series)
    assert said[-1] == "min 8 suppressed no end of thinking, so it shows nothing about that."
    assert not any("when the end of thinking is suppressed" in each for each in said)


def test_waits_that_did_not_happen_are_not_suppressed_ends() -> None:
    cut = altered(measured(point(None, 3), range(30), 20), waits=0, ending=Ending.FORCED)
    said = verdict(one_series(measured(point(None, 0), range(10), 50), cut))
    assert "Wait x3 asked, x0.0 happened suppressed no end of thinking, so it shows nothing about that." in said


# ---------------------------------------------------------------------------------------------------------- seeds


def test_a_seed_that_fails_the_audit_is_not_made_up_for_by_another() -> None:
    """2 of 100 answers of seed 1 are cut, 2 of 200 of both: one in a hundred, which would pass."""
    asked = forced(answer=9)
    sound = measured(of(asked, "natural end", seed=0), range(60), 50, 100)
    unsound = capped(measured(of(asked, "natural end", seed=1), range(60), 50, 100), 2)
    (only,) = one_series(sound, unsound).points
    assert [source.valid for source in only.sources] == [True, False]
    assert not only.valid
    assert only.audit.problems[0].startswith("Seed 1: 2 of 100 answers were cut after budget.answer_tokens 9")


def test_a_difference_over_common_seeds_says_which() -> None:
    series = one_series(
        measured(point(8, 0, seed=0), range(5), 50),
        measured(point(8, 0, seed=1), range(11), 50),
        measured(point(None, 0, seed=0), range(20), 50),
    )
    assert "from 20.0% (max 8, 8.0 tokens) to 50.0%" in verdict(series)[0]
    assert "+37.5 points" in verdict(series)[0]  # not 30.0
    assert verdict(series)[0].endswith("] over seed 0, which both have.")


@pytest.mark.parametrize(("seeds", "qualified"), [(1, False), (2, True), (7, True), (8, False)])
def test_a_verdict_of_few_seeds_says_that_it_holds_for_them(seeds: int, qualified: bool) -> None:
    scored = [
        measured(point(limit, 0, seed=seed), range(right + seed), 50)
        for limit, right in ((8, 5), (None, 20))
        for seed in range(seeds)
    ]
    assert (f"This holds for the {seeds} seeds used" in verdict(one_series(*scored))[-1]) is qualified


def test_performance_has_at_least_the_uncertainty_of_the_best_point() -> None:
    counts = [20, 24, 10, 30, 22, 21, 25, 39]
    scored = [measured(point(None, 0, seed=seed), range(right), 50) for seed, right in enumerate(counts)]
    scored += [measured(point(8, 0, seed=seed), range(seed), 50) for seed in range(8)]
    series = one_series(*scored)
    best, performance = series.point("natural end").accuracy, series.metrics.performance
    assert performance is not None
    assert (performance.lo, performance.hi) == (pytest.approx(best.lo), best.hi)
    assert performance.method.startswith("Wilson over questions and 8 seeds, two-way, clustered, best of 2 points")


# ------------------------------------------------------------------------------------------- degenerate and missing


def test_a_best_point_without_thinking_is_the_performance() -> None:
    silent = altered(measured(of(forced(0), "max 0"), range(40), 0), thinking_tokens=0)
    series = one_series(silent, measured(point(8, 0), range(5), 50), measured(point(None, 0), range(20), 50))
    assert series.metrics.performance is not None
    assert series.metrics.performance.value == 1
    assert "have no place on a log axis, and in Scaling and Slope: max 0" in series.notes[-1]


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (0.0, 1.0, 1.0), (0.3, 0.3, 0.3)])
def test_no_slope_where_every_question_differs_alike(shares: tuple[float, ...]) -> None:
    """Rounding once made "0.0 [0.0, 0.0]" of it, and lengths alone "+37.6 [+35.1, +40.1]" of two questions."""
    accuracy_QP = np.tile(shares, (40, 1))
    tokens_QP = np.tile([8.0, 16.0, 51.5], (40, 1)) + np.arange(40)[:, None] % 4
    found_metrics = metrics(tokens_QP, accuracy_QP, [None] * 3, [True] * 3, draw_counts(40, 200, 0), 0.95)
    assert (found_metrics.scaling, found_metrics.slope) == (None, None)


def test_lengths_that_differ_alike_have_no_interval_of_zero_width() -> None:
    alike = one_series(measured(point(None, 0), range(10), 50), measured(point(None, 1), range(20), 69)).to_reference[0]
    assert (alike.tokens.value, alike.tokens.lo) == (19, None)
    cut = one_series(measured(point(8, 0), range(10), 50), measured(point(16, 0), range(20), 50)).neighbours[0]
    assert (cut.tokens.lo, cut.tokens.hi, cut.tokens.method) == (8, 8, "every trace the same")


def test_scaling_of_many_points_is_computed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All resamples of all pairs at once are 40 GB for a thousand points."""
    draw = np.random.default_rng(0)
    tokens_RP, accuracy_RP = draw.uniform(1, 99, (50, 12)), draw.random((50, 12))
    whole = scaling(tokens_RP, accuracy_RP)
    monkeypatch.setattr("s1.stats.scaling.NUMBERS_AT_ONCE", 200)
    assert np.array_equal(scaling(tokens_RP, accuracy_RP), whole)


@pytest.mark.parametrize(("right", "shown_points"), [(0, None), (40, None), (20, 31.3)])
def test_two_runs_that_are_all_right_have_no_detectable_difference_of_zero(
    right: int, shown_points: float | None
) -> None:
    findings = found([measured(point(8, 0), range(5), 50), measured(point(None, 0), range(right), 50)])
    page = Page(ReportConfig("scan", "", "command"), findings, [], "c0ffee")
    unpaired = page.unpaired_pp(findings.series[0])
    assert (None if unpaired is None else round(unpaired, 1)) == shown_points


# -------------------------------------------------------------------------------------------------------- the page


@pytest.mark.parametrize(
    ("scored", "said"),
    [
        ([measured(point(None, 0), range(20), 50)], "Nothing was forced."),
        ([measured(point(8, 0), range(20), 50)], "Every trace kept the budget that was forced on it."),
        (
            [measured(of(forced(), "asked", "Think for up to 8 tokens."), range(20), 50)],
            "Nothing was forced. What a prompt asks for in words is not forced: see Control.",
        ),
        (
            [altered(measured(point(8, 0), range(20), 50), thinks_on_tokens=30)],
            "Every trace kept the budget that was forced on it."
            " Some traces think again in their answer, which no budget bounds.",
        ),
        ([capped(measured(of(forced(8, answer=2), "max 8"), range(20), 50), 9)], ""),
    ],
)
def test_the_audit_says_no_more_than_it_looked_at(scored: Sequence[Scored], said: str) -> None:
    assert kept(one_series(*scored)) == said


def test_traces_that_think_on_are_noted() -> None:
    series = one_series(altered(measured(point(None, 0), range(20), 50), thinks_on_tokens=30))
    assert series.notes == [
        "Think again in the answer, and thinking tokens do not count it: natural end (100.0% of traces, 30.0 tokens per"
        " trace)."
    ]


def test_an_answer_that_nobody_compared_is_no_silent_wrong_one() -> None:
    late = measured(point(8, 0), range(20), 50)
    late = replace(late, scores=[replace(late.scores[-1], note="timed_out"), *late.scores[:-1]])
    notes = one_series(late, altered(measured(point(None, 0), range(20), 50), note="ambiguous")).notes
    assert notes == ["Answers that took too long to compare with the reference, and count as wrong: max 8 (1 of 40)."]


def compared(compare: Compare, scored: Sequence[Scored]) -> Page:
    findings = find(CurveConfig([each.point for each in scored], STATISTICS, COST, compare), scored)
    return Page(ReportConfig("scan", "", "command"), findings, [], "c0ffee")


def test_points_compared_along_an_axis_are_told_apart() -> None:
    scored = [
        measured(of(forced(answer=cap), "natural end", **{"budget.answer_tokens": cap, "data": data}), range(right), 50)
        for data, right in (("s1k", 20), ("random", 5))
        for cap in (20, None)
    ]
    page = compared(Compare("data", "s1k"), scored)
    assert [each.partition(":")[0] for each in page.compared] == [
        "Against s1k, natural end, budget.answer_tokens 20",
        "Against s1k, natural end, budget.answer_tokens null",
    ]


def test_the_method_of_a_comparison_is_named_where_every_series_has_one_point() -> None:
    scored = [measured(point(None, 0, data=data), range(20), 50 + len(data)) for data in ("s1k", "random")]
    assert compared(Compare("data", "s1k"), scored).methods["difference"].startswith("Bonett-Price, paired")


def test_pooled_seeds_cannot_be_compared() -> None:
    scored = [measured(point(None, 0, seed=seed), range(20), 50) for seed in (0, 1)]
    with pytest.raises(ConfigError, match=r"compare\.axis seed: seeds are pooled.*statistics\.pool_seeds=false"):
        compared(Compare("seed", "0"), scored)


def test_a_reference_that_lacks_a_budget_is_named() -> None:
    scored = [
        measured(point(8, 0, data="random"), range(5), 50),
        *(measured(point(None, 0, data=data), range(20), 50) for data in ("s1k", "random")),
    ]
    with pytest.raises(ConfigError, match=r"s1k: no point has this value of data and agrees in the rest with random"):
        compared(Compare("data", "s1k"), scored)


# ---------------------------------------------------------------------------------------------------- the terminal


def printed(points: Sequence[CurvePoint], scores: Sequence[list[ScoreRow]], store: Path) -> str:
    text = StringIO()
    out = run(store, points, scores)
    Console(file=text, width=80).print(result_table(shown(out / "table.csv")))
    assert series_of(out)
    return text.getvalue()


def test_the_table_of_a_scan_loses_nothing_at_80_columns(tmp_path: Path) -> None:
    points = [point(8, 0), point(None, 0), point(None, 3)]
    scores = [rows(5, 40, 50, 8), rows(40, 40, 12_345), rows(30, 40, 20)]
    scores[2] = [replace(score, ending=Ending.FORCED) for score in scores[2]]
    text = printed(points, scores, tmp_path)
    assert "…" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert all(word in text for word in ("thinking", "tokens", "answers", "cut %", "[91.2, 100.0]", "12346.5"))
    assert all(word in text for word in ("Wait", "x3", "asked,", "x0.0", "happened"))
