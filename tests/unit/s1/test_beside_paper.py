"""Published numbers beside ours: verdicts by value and by direction, and the section of the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s1.config.paper import Metric
from s1.config.schema import Aggregation
from s1.records import ScoreRow
from s1.report.curve import find
from s1.report.findings import BesidePaper, read_findings
from s1.report.page import report
from s1.report.published.reader import table
from s1.report.series import Scored
from s1.report.tables import as_written, read_table
from s1.stages import CurveConfig, CurvePoint, PaperComparison, PaperRow, ReportConfig
from s1.stats.interval import Estimate, plain, wilson
from s1.stats.published import Verdict, by_direction, by_value, exact_share
from tests.support.known import known
from tests.support.pages import section_of, without_scripts
from tests.support.scans import COST, STATISTICS, of, point, rows, run, run_curve, work

OTHER = "another model or training (laptop), another task (dial)"
POINTS = [point(8, 0), point(16, 0), point(None, 0), point(None, 1), point(None, 2)]


def judged(right: int, n: int, percent: float, margin: float = 5.0) -> Verdict:
    return by_value(wilson(right, n, 0.95), exact_share(percent, n), margin / 100)


def beside(*numbered: tuple[str, str, Sequence[int]], why: str = OTHER, **more: Any) -> PaperComparison:
    """Rows as (table, row, places of our points), of AIME24 and all metrics that are compared."""
    found = [
        PaperRow(number, None, list(places), more.get("votes"), why if places else "")
        for name, row, places in numbered
        for number in table(name).numbers
        if number.row == row and number.task == "aime24" and number.metric in METRICS
    ]
    titles = list(dict.fromkeys(table(name).title for name, _, _ in numbered))
    return PaperComparison(titles, found, more.get("margin", 5.0))


METRICS = (Metric.ACCURACY, Metric.CONTROL, Metric.SCALING, Metric.PERFORMANCE)


def scan(*right: int, questions: int = 30) -> list[list[ScoreRow]]:
    """Scores of POINTS: the first so many questions right."""
    asked = [each.request.budget for each in POINTS]
    return [
        rows(count, questions, 14 * (1 + budget.waits), budget.max_thinking_tokens, budget.waits)
        for count, budget in zip(right, asked, strict=False)
    ]


def found(store: Path, paper: PaperComparison, scores: Sequence[list[ScoreRow]], **more: Any) -> BesidePaper:
    points: list[CurvePoint] = more.pop("points", POINTS[: len(scores)])
    return known(read_findings(run_curve(store, points, scores, paper=paper, **more)).beside_paper)


def verdicts(paper: BesidePaper) -> dict[str, Verdict | None]:
    return {each.number.row: each.verdict for each in paper.numbers}


# ------------------------------------------------------------------------------------------------------- by value


def test_a_value_is_reproduced_only_if_the_whole_interval_is_near_it() -> None:
    assert judged(465, 500, 93.0) is Verdict.AGREES  # [90.4, 94.9]
    assert judged(465, 500, 93.0, margin=2.0) is Verdict.UNDECIDED
    assert judged(114, 198, 57.6) is Verdict.UNDECIDED  # [50.6, 64.2]: 198 questions cannot show 5 points
    assert judged(114, 198, 57.6, margin=10.0) is Verdict.AGREES
    assert judged(17, 30, 56.7) is Verdict.UNDECIDED  # equal, and n = 30 says little
    assert judged(440, 500, 93.0) is Verdict.DIFFERS


@pytest.mark.parametrize(("right", "verdict"), [(26, Verdict.DIFFERS), (25, Verdict.UNDECIDED)])
def test_at_n_30_a_value_differs_from_six_questions_on(right: int, verdict: Verdict) -> None:
    """The interval of 26 of 30 begins at 70.3%, of 25 of 30 at 66.4%; published are 20 of 30."""
    assert judged(right, 30, 66.7) is verdict


def test_the_ends_of_the_interval_belong_to_it() -> None:
    ours = Estimate(0.5, 0.45, 0.55, 400, "made up", "share", 0.95)
    assert by_value(ours, 0.45, 0.2) is Verdict.AGREES
    assert by_value(ours, 0.4499, 0.2) is Verdict.DIFFERS
    assert by_value(ours, 0.5, 0.0500001) is Verdict.AGREES
    assert by_value(ours, 0.5, 0.0499999) is Verdict.UNDECIDED


@pytest.mark.parametrize(("right", "n", "percent"), [(0, 30, 0.0), (30, 30, 100.0), (0, 1, 50.0), (1, 1, 100.0)])
def test_extreme_and_tiny_samples_prove_nothing(right: int, n: int, percent: float) -> None:
    assert judged(right, n, percent) is Verdict.UNDECIDED


def test_without_an_interval_nothing_is_decided() -> None:
    assert by_value(plain(0.5, 30, "no interval", "share"), 0.5, 1.0) is Verdict.UNDECIDED
    assert by_direction(plain(10.0, 30, "no interval", "pp"), 15.0) is Verdict.UNDECIDED


def test_a_scan_of_the_published_model_is_compared_by_value(tmp_path: Path) -> None:
    """0 of 30 where 50.0% is published differs; 16 of 30 beside 53.3% cannot be told."""
    paper = beside(("table4", "No extrapolation", [2]), ("table4", "2x Wait", [4]), why="")
    both = found(tmp_path, paper, scan(0, 0, 0, 0, 16))
    assert verdicts(both) == {"No extrapolation": Verdict.DIFFERS, "2x Wait": Verdict.UNDECIDED}
    assert all(each.is_by_value for each in both.numbers) and both.pairs == []


def test_other_questions_than_the_published_ones_are_not_compared_by_value(tmp_path: Path) -> None:
    (number,) = found(tmp_path, beside(("table4", "2x Wait", [4]), why=""), scan(0, 0, 0, 0, 6, questions=12)).numbers
    assert not number.is_by_value and number.remark == "12 questions instead of 30"


# --------------------------------------------------------------------------------------------------- by direction


def test_two_rows_agree_if_ours_differ_in_the_published_direction(tmp_path: Path) -> None:
    paper = beside(("figure1", "max 1000", [0]), ("figure1", "natural end", [2]), ("figure1", "4x Wait", [4]))
    ours = found(tmp_path, paper, scan(2, 8, 20, 25, 28))
    assert verdicts(ours) == {
        "max 1000": Verdict.AGREES,
        "natural end": Verdict.AGREES,
        "4x Wait": Verdict.AGREES,
    }
    assert [pair.verdict for pair in ours.pairs] == [Verdict.AGREES] * 3


def test_a_reversed_pair_names_both_rows(tmp_path: Path) -> None:
    paper = beside(("figure1", "max 1000", [0]), ("figure1", "natural end", [2]), ("figure1", "4x Wait", [4]))
    out = run(tmp_path, POINTS, scan(29, 8, 2, 25, 28), paper=paper)
    ours = known(read_findings(tmp_path / "curve" / "c0ffee000000" / "out").beside_paper)
    assert verdicts(ours) == {
        "max 1000": Verdict.DIFFERS,
        "natural end": Verdict.DIFFERS,
        "4x Wait": Verdict.AGREES,
    }
    readme = (out / "README.md").read_text(encoding="utf-8")
    assert "**reversed against natural end**" in readme and "**reversed against max 1000**" in readme
    assert "**same order in 1 of 2 pairs**" in readme


def test_small_differences_leave_the_direction_open(tmp_path: Path) -> None:
    ours = found(
        tmp_path, beside(("table4", "No extrapolation", [2]), ("table4", "2x Wait", [4])), scan(2, 8, 15, 16, 17)
    )
    assert set(verdicts(ours).values()) == {Verdict.UNDECIDED}


def test_equal_published_numbers_have_no_direction(tmp_path: Path) -> None:
    paper = beside(("table4", "No extrapolation", [2]), ("table4", "2x Hmm", [4]))
    ours = found(tmp_path, paper, scan(2, 8, 10, 16, 29))
    assert ours.pairs == [] and set(verdicts(ours).values()) == {Verdict.UNDECIDED}


def test_pairs_are_judged_at_the_level_at_which_all_hold_jointly(tmp_path: Path) -> None:
    """Six questions gained of 30 are enough for one comparison at 95%, and not for one of three."""
    alone = beside(("figure1", "natural end", [2]), ("figure1", "4x Wait", [4]))
    (pair,) = found(tmp_path / "alone", alone, scan(2, 8, 10, 12, 17)).pairs
    assert pair.verdict is Verdict.AGREES
    three = beside(("figure1", "max 4000", [1]), ("figure1", "natural end", [2]), ("figure1", "4x Wait", [4]))
    pairs = {pair.rows: pair.verdict for pair in found(tmp_path / "three", three, scan(2, 10, 10, 12, 16)).pairs}
    assert pairs["natural end", "4x Wait"] is Verdict.UNDECIDED


def test_scaling_is_compared_by_its_sign_and_other_metrics_by_apart_intervals(tmp_path: Path) -> None:
    paper = beside(("table3", "BF", [0, 1, 2, 3, 4]), ("table3", "RS", [3, 4]), ("table3", "SCC", []))
    ours = found(tmp_path, paper, scan(2, 8, 20, 28, 22))
    by_metric = {(each.number.row, each.number.metric): each for each in ours.numbers}
    rise, fall = (by_metric[row, Metric.SCALING] for row in ("BF", "RS"))
    assert known(rise.ours).value > 0 > known(fall.ours).value
    assert (rise.verdict, fall.verdict) == (Verdict.AGREES, Verdict.AGREES)
    best = by_metric["BF", Metric.PERFORMANCE]
    assert known(best.ours).value == 28 / 30 and "best of 5 points, not corrected" in known(best.ours).method
    assert best.verdict is Verdict.UNDECIDED  # the same best point as the other row's
    assert by_metric["SCC", Metric.SCALING].ours is None


def test_a_series_that_does_not_scale_as_published_has_the_other_sign(tmp_path: Path) -> None:
    ours = found(tmp_path, beside(("table3", "BF", [0, 1, 2, 3, 4])), scan(29, 20, 12, 8, 1))
    scaling = next(each for each in ours.numbers if each.number.metric is Metric.SCALING)
    assert scaling.verdict is Verdict.DIFFERS


def test_control_without_a_requested_length_is_not_measured(tmp_path: Path) -> None:
    ours = found(tmp_path, beside(("table3", "CCC", [2, 3, 4])), scan(2, 8, 20, 28, 22))
    control = next(each for each in ours.numbers if each.number.metric is Metric.CONTROL)
    assert (control.ours, control.verdict, control.remark) == (None, None, "undefined for these points")


def test_an_invalid_point_is_shown_and_not_judged(tmp_path: Path) -> None:
    scores = scan(2, 8, 20, 25, 28)
    scores[0][5] = replace(scores[0][5], thinking_tokens=19)  # over its budget of 8
    paper = beside(("figure1", "max 1000", [0]), ("figure1", "natural end", [2]))
    ours = found(tmp_path, paper, scores)
    assert [(each.verdict, each.remark) for each in ours.numbers] == [
        (None, "invalid point, not judged"),
        (Verdict.UNDECIDED, OTHER),
    ]
    assert known(ours.numbers[0].ours).value == 2 / 30


def test_pooled_seeds_stand_beside_a_row_as_one_point(tmp_path: Path) -> None:
    points = [point(None, waits, seed=seed) for waits in (0, 2) for seed in (0, 1)]
    scores = [rows(right, 30, 14 * (1 + waits), None, waits) for right, waits in ((8, 0), (10, 0), (26, 2), (28, 2))]
    paper = beside(("table4", "No extrapolation", [0, 1]), ("table4", "2x Wait", [2, 3]))
    ours = found(tmp_path, paper, scores, points=points)
    assert [known(each.ours).value for each in ours.numbers] == [0.3, 0.9]
    assert set(verdicts(ours).values()) == {Verdict.AGREES}
    assert len(ours.numbers[0].sources) == 2


def test_seeds_that_cannot_be_pooled_are_no_single_number(tmp_path: Path) -> None:
    points = [point(None, 0, seed=seed) for seed in (0, 1)]
    scores = [rows(8, 30, 14), [replace(row, question_id=f"other {row.question_id}") for row in rows(9, 30, 14)]]
    (number,) = found(tmp_path, beside(("table4", "No extrapolation", [0, 1])), scores, points=points).numbers
    assert (number.ours, number.verdict, number.remark) == (None, None, "seeds are not pooled")


def votes_of(right: Sequence[int]) -> list[ScoreRow]:
    """A point of as many samples; sample k has so many questions right, and all wrong answers are one answer."""
    return [row for sample, count in enumerate(right) for row in rows(count, 30, 14, None, 0, sample)]


def test_a_vote_stands_beside_a_vote(tmp_path: Path) -> None:
    numbers = [
        known(table("figure7").number(row, "aime24", Metric.ACCURACY)) for row in ("512 steps", "majority of 16")
    ]
    paper = PaperComparison(
        ["Figure 7"],
        [PaperRow(numbers[0], None, [0], 1, OTHER), PaperRow(numbers[1], None, [0], 5, OTHER)],
        5.0,
    )
    ours = found(tmp_path, paper, [votes_of([12, 28, 28, 28, 4])], points=[point(None, 0)])
    one, five = (known(each.ours).value for each in ours.numbers)
    assert one == pytest.approx(20 / 30) and five == pytest.approx(28 / 30)
    assert ours.numbers[1].verdict is Verdict.AGREES


def test_points_that_vote_over_the_same_scores_stand_beside_rows_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have one key, since a vote needs no scores of its own."""
    monkeypatch.setattr("s1.report.curve.read_engine", lambda directory: {"engine": "scripted"})
    asked = [replace(POINTS[2].request.budget, aggregation=Aggregation.MAJORITY_VOTE, votes=k) for k in (1, 5)]
    voting = [of(budget, f"majority of {budget.votes}", **{"budget.votes": budget.votes}) for budget in asked]
    scored = [Scored(each, "0" * 12, votes_of([12, 28, 28, 28, 4]), tmp_path) for each in voting]
    paper = beside(("figure7", "512 steps", [0]), ("figure7", "majority of 16", [1]))
    ours = known(find(CurveConfig(voting, STATISTICS, COST, paper=paper), scored).beside_paper)
    assert [known(each.ours).value for each in ours.numbers] == pytest.approx([20 / 30, 28 / 30])


