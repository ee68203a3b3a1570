"""report.html in a real browser: every control of its figure, at three widths, without JavaScript, and printed."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from s1.config.paper import Metric
from s1.records import AnswerEnd
from s1.report import curve
from s1.report.chart_rows import chart_rows
from s1.report.findings import BesideNumber, BesidePaper, Findings
from s1.report.page import Page as Report
from s1.report.page import write_page
from s1.report.published.reader import table
from s1.stages import LineageStage, ReportConfig
from s1.stats.interval import plain
from sweep.core.costs import StageCost
from sweep.results.costs import costs_js
from tests.support.chromium import WIDTHS, Opener, View, grave_findings, keep_picture, overflow
from tests.support.scans import found, measured, point

if TYPE_CHECKING:
    from playwright.sync_api import Download, Locator, Page

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published" / "budget_scan" / "report.html"
POINT = ".live .mark-symbol path"
COSTS = [
    StageCost("<b>traces</b>", "traces/1", False, 1000, 2.5, 0.02, 1200, 3.25, 0.0312345, 4.0),
    StageCost("scores", "scores/1", True, None, None, None, None, 0.0, 0.0, 1.0),
    StageCost("scores", "scores/2", None, None, None, None, None, 0.0, 0.0, 1.0),
]


def findings() -> Findings:
    """Two tasks of two seeds; one point cut at its cap, and a published number."""
    scored = []
    for task, start in (("dial", 6), ("other <i>", 2)):
        for seed in (0, 1):
            asked = [point(8, 0, seed=seed, task=task), point(16, 0, seed=seed, task=task)]
            asked += [point(None, waits, seed=seed, task=task) for waits in (0, 1)]
            rights = [start, start + 6, start + 12, start + 14 + seed]
            scored += [
                measured(each, range(right), 14 * (place + 1), 20)
                for place, (each, right) in enumerate(zip(asked, rights, strict=True))
            ]
    cut = [replace(row, answer_end=AnswerEnd.CAP) for row in scored[1].scores[:3]]
    scored[1] = replace(scored[1], scores=[*cut, *scored[1].scores[3:]])
    with patch.object(curve, "read_engine", lambda directory: {"engine": "scripted"}):
        made = found(scored, pool_seeds=True)
    number = next(each for each in table("figure1").numbers if each.row == "max 500" and each.metric is Metric.ACCURACY)
    beside = BesideNumber(number, None, "max 8", None, plain(8.0, 20, "mean", "tokens"), [], False, "", None)
    return replace(made, beside_paper=BesidePaper(["Figure 1"], 5.0, [beside], []))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a small scan, with the costs beside it; its figures are left out."""
    folder = tmp_path_factory.mktemp("report")
    stages = [
        LineageStage("checkpoint/c0ffee", "laptop", []),
        LineageStage("traces/cafe", "all", ["checkpoint/c0ffee"]),
    ]
    config = ReportConfig("two tasks", "Accuracy rises.", "python -m sweep +experiment=two -m", lineage=stages)
    write_page(folder, Report(config, findings(), [], "c0ffee000000", "d000beef0000"))
    (folder / "costs.js").write_text(costs_js(COSTS), encoding="utf-8")
    return folder / "report.html"


@contextmanager
def drawn(opener: Opener, path: Path, view: View | None = None) -> Iterator[Page]:
    """The page with its figure drawn by Vega."""
    with opener.page(path, view) as page:
        page.locator("#controls").wait_for()
        yield page


def choose(page: Page, name: str, value: str) -> None:
    """Set a control of the figure, and wait until it is drawn."""
    page.locator(f"#controls [name={name}]").select_option(value)
    settle(page)


def settle(page: Page) -> None:
    page.evaluate("s1.figure.settled()")


def said(page: Page) -> list[str]:
    """What the drawn points say to a screen reader, from left to right."""
    shown = f"{POINT}:not([aria-hidden])"
    return page.evaluate(f"[...document.querySelectorAll('{shown}')].map((node) => node.getAttribute('aria-label'))")


def labels(page: Page) -> list[str]:
    return [each.split(",")[0] for each in said(page)]


