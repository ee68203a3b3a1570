"""The scaling chart: its rows say what table.csv says, and its specification has a value for every placeholder."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from s1.config.paper import Metric
from s1.plots.scaling_chart import XAxis, XScale, fields, filled, scaling_chart, strings, with_data
from s1.records import AnswerEnd
from s1.report.chart_rows import chart_rows, paper_rows, seed_rows
from s1.report.findings import BesideNumber, BesidePaper, Findings
from s1.report.published.reader import table
from s1.report.series import Scored
from s1.report.tables import table_csv
from s1.stats.interval import plain
from tests.support.scans import found, measured, point


@pytest.fixture(autouse=True)
def engine_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s1.report.curve.read_engine", lambda directory: {"engine": "scripted"})


def scan() -> Findings:
    over = measured(point(16, 0), range(20), 30)
    cut = [replace(row, answer_end=AnswerEnd.CAP) for row in over.scores[:2]]
    return found(
        [
            measured(point(8, 0), range(9), 30),
            replace(over, scores=[*cut, *over.scores[2:]]),
            measured(point(None, 0), range(31), 30),
        ]
    )


def as_table(findings: Findings) -> list[dict[str, str]]:
    return list(csv.DictReader(table_csv(findings).splitlines()))


def test_a_row_has_the_numbers_of_table_csv() -> None:
    findings = scan()
    drawn, written = chart_rows(findings), as_table(findings)
    same = (
        "label",
        "accuracy",
        "lo",
        "hi",
        "n",
        "thinking_tokens",
        "thinking_lo",
        "thinking_hi",
        "valid",
        "key",
        "digest",
    )
    assert [{name: str(row[name]) for name in same} for row in drawn] == [
        {name: row[name] for name in same} for row in written
    ]
    assert [row["valid"] for row in drawn] == ["yes", "no", "yes"]
    assert drawn[1]["problem"].startswith("2 of 40 answers were cut")


def test_costs_are_those_of_one_answer() -> None:
    findings = scan()
    for drawn, written in zip(chart_rows(findings), as_table(findings), strict=True):
        assert drawn["device_seconds_per_answer"] * 40 == pytest.approx(float(written["device_seconds"]), abs=0.05)
        assert drawn["usd_per_answer"] * 40 == pytest.approx(float(written["usd"]), abs=1e-6)
        both = float(written["thinking_tokens"]) + float(written["answer_tokens"])
        assert drawn["total_tokens"] == pytest.approx(both, abs=0.1)


def of_seeds(*rights: range) -> list[Scored]:
    return [measured(point(8, 0, seed=seed), right, 30) for seed, right in enumerate(rights)]


def test_every_seed_of_a_pooled_point_has_a_row_of_its_own() -> None:
    findings = found([*of_seeds(range(8), range(12)), measured(point(None, 0, seed=0), range(30), 30)])
    (pooled, natural), alone = chart_rows(findings), seed_rows(findings)
    assert (pooled["of_seed"], pooled["accuracy"], natural["of_seed"]) == ("all", 0.25, "all")
    assert [(row["label"], row["of_seed"], row["accuracy"]) for row in alone] == [
        ("max 8, seed 0", "0", 0.2),
        ("max 8, seed 1", "1", 0.3),
        ("natural end, seed 0", "0", 0.75),
    ]
    assert all(row["usd_per_answer"] is None and row["thinking_tokens"] for row in alone)
    assert " ".join(row["cited"] for row in alone[:2]) == pooled["cited"]


def test_points_of_one_seed_have_no_rows_by_seed() -> None:
    assert seed_rows(scan()) == []


def published(figure: str, row: str, tokens: float | None, ours: float | None) -> BesideNumber:
    number = next(each for each in table(figure).numbers if each.row == row and each.metric is Metric.ACCURACY)
    own = None if ours is None else plain(ours, 30, "mean", "tokens")
    return BesideNumber(number, tokens, "max 8", None, own, [], False, "", None)


def drawn_paper(*numbers: BesideNumber) -> Sequence[dict[str, object]]:
    return paper_rows(replace(scan(), beside_paper=BesidePaper(["Figure 1"], 5.0, list(numbers), [])))


def test_a_published_number_stands_at_its_own_tokens_or_at_those_of_our_point() -> None:
    own, at_ours = drawn_paper(
        published("figure1", "max 500", 499.0, 8.0),
        published("figure1", "max 1000", None, 8.0),
        published("figure1", "max 2000", None, None),
    )
    assert (own["thinking_tokens"], own["accuracy"], own["published"], own["remark"]) == (499.0, 0.64, "yes", "")
    assert (at_ours["thinking_tokens"], at_ours["usd_per_answer"]) == (8.0, None)
    assert at_ours["remark"] == "Its thinking tokens are not published: it is drawn at those of our point."


def test_a_scan_without_published_numbers_has_no_such_rows() -> None:
    assert paper_rows(scan()) == []


@pytest.mark.parametrize("x", XAxis)
def test_every_placeholder_has_a_value_and_every_column_exists(x: XAxis) -> None:
    specification = filled(scaling_chart(), fields(x), strings(x, XScale.LOG))
    (row, *_) = chart_rows(scan())
    assert "${" not in json.dumps(specification)
    assert set(fields(x).values()) <= set(row)
    assert specification["layer"][0]["encoding"]["x"]["axis"]["title"] == x.title


def test_a_text_with_quotes_stays_one_text() -> None:
    texts = {"x_title": 'tokens of "thinking"', "x_scale": "linear"}
    specification = filled(scaling_chart(), fields(XAxis.THINKING_TOKENS), texts)
    assert specification["layer"][0]["encoding"]["x"]["axis"]["title"] == 'tokens of "thinking"'


def test_a_placeholder_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"specification: has a placeholder without a value: \$\{string:x_scale\}"):
        filled(scaling_chart(), fields(XAxis.USD), {"x_title": "USD"})


def test_rows_replace_the_data_that_wandb_would_give() -> None:
    rows = chart_rows(scan())
    assert scaling_chart()["data"] == {"name": "wandb"}
    assert with_data(scaling_chart(), rows)["data"] == {"values": rows}