# ---------------------------------------------------------------------------------------------------- the section


def full_paper() -> PaperComparison:
    numbered = [("max 1000", [0]), ("max 2000", [1]), ("max 4000", []), ("natural end", [2]), ("4x Wait", [4])]
    return beside(*(("figure1", row, places) for row, places in numbered))


def test_the_section_is_the_golden_one(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    paper = full_paper()
    mixed = replace(paper, rows=[*paper.rows[:-1], replace(paper.rows[-1], not_by_value="")])
    out = run(tmp_path, POINTS, scan(2, 8, 20, 25, 27), paper=mixed)
    readme = (out / "README.md").read_text(encoding="utf-8")
    golden("report/paper/section.md", readme[readme.index("## Beside the paper") : readme.index("Intervals: ")])
    page = (out / "report.html").read_text(encoding="utf-8")
    golden("report/paper/section.html", section_of(page, "paper"))
    golden("report/paper/paper.csv", (out / "paper.csv").read_text(encoding="utf-8"))


def test_the_csv_has_every_number_once_with_its_source(tmp_path: Path) -> None:
    out = run(tmp_path, POINTS, scan(2, 8, 20, 25, 27), paper=full_paper())
    lines = read_table(out / "paper.csv")
    assert [(row["row"], row["published"], row["ours"]) for row in lines][:3] == [
        ("max 1000", 13.3, 6.6667),
        ("max 2000", 30.0, 26.6667),
        ("max 4000", 43.3, None),
    ]
    assert as_written(out / "paper.csv")[0]["scores"] == "scores/000000000000@d000"
    assert all(row["source"] for row in lines)


def test_the_record_counts_what_was_reproduced(tmp_path: Path) -> None:
    curve = run_curve(tmp_path, POINTS, scan(2, 8, 20, 25, 27), paper=full_paper())
    page = ReportConfig("scan", "", "python -m sweep")
    summary = report(work(page, {"curve": [curve]}, tmp_path / "report" / "facade000000" / "out"))
    counts = {name: value for name, value in summary.items() if name.startswith("paper_")}
    assert counts == {"paper_reproduced": 4, "paper_different": 0, "paper_undecided": 0}


def test_a_scan_that_names_no_table_has_no_trace_of_it(tmp_path: Path) -> None:
    out = run(tmp_path, POINTS, scan(2, 8, 20, 25, 27))
    curve = (tmp_path / "curve" / "c0ffee000000" / "out" / "curve.json").read_text(encoding="utf-8")
    assert "beside_paper" not in curve and not (out / "paper.csv").exists()
    assert not re.search("Beside the paper", (out / "README.md").read_text() + (out / "report.html").read_text())


def test_a_row_of_a_stranger_is_text_in_every_file(tmp_path: Path) -> None:
    paper = full_paper()
    hostile = replace(paper.rows[0].number, row="=cmd|`x` <script>alert(1)</script>", source="<b>|")
    out = run(
        tmp_path, POINTS, scan(2, 8, 20, 25, 27), paper=replace(paper, rows=[replace(paper.rows[0], number=hostile)])
    )
    page, readme = ((out / name).read_text(encoding="utf-8") for name in ("report.html", "README.md"))
    assert "<script" not in without_scripts(page) and "<script" not in readme
    assert r"| =cmd\|\`x\` &lt;script>" in readme
    assert as_written(out / "paper.csv")[0]["row"] == hostile.row