# -------------------------------------------------------------------------------------------------- what is seen


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_and_axe_finds_nothing_grave(
    opener: Opener, report: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    view = View(width=width, dark=dark)
    with drawn(opener, report, view) as page:
        assert overflow(page) == 0
        assert width > 800 or grave_findings(page) == []
        shown = page.locator(".live svg").bounding_box()
        assert shown and shown["width"] > 0.8 * min(width - 40, 920)
        keep_picture(page, f"page-{view.name}", tmp_path)


def test_the_published_page_fits_a_phone(opener: Opener) -> None:
    with opener.page(PUBLISHED, View(width=360)) as page:
        assert overflow(page) == 0


def test_without_javascript_the_page_has_the_figure_of_matplotlib_and_all_tables(
    opener: Opener, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    from s1.report.figures import drawings

    shown = findings()
    write_page(folder, Report(ReportConfig("one", "", "sweep"), shown, drawings(shown), "c0ffee000000"))
    with opener.page(folder / "report.html", View(width=800, javascript=False)) as page:
        assert page.locator("#chart svg").count() == 1 and not page.locator("#controls").is_visible()
        assert page.get_by_role("link", name="How to read this").is_visible()
        keep_picture(page, "page-without-javascript", tmp_path)


def test_the_printed_page_is_black_on_white_and_has_no_controls(opener: Opener, report: Path, tmp_path: Path) -> None:
    with drawn(opener, report, View(width=800, dark=True)) as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert not page.locator("#controls").is_visible() and not page.locator(".contents").is_visible()
        ink = page.evaluate("getComputedStyle(document.body).color")
        line = page.evaluate("getComputedStyle(document.querySelector('.live .mark-line path')).stroke")
        assert (ink, line) == ("rgb(34, 37, 42)", "rgb(31, 95, 168)")
        keep_picture(page, "page-print", tmp_path)
        assert len(page.pdf()) > 10_000


# ---------------------------------------------------------------------------------------------------- the figure


def test_a_point_says_all_that_is_known_of_it(opener: Opener, report: Path) -> None:
    with drawn(opener, report) as page:
        page.locator(POINT).first.hover()
        tip = page.locator(".tip").inner_text()
        row = chart_rows(findings())[0]
        for text in (row["label"], f"{row['accuracy']:.1%}", "20 questions", row["cited"], "valid", "["):
            assert text in tip
        page.mouse.move(1, 1)
        assert not page.locator(".tip").is_visible()


def test_an_invalid_point_is_hollow_off_the_line_and_says_why(opener: Opener, report: Path) -> None:
    with drawn(opener, report) as page:
        (invalid,) = [each for each in said(page) if "invalid" in each]
        assert invalid.startswith("max 16, task dial,") and "invalid, off the line: 3 of 40 answers were cut" in invalid
        hollow = page.locator(f"{POINT}[aria-label*='invalid']")
        assert hollow.get_attribute("fill") == "transparent"
        corners = page.evaluate(
            "[...document.querySelectorAll('.live .mark-line path')].map((line) => line.getAttribute('d'))"
        )
        assert sorted(len(re.findall("[ML]", each)) for each in corners) == [3, 4]


def test_the_axis_can_show_tokens_time_and_money_by_logarithm_or_not(opener: Opener, report: Path) -> None:
    with drawn(opener, report) as page:
        titles = {
            "total_tokens": "mean total tokens",
            "device_seconds_per_answer": "device-seconds",
            "usd_per_answer": "USD",
        }
        for column, title in titles.items():
            choose(page, "x", column)
            assert title in (page.locator(".live svg").text_content() or "")
            assert "Not drawn: 1 published point without a published x." in page.locator("#chart-note").inner_text()
            assert len(said(page)) == 8
        choose(page, "x", "thinking_tokens")
        log = page.locator(".live .role-axis-label text").all_text_contents()
        choose(page, "scale", "linear")
        linear = page.locator(".live .role-axis-label text").all_text_contents()
        assert log[:3] == ["8", "16", "32"] and "10" in linear and len(said(page)) == 9


def test_series_tasks_seeds_names_and_published_numbers_can_be_left_out(opener: Opener, report: Path) -> None:
    with drawn(opener, report) as page:
        assert len(labels(page)) == 9
        page.get_by_role("checkbox", name="task dial").uncheck()
        settle(page)
        assert len(labels(page)) == 5 and not any("task dial" in each for each in said(page))
        page.get_by_role("checkbox", name="task dial").check()
        choose(page, "task", "other <i>")
        assert len(labels(page)) == 5
        choose(page, "task", "")
        page.get_by_role("checkbox", name="published numbers").uncheck()
        choose(page, "seeds", "each")
        assert len(labels(page)) == 16 and "max 8, seed 0" in " ".join(said(page))
        choose(page, "seeds", "all")
        assert page.locator(".live .names_0 text, .live [class*=names] text").count() > 0
        page.get_by_role("checkbox", name="names of points").uncheck()
        settle(page)
        assert page.locator(".live .names_0 text, .live [class*=names] text").count() == 0


def test_nothing_chosen_is_an_empty_figure_and_no_error(opener: Opener, report: Path) -> None:
    with drawn(opener, report) as page:
        for name in ("task dial", "task other <i>", "published numbers"):
            page.get_by_role("checkbox", name=name).uncheck()
            settle(page)
        assert said(page) == []


def test_the_arrow_keys_go_from_point_to_point(opener: Opener, report: Path) -> None:
    with drawn(opener, report) as page:
        page.locator(".live").focus()
        page.keyboard.press("ArrowRight")
        first = page.locator("#chart-said").inner_text()
        page.keyboard.press("End")
        last = page.locator("#chart-said").inner_text()
        assert "max 8" in first and "Wait x1" in last and page.locator(".tip").is_visible()
        page.keyboard.press("Escape")
        assert not page.locator(".tip").is_visible()


# ----------------------------------------------------------------------------------------------------- downloads


def test_the_figure_is_saved_as_png_svg_and_csv(opener: Opener, report: Path, tmp_path: Path) -> None:
    def saved(page: Page, name: str) -> bytes:
        with page.expect_download() as started:
            page.locator(f"#controls [name={name}]").click()
        download: Download = started.value
        assert download.suggested_filename == f"two_tasks.{name}"
        download.save_as(tmp_path / download.suggested_filename)
        return (tmp_path / download.suggested_filename).read_bytes()

    with drawn(opener, report, View(dark=True)) as page:
        assert saved(page, "png")[:8] == b"\x89PNG\r\n\x1a\n"
        drawing = saved(page, "svg").decode()
        assert "var(--" not in drawing and "#1f5fa8" in drawing and "task dial" in drawing
        rows = list(csv.DictReader(saved(page, "csv").decode().splitlines()))
        shown = chart_rows(findings())
        assert [(row["label"], float(row["accuracy"])) for row in rows[:8]] == [
            (row["label"], row["accuracy"]) for row in shown
        ]
        assert len(rows) == 9 and rows[8]["published"] == "yes"


# ------------------------------------------------------------------------------------------------- the rest of it


def test_the_contents_lead_to_every_section(opener: Opener, report: Path) -> None:
    with drawn(opener, report, View(width=360)) as page:
        for link in page.locator(".contents a").all():
            link.click()
            target: Locator = page.locator(page.evaluate("location.hash"))
            assert target.locator("h2").is_visible()
        page.get_by_role("link", name="Contents", exact=True).click()
        assert page.evaluate("location.hash") == "#contents"


def test_costs_are_read_from_the_side_file_as_text(opener: Opener, report: Path) -> None:
    with drawn(opener, report) as page:
        page.get_by_text("Planned and spent, by stage").click()
        page.locator("#spent table").wait_for()
        rows = [row.locator("td").all_inner_texts() for row in page.locator("#spent tbody tr").all()]
        assert rows[0] == ["<b>traces</b>", "no", "1,000", "2.5", "0.02", "1,200", "3.25", "0.03123", "4"]
        assert rows[1][:5] == ["scores", "unknown", "unknown", "unknown", "unknown"]
        assert len(page.locator("#spent th").all()) == len(rows[0]) == len(rows[1])
        assert grave_findings(page, "#spent") == []


def test_without_the_side_file_the_page_says_so(opener: Opener, report: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_bytes(report.read_bytes())
    missing = Opener(opener.browser)
    with (
        pytest.raises(pytest.fail.Exception, match=r"not loaded: file:.*costs\.js"),
        drawn(missing, tmp_path / "report.html") as page,
    ):
        page.get_by_text("Planned and spent, by stage").click()
        page.get_by_text("costs.js is not beside this page").wait_for()


def test_the_data_of_the_figure_are_those_of_the_table(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    (text,) = re.findall(r'id="chart-data">(.*?)</script>', page)
    data: dict[str, Any] = json.loads(text)
    assert data["rows"] == chart_rows(findings())
