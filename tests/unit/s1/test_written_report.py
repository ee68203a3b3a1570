"""The written report: one list of blocks, which Markdown and W&B render alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s1.plots.scaling_chart import XAxis
from s1.report.findings import Findings, read_findings
from s1.report.written.blocks import Code, Grid, Heading, Lines, RunSet, Table, Text, WrittenReport
from s1.report.written.content import ResultFacts, written_report
from s1.report.written.markdown import markdown, markdown_of
from s1.stages import ReportConfig
from s1.track.runs import Marker
from s1.track.send_report import ResultReport, _place_of
from s1.track.wandb_report import RunsOnServer, _sections, report_blocks
from sweep.core.pipeline import PublishedResult
from sweep.errors import InputError
from tests.support.scans import point, rows, run_curve

CONFIG = ReportConfig(
    "budget_scan", "Accuracy <rises> | with *thinking*.", "python -m sweep +experiment=budget_scan -m"
)


def stage(digest: str, **summary: Any) -> dict[str, Any]:
    known = {"commit": "0123456789abcdef", "finished_at": "2026-11-27T09:00:00+00:00", "seconds": 90.0, "usd": 0.25}
    return {"digest": digest * 12, "summary": summary, **known}


TRAINED = stage("a", steps=1400, examples=1000, tokens=1058762, train_loss=0.3268)
STAGES = {
    "report/facade000000": stage("f"),
    "traces/000000000001": stage("c"),
    "checkpoint/00000000000c": TRAINED,
    "scores/000000000001": stage("d"),
    "pool/00000000000b": stage("b"),
    "invented/00000000000e": stage("e"),
    "curve/c0ffee000000": stage("9"),
}
COSTS = [
    {
        "name": "traces",
        "reused": False,
        "planned_tokens": 1000,
        "spent_tokens": 1234,
        "planned_device_seconds": 60.0,
        "spent_device_seconds": 90.0,
        "planned_usd": 0.2,
        "spent_usd": 0.25,
    },
    {
        "name": "pool",
        "reused": None,
        "planned_tokens": None,
        "spent_tokens": None,
        "planned_device_seconds": None,
        "spent_device_seconds": None,
        "planned_usd": None,
        "spent_usd": 0.0,
    },
]
FACTS = ResultFacts(
    "budget_scan/facade000000",
    "f" * 12,
    STAGES,
    ["figures/scaling.png", "figures/scaling.svg", "table.csv"],
    COSTS,
    "cost: planned 0.2000 USD, spent 0.2500 USD",
)
RUNS = RunsOnServer(
    entity="team",
    project="s1-sweep",
    name="budget_scan",
    group="budget_scan",
    keys={RunSet.SUMMARY: ["facade000000"], RunSet.POINTS: ["000000000001", "000000000002"], RunSet.CHECKPOINTS: []},
    preset="team/s1-scaling",
)


def findings_of(store: Path) -> Findings:
    """Three points over 24 questions; in the first, a trace ran over its budget."""
    points = [point(8, 0), point(16, 0), point(None, 1)]
    scores = [rows(2, 24, 14, 8), rows(8, 24, 14, 16), rows(20, 24, 28, None, 1)]
    scores[0][5] = replace(scores[0][5], thinking_tokens=9)
    return read_findings(run_curve(store, points, scores))


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return findings_of(tmp_path_factory.mktemp("written"))


@pytest.fixture
def written(findings: Findings) -> WrittenReport:
    return written_report(findings, CONFIG, FACTS)


def test_the_markdown_is_the_golden_one(written: WrittenReport, golden: Callable[[str, str], None]) -> None:
    golden("report/written.md", markdown(written, lambda name: f"results/{name}"))


def under(report: WrittenReport, heading: str) -> list[Any]:
    """The blocks between a heading and the next."""
    places = [at for at, block in enumerate(report.blocks) if isinstance(block, Heading)]
    (start,) = (at for at in places if getattr(report.blocks[at], "text", "") == heading)
    end = next((at for at in places if at > start), len(report.blocks))
    return list(report.blocks[start + 1 : end])


def test_an_invalid_point_is_marked_wherever_it_is_and_compared_with_no_valid_one(written: WrittenReport) -> None:
    (curve,) = under(written, "Scaling")
    (table,) = (each for each in curve.shown_without if isinstance(each, Table))
    assert [row[-2] for row in table.rows] == ["INVALID", "valid", "valid"]
    (points,) = under(written, "Points")
    assert [row[0] for row in points.shown_without[0].rows] == ["max 16", "Wait x1"]
    _, problems = under(written, "Audit")
    assert problems.items[0] == "max 8: 1 of 24 traces think longer than 8 tokens (first: question q05)."
    assert all(item.startswith("max 8: ") for item in problems.items)


def test_what_is_unknown_is_said_and_not_guessed(findings: Findings) -> None:
    untrained = {address: each for address, each in STAGES.items() if each is not TRAINED}
    report = written_report(findings, CONFIG, replace(FACTS, stages=untrained, cost_line=None))
    assert under(report, "Training") == [Text("No model was trained for this result.")]
    assert under(report, "Cost planned and spent")[1] == Text(
        "What was planned is not known: no command kept its estimates."
    )


def test_stages_are_listed_from_the_data_to_the_report(written: WrittenReport) -> None:
    _, table = under(written, "Lineage")
    names = ["pool", "checkpoint", "traces", "scores", "invented", "curve", "report"]
    assert [row[0].partition("/")[0] for row in table.rows] == names


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (Text("a *b* `c` <d> [e](f) ~g~\n# h"), "a \\*b\\* \\`c\\` &lt;d> \\[e\\](f) \\~g\\~\\\\n\\# h"),
        (Lines(["_x_", "y"]), "- \\_x\\_\n- y"),
        (Table(["a|b", "n"], [["x|y", "1"], ["*z*", "2"]], frozenset({"n"})), None),
        (Code("a\nb"), "    a\n    b"),
    ],
)
def test_no_text_marks_anything_up(block: Text | Lines | Table | Code, text: str | None) -> None:
    expected = "| a\\|b | n |\n|---|---:|\n| x\\|y | 1 |\n| \\*z\\* | 2 |"
    assert markdown_of(block) == (expected if text is None else text)


# --------------------------------------------------------------------------------------------------------- on W&B


def kinds(blocks: Sequence[Any]) -> list[str]:
    return [type(each).__name__ for each in blocks]


def test_the_report_on_wandb_has_the_same_headings_in_the_same_order(written: WrittenReport) -> None:
    blocks = report_blocks(written, RUNS)
    assert kinds(blocks)[:2] == ["TableOfContents", "H1"]
    headings = [(block.text, block.level) for block in written.blocks if isinstance(block, Heading)]
    shown = [(each.text, int(type(each).__name__[1])) for each in blocks if type(each).__name__ in ("H1", "H2")]
    assert shown == headings
    panels = [kinds(each.panels) for each in blocks if type(each).__name__ == "PanelGrid"]
    assert panels == [
        ["CustomChart", "CustomChart", "WeavePanelSummaryTable"],
        ["WeavePanelSummaryTable"],
        ["ScatterPlot", "ScatterPlot", "ParallelCoordinatesPlot", "BarPlot", "RunComparer"],
        ["WeavePanelSummaryTable", "MediaBrowser"],
        ["WeavePanelSummaryTable"],
        ["LinePlot", "LinePlot", "LinePlot"],
        ["WeavePanelArtifact"],
    ]


def filters_of(blocks: Sequence[Any], name: str) -> list[str]:
    grids = (each for each in blocks if type(each).__name__ == "PanelGrid")
    return next(each.runsets[0].filters for each in grids if each.runsets[0].name == name).split(" and ")


def test_panels_draw_from_the_valid_runs_of_this_result_alone(written: WrittenReport) -> None:
    assert filters_of(report_blocks(written, RUNS), "points") == [
        "Metric(\"Group\") == 'budget_scan'",
        "Metric(\"JobType\") == 'point'",
        "Config(\"key\") in ['000000000001', '000000000002']",
        'SummaryMetric("valid") == 1',
    ]


def test_runs_that_were_sent_with_an_earlier_result_are_found_by_their_tag(written: WrittenReport) -> None:
    blocks = report_blocks(written, replace(RUNS, group=None))
    assert filters_of(blocks, "summary")[0] == "Metric(\"Tags\") in ['budget_scan']"


def test_the_chart_is_our_preset_over_tokens_and_over_cost(written: WrittenReport) -> None:
    grid = next(each for each in report_blocks(written, RUNS) if type(each).__name__ == "PanelGrid")
    charts = grid.panels[:2]
    assert [chart.chart_fields["x"] for chart in charts] == [XAxis.THINKING_TOKENS.value, XAxis.USD.value]
    assert {chart.chart_name for chart in charts} == {"team/s1-scaling"}
    places = [(panel.layout.x, panel.layout.y) for panel in grid.panels]
    assert places == [(0, 0), (12, 0), (0, 10)]


def test_without_the_preset_valid_points_are_drawn_one_line_per_series(written: WrittenReport) -> None:
    grid = next(each for each in report_blocks(written, replace(RUNS, preset=None)) if hasattr(each, "panels"))
    assert kinds(grid.panels) == ["CustomChart", "WeavePanelSummaryTable"]
    assert grid.panels[0].chart_name == "wandb/line/v0" and grid.panels[0].chart_fields["stroke"] == "series"


def test_the_workspace_has_five_sections_and_the_first_is_open() -> None:
    sections = _sections(RUNS)
    assert [each.name for each in sections] == ["Scaling", "Cost", "Audit", "Samples", "Training"]
    assert [each.is_open for each in sections] == [True, False, False, False, False]


# ----------------------------------------------------------------------------------------------- what is refused


def published(store: Path, **stages: Any) -> PublishedResult:
    named = {**STAGES, **stages}
    return PublishedResult("x/y", "x", store, store, "report/facade000000", named, [], [], None)


def test_a_result_whose_curve_is_elsewhere_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"curve/c0ffee000000 is not in the store .*: --store DIR"):
        ResultReport(published(tmp_path)).markdown(str)


def test_a_result_without_a_curve_is_refused(tmp_path: Path) -> None:
    result = replace(published(tmp_path), stages={"funnel/facade000000": stage("f")}, artifact="funnel/facade000000")
    with pytest.raises(InputError, match=r"x/y: has no curve. Name a result of goal=curve"):
        ResultReport(result).markdown(str)


def test_a_result_that_was_never_mirrored_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x/y has no run on W&B yet. Mirror it first: sweep sync"):
        _ = ResultReport(published(tmp_path)).marker


def test_nobody_is_asked_to_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wandb.login", lambda **_: False)
    with pytest.raises(InputError, match=r"not logged in to W&B. Run wandb login"):
        ResultReport(published(tmp_path)).send(None)


@pytest.mark.parametrize("project", ["", "s1-sweep", "/s1-sweep", "team/", "team/s1-sweep/runs"])
def test_a_project_has_an_entity_and_a_name(project: str) -> None:
    with pytest.raises(InputError, match=r"not a project. Write ENTITY/PROJECT"):
        _place_of(Marker("a", "x", None), project)


def test_runs_are_where_they_were_sent_unless_they_are_offline() -> None:
    online = Marker("a", "x", "https://wandb.example/team/s1-sweep/runs/a")
    assert _place_of(online, None) == ("team", "s1-sweep")
    assert _place_of(online, "other/place") == ("other", "place")
    with pytest.raises(InputError, match=r"offline, in store/wandb. Upload them .* --project ENTITY/PROJECT"):
        _place_of(Marker("a", "x", None), None)


def test_every_grid_says_the_same_where_nothing_draws(written: WrittenReport) -> None:
    grids = [block for block in written.blocks if isinstance(block, Grid)]
    assert len(grids) == 7
    assert all(grid.shown_without for grid in grids[:-1])  # the last, of the lineage, stands above its table
