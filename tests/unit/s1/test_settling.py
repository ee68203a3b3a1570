"""Where answers settle: hand-made lines, the order of amounts, lost answers, and reports that have nothing to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s1.config.schema import Budget, Compat, Forcing
from s1.files.csv_files import read_rows
from s1.records import Outcome, ScoreRow
from s1.report.curve import find
from s1.report.figures_settling import settling_drawings
from s1.report.findings import Settling
from s1.report.series import Scored
from s1.stages import CurveConfig, CurvePoint
from s1.stats.settling import NEVER, lost_at, median_tokens, settled_at, settled_by, share_after
from s1.stats.votes import RIGHT, SILENT
from tests.support.scans import COST, STATISTICS, of, point, rows, run

# Classes of six traces at four points.
CLASSES_PQ = np.array(
    [
        [1, 0, 1, 0, 2, SILENT],
        [1, 0, 0, 0, 3, 0],
        [1, 0, 0, 2, 3, 0],
        [1, 0, 0, 1, 2, SILENT],
    ]
)
TOKENS_PQ = np.array([[8, 8, 8, 8, 8, 8], [16, 12, 16, 16, 16, 16], [32, 12, 20, 30, 20, 32], [40, 24, 40, 60, 40, 40]])


def lines(values_PQ: np.ndarray) -> np.ndarray:
    """As of one seed with one sample."""
    return values_PQ[:, None, :, None]


def test_an_answer_settles_where_it_no_longer_changes() -> None:
    place = settled_at(lines(CLASSES_PQ))
    assert place.ravel().tolist() == [0, 0, 1, 3, 3, NEVER]
    assert settled_by(place, 4).sum(axis=(1, 2, 3)).tolist() == [2, 3, 3, 5]


def test_an_answer_is_lost_where_it_was_right_before_a_wrong_or_missing_end() -> None:
    assert lost_at(lines(CLASSES_PQ)).ravel().tolist() == [NEVER, NEVER, NEVER, 1, NEVER, 2]


def test_the_share_after_is_that_of_all_tokens_of_traces_that_settle() -> None:
    place = settled_at(lines(CLASSES_PQ))
    found = share_after(lines(TOKENS_PQ), place, STATISTICS)
    assert found is not None and found.value == pytest.approx((32 + 16 + 24 + 0 + 0) / (40 + 24 + 40 + 60 + 40))
    assert found.n == 5 and found.lo is not None and found.lo < found.value
    assert median_tokens(lines(TOKENS_PQ), place) == 16


def test_nothing_settles_where_nothing_is_answered() -> None:
    place = settled_at(np.full((2, 1, 3, 1), SILENT))
    assert median_tokens(np.ones((2, 1, 3, 1)), place) is None
    assert share_after(np.ones((2, 1, 3, 1)), place, STATISTICS) is None


def test_a_single_question_has_no_interval() -> None:
    place = settled_at(np.full((2, 1, 1, 1), RIGHT))
    found = share_after(np.array([8, 16])[:, None, None, None], place, STATISTICS)
    assert found is not None and (found.value, found.lo) == (0.5, None)


# ------------------------------------------------------------------------------------------------ in the report


def scores_of(answers: Sequence[str | None], limit: int | None, waits: int, tokens: int = 20) -> list[ScoreRow]:
    """One trace per answer; "7" is right."""
    return [
        replace(
            row,
            extracted=answer,
            correct=answer == "7",
            outcome=Outcome.NONE if answer is None else row.outcome,
        )
        for row, answer in zip(rows(0, len(answers), tokens * (1 + waits), limit, waits), answers, strict=True)
    ]


@pytest.fixture(autouse=True)
def _without_engine_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s1.report.curve.read_engine", lambda directory: {"engine": "scripted"})


def settled(points: Sequence[CurvePoint], scores: Sequence[list[ScoreRow]]) -> list[Settling]:
    """Without files."""
    scored = [Scored(each, f"key{index}", scores[index], Path("traces")) for index, each in enumerate(points)]
    return find(CurveConfig(list(points), STATISTICS, COST), scored).settling


def test_the_line_has_budgets_then_the_natural_end_then_waits_whatever_the_order_of_the_command(tmp_path: Path) -> None:
    points = [point(None, 2), point(8, 0), point(None, 1), point(16, 0), point(None, 0)]
    answers = {"Wait x2": "6", "max 8": "5", "Wait x1": "7", "max 16": "7", "natural end": "7"}
    scores = [
        scores_of([answers[each.label]] * 3, each.request.budget.max_thinking_tokens, each.request.budget.waits)
        for each in points
    ]
    out = run(tmp_path, points, scores)
    (settling,) = settled(points, scores)
    assert [each.label for each in settling.points] == ["max 8", "max 16", "natural end", "Wait x1", "Wait x2"]
    assert [each.share.value for each in settling.points] == [0, 0, 0, 0, 1]
    first = read_rows(out / "settling.csv")[0]
    assert (first["settled"], first["end"], first["answer"], first["right"]) == ("Wait x2", "Wait x2", "6", "no")
    assert (first["lost"], first["last_right"], first["last_right_tokens"]) == ("yes", "Wait x1", 40)
    readme = (out / "README.md").read_text(encoding="utf-8")
    assert "Right at some point and lost by thinking on: 3 of 3 traces." in readme
    assert "| q00 | Wait x1 | 40 | 7 | 60 | 6 |" in readme


def test_the_same_wrong_answer_written_twice_is_one_answer_and_another_is_not() -> None:
    points = [point(8, 0), point(16, 0), point(None, 0)]
    scores = [
        scores_of(["8", "8", None], 8, 0),
        scores_of([" 8 ", "9", "9"], 16, 0),
        scores_of(["8", "8", None], None, 0),
    ]
    (settling,) = settled(points, scores)
    assert [trace.settled for trace in settling.traces] == ["max 8", "natural end", None]
    assert (settling.unanswered, settling.lost) == (1, [])


def test_waits_with_a_lower_maximum_extend_nothing_and_are_left_out() -> None:
    points = [point(8, 0), point(16, 0), point(8, 1), point(16, 1)]
    labelled = [replace(each, label=f"{each.label}, max {each.request.budget.max_thinking_tokens}") for each in points]
    scores = [scores_of(["7"] * 3, each.request.budget.max_thinking_tokens, 0) for each in points]
    scores[2:] = [[replace(row, waits=1) for row in its] for its in scores[2:]]
    (settling,) = settled(labelled, scores)
    assert [each.label for each in settling.points] == ["max 8", "max 16", "Wait x1, max 16"]
    assert (settling.invalid, settling.apart) == ([], ["Wait x1, max 8"])


def test_an_invalid_point_is_left_out() -> None:
    points = [point(8, 0), point(16, 0), point(None, 0)]
    scores = [scores_of(["7"] * 3, each.request.budget.max_thinking_tokens, 0) for each in points]
    scores[1][0] = replace(scores[1][0], thinking_tokens=17)
    (settling,) = settled(points, scores)
    assert (settling.invalid, settling.apart) == (["max 16"], [])


def asked(limit: int | None) -> CurvePoint:
    budget = Budget(Forcing.BUDGET, limit, 0, 0, "", None)
    return of(budget, f"asked {limit} tokens", f"Think for up to {limit or 8} tokens.", i=limit)


def plain(samples: int) -> CurvePoint:
    return of(Budget(Forcing.NONE, None, 0, 0, "", None), "no forcing", samples=samples)


@pytest.mark.parametrize(
    "points",
    [
        [point(8, 0)],  # one budget
        [plain(1), plain(2)],  # no budget at all
        [asked(8), asked(16)],  # another prompt is another thinking
        [point(8, 0, seed=0), point(16, 0, seed=1)],  # no seed in common
    ],
)
def test_budgets_that_do_not_extend_each_other_have_no_line(points: list[CurvePoint]) -> None:
    assert settled(points, [scores_of(["7", "8"], each.request.budget.max_thinking_tokens, 0) for each in points]) == []


def test_a_scan_of_one_budget_has_no_section(tmp_path: Path) -> None:
    out = run(tmp_path, [point(8, 0)], [scores_of(["7", "8"], 8, 0)])
    assert not (out / "settling.csv").exists() and not list((out / "figures").glob("settling*"))
    assert "settle" not in (out / "README.md").read_text(encoding="utf-8")
    assert "Where answers settle" not in (out / "report.html").read_text(encoding="utf-8")


def test_the_rules_of_the_original_code_have_a_line_of_their_own() -> None:
    points = [
        of(Budget(Forcing.BUDGET, limit, 0, 0, "", None, compat=compat), f"max {limit}", compat=compat.value)
        for compat in Compat
        for limit in (8, 16)
    ]
    scores = [scores_of(["7", "8"], each.request.budget.max_thinking_tokens, 0) for each in points]
    assert [len(each.points) for each in settled(points, scores)] == [2, 2]


def test_points_whose_thinking_is_warned_extend_nothing() -> None:
    points = [point(8, 0), point(16, 0)]
    scores = [
        [replace(row, warned=False) for row in scores_of(["7"], each.request.budget.max_thinking_tokens, 0)]
        for each in points
    ]
    assert settled(points, scores) == []


def test_traces_without_thinking_have_a_line_and_no_figure() -> None:
    points = [point(8, 0), point(16, 0)]
    scores = [[replace(row, thinking_tokens=0) for row in scores_of(["7", "8"], None, 0)] for _ in points]
    scored = [Scored(each, f"key{index}", scores[index], Path("traces")) for index, each in enumerate(points)]
    findings = find(CurveConfig(points, STATISTICS, COST), scored)
    assert len(findings.settling) == 1 and settling_drawings(findings) == []


def test_a_long_list_of_lost_answers_is_shortened_on_the_page_and_whole_in_the_file(tmp_path: Path) -> None:
    points = [point(8, 0), point(None, 0)]
    out = run(tmp_path, points, [scores_of(["7"] * 13, 8, 0), scores_of(["x" * 90] * 13, None, 0)])
    readme, page = ((out / name).read_text(encoding="utf-8") for name in ("README.md", "report.html"))
    assert readme.count("| q0") == 10 and "3 more are in settling.csv." in readme and "x" * 41 not in readme
    assert "3 more lost answers are in settling.csv." in page
    assert sum(row["lost"] == "yes" for row in read_rows(out / "settling.csv")) == 13
