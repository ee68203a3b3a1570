"""The curve and report stages on real files: golden texts, equal bytes, and verdicts that say no more than they may."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from s1.config.schema import ConfigError
from s1.records import AnswerEnd, Outcome, ScoreRow, write_rows
from s1.report.curve import find
from s1.report.figures_samples import sample_drawings
from s1.report.findings import Series, read_findings, write_findings
from s1.report.series import Scored
from s1.report.tables import as_written, shown
from s1.report.verdict import verdict
from s1.stages import CurveConfig, CurvePoint
from s1.stats.interval import StatisticsError
from sweep.core.identity import canonical
from sweep.core.typed import typed
from tests.support.known import known
from tests.support.pages import scripts_of, section_of, text_of, without_scripts
from tests.support.scans import COST, FINGERPRINT, STATISTICS, point, rows, run, series_of

# Figure 1 of the paper, AIME24: right answers of 30, mean thinking tokens, limit, Waits (read off the figure).
AIME24 = [
    (0, 500, 500, 0),
    (4, 1000, 1000, 0),
    (9, 2000, 2000, 0),
    (13, 3933, 4000, 0),
    (15, 5301, None, 0),
    (16, 6657, None, 2),
    (17, 7320, None, 4),
]


def small_scan() -> tuple[list[CurvePoint], list[list[ScoreRow]]]:
    """Five points over 24 questions; in one of them a single trace ran over its budget."""
    asked = [(8, 0, 2), (16, 0, 8), (None, 0, 14), (None, 1, 20), (None, 2, 21)]
    points = [point(limit, waits) for limit, waits, _ in asked]
    scores = [rows(right, 24, 14 * (1 + waits), limit, waits) for limit, waits, right in asked]
    scores[1][5] = replace(scores[1][5], thinking_tokens=19)
    scores[0][20] = replace(scores[0][20], extracted=None, outcome=Outcome.NONE)
    return points, scores


def small_vote() -> tuple[list[CurvePoint], list[list[ScoreRow]]]:
    """Three points over 12 questions of 4 samples; in the first a single trace ran over its budget."""
    points = [point(8, 0), point(16, 0), point(None, 1)]
    scores = [several(8, 0, 1), several(16, 0, 3), several(None, 1, 5)]
    scores[0][5] = replace(scores[0][5], thinking_tokens=9)
    return points, scores


def several(limit: int | None, waits: int, right: int) -> list[ScoreRow]:
    """Later samples are better; wrong ones agree on a third of the questions, on the others differ or are silent."""
    read = [
        row if row.correct else replace(row, extracted=("8", f"1{sample}", None)[index % 3])
        for sample in range(4)
        for index, row in enumerate(rows(right + 2 * sample, 12, 14 * (1 + waits), limit, waits, sample))
    ]
    return [replace(row, outcome=Outcome.NONE) if row.extracted is None else row for row in read]


def published_curve(store: Path) -> Series:
    points = [point(limit, waits) for _, _, limit, waits in AIME24]
    flat = [
        [replace(row, thinking_tokens=tokens) for row in rows(right, 30, 0, None, waits)]
        for right, tokens, _, waits in AIME24
    ]
    return series_of(run(store, points, flat))[0]


# ------------------------------------------------------------------------------------------------ what people read


def test_the_texts_are_the_golden_ones(tmp_path: Path, golden: Callable[[str, str], None]):
    out = run(tmp_path, *small_scan())
    for name in ("README.md", "table.csv", "manifest.json"):
        golden(f"report/{name}", (out / name).read_text(encoding="utf-8"))
    page = (out / "report.html").read_text(encoding="utf-8")
    golden("report/report.html", text_of(page))


def test_the_texts_of_several_samples_are_the_golden_ones(tmp_path: Path, golden: Callable[[str, str], None]):
    out = run(tmp_path, *small_vote())
    for name in ("README.md", "samples.csv"):
        golden(f"report/several/{name}", (out / name).read_text(encoding="utf-8"))
    page = (out / "report.html").read_text(encoding="utf-8")
    golden("report/several/section.html", section_of(page, "samples") + section_of(page, "settling"))


@pytest.mark.parametrize(("scan", "more"), [(small_scan(), []), (small_vote(), ["parallel", "samples"])])
def test_the_same_findings_give_the_same_bytes(tmp_path: Path, scan: tuple[list, list], more: list[str]):
    first, second = (run(tmp_path / name, *scan) for name in ("first", "second"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    figures = [
        f"figures/{name}.{form}"
        for name in ("differences", "scaling", "settling", *more)
        for form in ("png", "svg", "pdf")
    ]
    texts = [
        "README.md",
        "manifest.json",
        "report.html",
        "table.csv",
        "grader_disagreement.csv",
        "settling.csv",
        *(["samples.csv"] if more else []),
    ]
    assert {str(file) for file in files} == {*figures, *texts}
    assert [file for file in files if (first / file).read_bytes() != (second / file).read_bytes()] == []


@pytest.mark.parametrize("scan", [small_scan(), small_vote()])
def test_the_page_stands_alone(tmp_path: Path, scan: tuple[list, list]):
    page = (run(tmp_path, *scan) / "report.html").read_text(encoding="utf-8")
    assert [tag for tag in scripts_of(page) if "src" in tag] == []
    page = without_scripts(page)
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    referenced = set(re.findall(r'(?:url\(#|href="#)([^")]+)', page))
    assert referenced <= set(ids)
    assert "budget &amp; with Wait" in page


def test_every_number_is_cited_by_the_key_and_the_digest_of_what_it_came_from(tmp_path: Path):
    out = run(tmp_path, *small_scan())
    readme, page = ((out / name).read_text(encoding="utf-8") for name in ("README.md", "report.html"))
    assert "| `scores/000000000003@d003` |" in readme and "From `curve/c0ffee000000@d000`." in readme
    assert "scores/000000000003@d003<" in page and "curve/c0ffee000000@d000" in page
    assert as_written(out / "table.csv")[3]["digest"] == "d003beef0000"
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["curve"] == {"key": "c0ffee000000", "digest": "d000beef0000"}
    assert manifest["points"][3]["scores"] == [{"seed": 0, "key": "000000000003", "digest": "d003beef0000"}]


def test_without_a_digest_the_key_alone_is_cited(tmp_path: Path):
    FINGERPRINT.write(tmp_path)
    findings = find(
        CurveConfig([point(8, 0)], STATISTICS, COST), [Scored(point(8, 0), "0123456789ab", rows(3, 12, 9, 8), tmp_path)]
    )
    assert next(findings.points()).sources[0].cited == "0123456789ab"


def test_cut_answers_are_counted_and_bounded_beside_the_accuracy(tmp_path: Path):
    """Three of 24 answers end at the context, one of them right: 58.3, at most 66.7."""
    points, scores = small_scan()
    for place in (0, 20, 21):
        scores[2][place] = replace(scores[2][place], answer_end=AnswerEnd.CONTEXT, thinks_on_tokens=7)
    out = run(tmp_path, points, scores)
    readme, page = ((out / name).read_text(encoding="utf-8") for name in ("README.md", "report.html"))
    bounded = "58.3, at most 66.7 if the cut answers were right"
    assert f"| natural end | {bounded} | [38.8, 75.5] | 24 | 15.5 | 12.5 | 12.5 | reference |" in readme
    assert "<td>58.3%<br><small>at most 66.7%<br>if the cut answers<br>were right</small></td>" in page
    row = as_written(out / "table.csv")[2]
    assert [row[name] for name in ("accuracy_if_cut_right", "answers_cut_share", "thinks_on_share")] == [
        "0.666667",
        "0.125",
        "0.125",
    ]


def test_answers_cut_by_a_cap_make_a_point_invalid(tmp_path: Path):
    points, scores = small_scan()
    scores[2][:2] = [replace(row, answer_end=AnswerEnd.CAP) for row in scores[2][:2]]
    out = run(tmp_path, points, scores)
    assert [each.label for each in series_of(out)[0].points if not each.valid] == ["max 16", "natural end"]


def test_what_graders_judge_differently_is_collected_with_its_place_and_counted(tmp_path: Path):
    head = "question_id,ours,theirs"
    files = {0: f"{head}\nq01,5,25\nq02,=cmd,\n", 2: f"{head}\n"}
    points, scores = small_scan()
    out = run(tmp_path, points, scores, files)
    assert (out / "grader_disagreement.csv").read_text(encoding="utf-8").splitlines() == [
        f"label,series,scores,{head}",
        "max 8,,scores/000000000000@d000,q01,5,25",
        "max 8,,scores/000000000000@d000,q02,'=cmd,",  # no formula to a spreadsheet
    ]
    assert [each.disagreements for each in series_of(out)[0].points] == [2, None, 0, None, None]
    without = run(tmp_path / "none", points, scores)
    assert (without / "grader_disagreement.csv").read_text(encoding="utf-8") == "label,series,scores\n"


def test_a_label_of_a_stranger_is_text_in_every_file(tmp_path: Path) -> None:
    text = "=cmd|`x` <script>alert(1)</script>\x1b[2J $\\href{a}{$ is $x$"  # of which matplotlib can read no formula
    points, scores = small_scan()
    asked = points[3].request
    hostile = replace(points[3], request=replace(asked, budget=replace(asked.budget, continuation=text)))
    out = run(tmp_path, [*points[:3], hostile], scores[:4])
    page, readme = ((out / name).read_text(encoding="utf-8") for name in ("report.html", "README.md"))
    assert scripts_of(page) == scripts_of((run(tmp_path / "tame", points, scores) / "report.html").read_text())
    assert "<script" not in without_scripts(page) and page.count("&lt;script&gt;alert(1)") > 5
    assert "<script" not in readme and "\x1b" not in readme
    assert r"| =cmd\|\`x\` &lt;script>alert(1)&lt;/script>\x1b[2J $" in readme
    for figure in (out / "figures").glob("*.svg"):
        ElementTree.parse(figure)  # no control character, which XML does not allow
    assert "$ is $x$ x1" in (out / "figures" / "differences.svg").read_text(encoding="utf-8")
    assert (out / "table.csv").read_text(encoding="utf-8").splitlines()[4].startswith("'=cmd|`x` <script>")
    assert as_written(out / "table.csv")[3]["label"] == f"{text} x1"


# -------------------------------------------------------------------------------------------------- what it may say


def test_the_published_curve_rises_with_the_budget_and_its_wait_gain_cannot_be_told(tmp_path: Path):
    """Two questions more out of 30: what the paper calls extrapolation is not visible in one sample each."""
    series = published_curve(tmp_path)
    assert series.reference == "natural end"
    assert round(known(series.metrics.scaling).value) == 15
    assert known(series.metrics.control).value == 1
    performance = series.metrics.performance
    assert (
        known(known(performance).lo) < 0.5 < known(performance).value < 17 / 30 < known(known(performance).hi)
    )  # the best of 7, less what choosing adds
    shape, flatters, least, most = verdict(series)
    assert shape.startswith(
        "Accuracy rises with thinking to Wait x4, from 0.0% (max 500, 500.0 tokens) to 56.7% (Wait x4, 7,320 tokens):"
    )
    assert flatters.startswith("Wait x4 is the best of 7 points") and "all 21 pairs hold together" in flatters
    assert least.startswith("Whether accuracy rises when the end of thinking is suppressed cannot be told at n = 30")
    assert (
        "from 50.0% (natural end, 5,301 tokens) to 56.7% (Wait x4, 7,320 tokens) is +6.7 points [-5.8, +18.3]" in most
    )


def test_an_invalid_point_is_marked_everywhere_and_left_out_of_scaling(tmp_path: Path):
    points, scores = small_scan()
    out = run(tmp_path, points, scores)
    series = series_of(out)[0]
    assert [each.label for each in series.points if not each.valid] == ["max 16"]
    assert "max 16" not in {label for each in series.neighbours for label in (each.label, each.against)}
    assert [each.valid for each in series.to_reference if each.label == "max 16"] == [False]
    assert series.notes == [
        "Failed the audit, and left out of Scaling, Slope, Performance and the verdict: max 16 (1 of 5 points)."
    ]
    without = series_of(run(tmp_path / "without", points[:1] + points[2:], scores[:1] + scores[2:]))[0]
    assert series.metrics.scaling == without.metrics.scaling
    assert "| max 16 **(invalid)** |" in (out / "README.md").read_text(encoding="utf-8")
    assert (out / "report.html").read_text(encoding="utf-8").count('<tr class="invalid"><td>max 16') == 3
    assert (out / "table.csv").read_text(encoding="utf-8").count(",no,") == 1


def test_a_falling_curve_is_said_to_fall_and_an_unchanged_one_not_to_rise(tmp_path: Path):
    falling = run(tmp_path / "falling", [point(8, 0), point(None, 0)], [rows(20, 24, 9, 8), rows(4, 24, 9)])
    assert verdict(series_of(falling)[0])[0].startswith("Accuracy falls with more thinking, from 83.3% (max 8, 8.0 tok")
    same = run(tmp_path / "same", [point(64, 0), point(None, 0)], [rows(9, 24, 9, 64), rows(9, 24, 12)])
    assert verdict(series_of(same)[0]) == [
        "Whether accuracy changes with thinking cannot be told at n = 24: from 37.5% (max 64, 10.5 tokens) to 37.5%"
        " (natural end, 13.5 tokens), no question is answered differently."
    ]


@pytest.mark.slow
def test_a_vote_is_judged_at_the_reference_by_its_paired_gain(tmp_path: Path):
    """Samples of which more than half are right gain by a vote, fewer lose, equal ones do not differ."""

    def judged(name: str, right_S: Sequence[int]) -> list[str]:
        samples = [row for sample, right in enumerate(right_S) for row in rows(right, 24, 9, sample=sample)]
        return verdict(series_of(run(tmp_path / name, [point(None, 0)], [samples]))[0])

    (gains,) = judged("gains", [0, 24, 24])
    assert gains.startswith(
        "Accuracy rises with a majority vote of 3 samples (natural end), from 66.7% to 100.0%: +33.3 points"
        " [+31.2, +34.9]."
    )
    assert judged("loses", [0, 0, 24])[0].startswith("Accuracy falls with a majority vote of 3 samples (natural end)")
    unknown = "Whether accuracy rises with a majority vote of 3 samples (natural end) cannot be told at n = 24: from"
    assert judged("equal", [9, 9, 9])[0].startswith(unknown)
    assert judged("both", [0, 12, 24])[0].startswith(unknown)


def test_a_single_point_is_reported_without_comparisons(tmp_path: Path):
    out = run(tmp_path, [point(16, 0)], [rows(5, 12, 9, 16)])
    series = series_of(out)[0]
    assert (series.to_reference, series.neighbours, series.metrics.scaling) == ([], [], None)
    assert "there is nothing to compare" in (out / "README.md").read_text(encoding="utf-8")
    assert not (out / "figures" / "differences.png").exists()


# ------------------------------------------------------------------------------------------------------- the stages


def test_a_point_that_is_given_twice_is_reported_once(tmp_path: Path) -> None:
    FINGERPRINT.write(tmp_path)
    twice = [Scored(point(8, 0), "0123456789ab", rows(3, 12, 9, 8), tmp_path)] * 2
    found = find(CurveConfig([each.point for each in twice], STATISTICS, COST), twice)
    assert [each.label for each in found.points()] == ["max 8"]


def test_points_come_in_the_order_of_their_measured_thinking_with_their_own_keys(tmp_path: Path):
    asked = [(None, 2), (16, 0), (None, 0), (8, 0)]
    points = [point(limit, waits) for limit, waits in asked]
    series = series_of(run(tmp_path, points, [rows(6, 12, 9 * (1 + waits), limit, waits) for limit, waits in asked]))[0]
    assert [(each.label, int(each.key, 16)) for each in series.points] == [
        ("max 8", 3),
        ("max 16", 1),
        ("natural end", 2),
        ("Wait x2", 0),
    ]


def test_several_samples_are_one_cluster_per_question_and_reported_for_every_k(tmp_path: Path):
    agreeing = [row for sample in range(4) for row in rows(3 + 2 * sample, 12, 9, sample=sample)]
    measured = series_of(run(tmp_path, [point(None, 0)], [agreeing]))[0].points[0]
    assert (measured.questions, measured.samples) == (12, 4)
    assert measured.accuracy.method == "Wilson over questions, clustered"
    assert [each.k for each in measured.at_k] == [1, 2, 3, 4]
    one, *_, all_four = measured.at_k
    assert one.passed == one.majority == measured.accuracy
    assert one.gain.value == 0
    assert all_four.passed.value == pytest.approx(9 / 12)
    assert all_four.majority.value == pytest.approx((3 + 2 + 2 * 0.5 + 2 * 0) / 12)  # by 4, 3, 2 and 1 right of 4
    assert all_four.gain.value == pytest.approx(100 * (all_four.majority.value - measured.accuracy.value))
    assert measured.thinking_tokens_of(4).value == 4 * measured.thinking_tokens.value


def test_figures_of_several_samples_draw_some_of_many_points_and_need_thinking_for_a_token_axis(tmp_path: Path):
    FINGERPRINT.write(tmp_path)
    limits = [8, 9, 10, 11, 12, 13, 14]

    def drawn(tokens: int) -> dict[str, str]:
        """The text of each figure."""
        points = [point(limit, 0) for limit in limits]
        scores = [[replace(row, thinking_tokens=tokens) for row in several(limit, 0, 3)] for limit in limits]
        scored = [
            Scored(each, f"{index:012x}", rows, tmp_path)
            for index, (each, rows) in enumerate(zip(points, scores, strict=True))
        ]
        return {each.name: each.svg for each in sample_drawings(find(CurveConfig(points, STATISTICS, COST), scored))}

    figures = drawn(tokens=8)
    assert list(figures) == ["samples", "parallel"]
    assert re.findall(r">(max \d+)<", figures["samples"]) == ["max 8", "max 10", "max 12", "max 14"]
    assert list(drawn(tokens=0)) == ["samples"]


def test_budgets_under_as_many_waits_are_compared_as_budgets(tmp_path: Path) -> None:
    """Once it said that accuracy falls when the end is suppressed, although all points suppressed it equally."""
    points = [point(limit, 2) for limit in (20, 30, None)]
    scores = [rows(right, 40, 40, limit, 2) for right, limit in ((4, 20), (20, 30), (36, None))]
    sentence, *rest = verdict(series_of(run(tmp_path, points, scores))[0])
    assert sentence.startswith("Accuracy rises with thinking to Wait x2, from 10.0% (Wait x2, max 20, 20.0 tokens)")
    assert not [each for each in rest if "suppressed" in each]


def test_rows_of_several_curves_are_told_apart_where_they_are_printed(tmp_path: Path) -> None:
    points = [point(8, 0, engine=engine) for engine in ("transformers", "vllm")]
    for index in range(2):
        answers = tmp_path / "traces" / f"{index:012x}" / "out"
        answers.mkdir(parents=True)
        write_rows(answers / "traces.jsonl", [])
    out = run(tmp_path, points, [rows(3, 12, 9, 8)] * 2)
    assert [row["point"] for row in shown(out / "table.csv")] == ["engine transformers, max 8", "engine vllm, max 8"]


def test_one_sample_has_no_k(tmp_path: Path):
    out = run(tmp_path, *small_scan())
    assert [each.at_k for each in series_of(out)[0].points] == [[]] * 5
    assert not (out / "samples.csv").exists()
    assert "maj@k" not in (out / "report.html").read_text(encoding="utf-8")


def test_the_cost_of_a_point_is_that_of_its_own_tokens_and_says_that_it_is_an_estimate(tmp_path: Path):
    measured = series_of(run(tmp_path, [point(8, 0)], [rows(5, 10, 9, 8)]))[0].points[0]
    assert measured.sampled_tokens.value == 10 * (8 + 3)
    assert known(measured.device_seconds).value == pytest.approx(110 / 500)
    usd = known(measured.usd)
    assert usd.value == pytest.approx(110 / 500 / 3600 * 2)
    assert usd.method.startswith("estimate: sampled tokens at 500 per device-second and 2 USD per device-hour")
    assert usd.lo is None


def test_findings_survive_their_file(tmp_path: Path):
    out = run(tmp_path, *small_scan())
    findings = read_findings(out.parents[2] / "curve" / "c0ffee000000" / "out")
    write_findings(tmp_path, findings)
    assert read_findings(tmp_path) == findings


def test_the_config_survives_the_way_to_a_worker():
    config = CurveConfig([point(8, 0, seed=1, task=None)], STATISTICS, COST)
    assert typed(CurveConfig, canonical(config)) == config


def test_points_that_cannot_be_told_apart_or_compared_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="points max 8: two of them share a label and all values"):
        run(tmp_path / "a", [point(8, 0), point(8, 0)], [rows(1, 4, 9, 8), rows(1, 4, 9, 8)])
    with pytest.raises(ConfigError, match="scores 1: there are 2 points"):
        run(tmp_path / "b", [point(8, 0), point(16, 0)], [rows(1, 4, 9, 8)])
    with pytest.raises(StatisticsError, match=r"max 16: lacks 1 of 4 questions that other points have \(q03\)"):
        run(tmp_path / "c", [point(8, 0), point(16, 0)], [rows(1, 4, 9, 8), rows(1, 3, 9, 16)])
