"""The published numbers: the reader, the page, and summaries of the paper recomputed from its own points."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from s1.config.paper import Metric, Published
from s1.config.schema import ConfigError
from s1.generate.methods.method import Bounds
from s1.report.published.page import readme
from s1.report.published.reader import COLUMNS, read_tables, table, tables
from s1.stats.published import exact_share
from s1.stats.scaling import control, performance, scaling
from sweep.errors import InputError
from tests.support.known import known

PROJECT = Path(__file__).resolve().parents[3]
QUESTIONS = {"aime24": 30, "aime25": 30, "math500": 500, "gpqa_diamond": 198}
TCC = [f"{tokens} tokens" for tokens in (1024, 2048, 4096, 8192, 16384)]
SCC = [f"{steps} steps" for steps in (16, 32, 64, 128, 256)]
TCC_BF, SCC_BF = ([f"{row}, forced" for row in rows] for rows in (TCC, SCC))


def value(name: str, row: str, task: str, metric: Metric) -> float:
    return known(table(name).number(row, task, metric)).value


def points(name: str, rows: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean thinking tokens and exact accuracies of rows on AIME24, as one row of points each."""
    tokens = [value(name, row, "aime24", Metric.THINKING_TOKENS) for row in rows]
    shares = [exact_share(value(name, row, "aime24", Metric.ACCURACY), 30) for row in rows]
    return np.array([tokens]), np.array([shares])


def bounds_of(rows: list[str], tokens_each: int) -> list[Bounds | None]:
    return [Bounds(highest=tokens_each * int(row.split()[0])) for row in rows]


# -------------------------------------------------------------------------- what the paper computed from its points


@pytest.mark.parametrize(
    ("method", "name", "rows", "expected"),
    [
        ("TCC", "table11", TCC, -23.77),
        ("TCC + BF", "table11", TCC_BF, 13.16),
        ("SCC", "table12", SCC, 2.93),
        ("SCC + BF", "table12", SCC_BF, 6.41),
        ("CCC", "table13", ["short", "long"], 25.18),
    ],
)
def test_scaling_of_the_published_points_is_the_published_scaling(
    method: str, name: str, rows: list[str], expected: float
) -> None:
    ours = float(scaling(*points(name, rows))[0])
    assert round(ours, 2) == expected
    assert round(ours) == value("table3", method, "aime24", Metric.SCALING)
    assert len(rows) == value("table3", method, "aime24", Metric.RUNS)


def test_scaling_of_budget_forcing_is_that_of_figure_1() -> None:
    """The five runs of Table 3 are not named; all seven points of the figure, and these five, give 15."""
    figure = [row for row in table("figure1").rows if table("figure1").number(row, "aime24", Metric.ACCURACY)]
    five = ["max 1000", "max 2000", "max 4000", "natural end", "4x Wait"]
    assert len(figure) == 7
    assert round(float(scaling(*points("figure1", figure))[0]), 2) == 14.82
    assert round(float(scaling(*points("figure1", five))[0]), 2) == 14.90
    assert value("table3", "BF", "aime24", Metric.SCALING) == 15


def test_no_five_runs_of_figure_6_have_both_scaling_and_performance_of_rejection_sampling() -> None:
    """Table 3 has -35 and 40.0 from five runs. Only the limit of 3500 has 40.0, and with it -33.9 is the nearest."""
    assert value("table3", "RS", "aime24", Metric.SCALING) == -35
    with_best = [list(each) for each in combinations(table("figure6").rows, 5) if "limit 3500" in each]
    found = {tuple(rows): round(float(scaling(*points("figure6", rows))[0]), 1) for rows in with_best}
    assert min(found.values()) == -33.9
    assert {row for rows, slope in found.items() if slope == -33.9 for row in rows} == {*table("figure6").rows} - {
        "limit 4000"
    }
    assert round(float(scaling(*points("figure6", table("figure6").rows[1:]))[0]), 1) == -35.5
    assert round(float(scaling(*points("figure6", table("figure6").rows))[0]), 1) == -28.6


@pytest.mark.parametrize(
    ("method", "name", "rows", "bounds"),
    [
        ("TCC", "table11", TCC, bounds_of(TCC, 1)),
        ("TCC + BF", "table11", TCC_BF, bounds_of(TCC_BF, 1)),
        ("SCC", "table12", SCC, bounds_of(SCC, 100)),
        ("SCC + BF", "table12", SCC_BF, bounds_of(SCC_BF, 100)),
        # Short asks for less than the default, long for more.
        ("CCC", "table13", ["short", "long"], [Bounds(highest=6109), Bounds(lowest=6109)]),
    ],
)
def test_control_and_performance_of_the_published_points_are_the_published_ones(
    method: str, name: str, rows: list[str], bounds: list[Bounds | None]
) -> None:
    tokens, shares = points(name, rows)
    assert 100 * control(tokens, bounds)[0] == value("table3", method, "aime24", Metric.CONTROL)
    assert round(100 * float(performance(shares)[0]), 1) == value("table3", method, "aime24", Metric.PERFORMANCE)


def test_performance_of_budget_forcing_and_rejection_is_the_best_point_of_their_figures() -> None:
    for method, name in (("BF", "figure1"), ("RS", "figure6")):
        numbers = [each for each in table(name).numbers if each.task == "aime24" and each.metric is Metric.ACCURACY]
        assert max(each.value for each in numbers) == value("table3", method, "aime24", Metric.PERFORMANCE)


# ----------------------------------------------------------------------------------------------------- the data


def test_tables_agree_where_they_repeat_a_number() -> None:
    """Table 2's s1K, Table 4's first row and Table 13's default are one run; so are Tables 4 and 5 with 2x Wait."""
    for task in ("aime24", "math500", "gpqa_diamond"):
        same = [("table2", "s1K"), ("table4", "No extrapolation"), ("table13", "default")]
        assert len({value(*place, task, Metric.ACCURACY) for place in same}) == 1
        twice = [("table4", "2x Wait"), ("table5", "s1 2x Wait")]
        assert len({value(*place, task, Metric.ACCURACY) for place in twice}) == 1
        best = max(value("table5", f"s1 {waits}x Wait", task, Metric.ACCURACY) for waits in (1, 2, 4))
        assert value("table1", "s1-32B", task, Metric.ACCURACY) == best


def test_every_number_names_its_questions_and_its_source() -> None:
    numbers = [each for one in tables().values() for each in one.numbers]
    assert len(numbers) > 350
    assert {each.task: each.n for each in numbers if each.task} == QUESTIONS
    assert all(each.n == QUESTIONS[each.task] for each in numbers if each.task)
    assert all(0 <= each.value <= 100 for each in numbers if each.metric in (Metric.ACCURACY, Metric.CONTROL))
    assert all("measured from the figure" in each.source for each in numbers if _is_read_off(each))


def _is_read_off(number: Published) -> bool:
    return number.table.startswith("figure") and number.metric in (Metric.ACCURACY, Metric.THINKING_TOKENS)


def test_aime_accuracies_measured_by_the_authors_are_whole_questions() -> None:
    own = [each for one in tables().values() for each in one.numbers if each.temperature == 0]
    shares = [each for each in own if each.metric is Metric.ACCURACY and each.task in ("aime24", "aime25")]
    assert len(shares) > 60
    for each in shares:
        right = 30 * exact_share(each.value, each.n)
        assert right == pytest.approx(round(right)), each


def test_the_committed_page_shows_the_numbers_of_today() -> None:
    """`make paper-numbers` writes it."""
    assert (PROJECT / "results" / "paper" / "README.md").read_text(encoding="utf-8") == readme(tables())


def test_a_share_is_exact_where_the_published_percentage_is_one_of_n_questions() -> None:
    assert exact_share(56.7, 30) == 17 / 30
    assert exact_share(79.8, 30) == pytest.approx(0.798)  # a mean over several runs
    assert exact_share(93.2, 500) == 466 / 500
    assert exact_share(50.0, None) == 0.5


# ---------------------------------------------------------------------------------------------------- the reader


def written(folder: Path, *lines: str) -> Path:
    (folder / "tables.csv").write_text("table,title\ntable9,Table 9\n", encoding="utf-8")
    (folder / "table9.csv").write_text("\n".join([",".join(COLUMNS), *lines, ""]), encoding="utf-8")
    return folder


GOOD = "table9,a row,aime24,accuracy,50.0,,,30,some/model,,0,Table 9"


def test_a_line_becomes_a_number(tmp_path: Path) -> None:
    (number,) = read_tables(written(tmp_path, GOOD))["table9"].numbers
    assert number == Published(
        "table9", "a row", "aime24", Metric.ACCURACY, 50.0, None, None, 30, "some/model", "", 0.0, "Table 9"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (GOOD.replace("50.0", "5o"), "line 3: value '5o': not a number."),
        (GOOD.replace("50.0", "nan"), "line 3: value 'nan': not a number."),
        (GOOD.replace("50.0", ""), "line 3: value: empty."),
        (GOOD.replace(",30,", ",30.5,"), "line 3: n '30.5': not a whole number."),
        (GOOD.replace("accuracy", "acuracy"), "line 3: metric 'acuracy': not a metric."),
        (GOOD.replace("table9,", "table8,"), "line 3: table 'table8': not table9."),
        (GOOD.replace("Table 9", ""), "line 3: source: empty."),
        (GOOD.replace("a row", ""), "line 3: row: empty."),
        (GOOD + ",more", "line 3: 13 cells under 12 columns."),
        (GOOD.replace("a row", "the first"), "line 3: the first, aime24, accuracy: twice."),
    ],
)
def test_an_error_of_the_reader_names_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    folder = written(tmp_path, GOOD.replace("a row", "the first"), line)
    with pytest.raises(InputError) as refused:
        read_tables(folder)
    assert str(refused.value).startswith(f"{folder / 'table9.csv'}: {message}")


def test_a_missing_file_and_a_foreign_heading_are_refused(tmp_path: Path) -> None:
    (written(tmp_path, GOOD) / "table9.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"table9\.csv: line 1: not the columns table,row,task"):
        read_tables(tmp_path)
    (tmp_path / "table9.csv").unlink()
    with pytest.raises(InputError, match=r"table9\.csv: missing"):
        read_tables(tmp_path)


def test_an_unknown_table_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"paper.table tabel4: no such published table. Did you mean table4\?"):
        table("tabel4")
