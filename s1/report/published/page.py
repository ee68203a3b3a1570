"""The published numbers as a Markdown page: results/paper/README.md, one table per published table or figure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from s1.config.paper import Metric, Published
from s1.report.published.reader import PublishedTable

INTRO = """\
# Numbers of the paper

<!-- Written by `make paper-numbers` from s1/report/published/*.csv: edit those. -->

Every number of the tables and plots of *s1: Simple test-time scaling* (arXiv 2501.19393) that an experiment here stands
beside: `s1/report/published/*.csv`, one number per row, with model, temperature, n and source. Tables have the numbers
of v3 where these are known; coordinates of plots were measured from the figures. An empty cell was not published.
`paper.table` puts them beside the results of a scan (docs/results.md).
"""
UNITS = {
    Metric.ACCURACY: "accuracy, %",
    Metric.DIFFERENCE: "difference to s1K, points",
    Metric.CONTROL: "Control, %",
    Metric.SCALING: "Scaling, points per doubling",
    Metric.PERFORMANCE: "Performance, %",
    Metric.ROWS_CUT: "training rows cut, %",
    Metric.SEQUENCE_LENGTH: "training sequence length, tokens",
}
ONE_DECIMAL = (Metric.ACCURACY, Metric.PERFORMANCE, Metric.DIFFERENCE)
SIGNED = (Metric.SCALING, Metric.DIFFERENCE)


def readme(tables: Mapping[str, PublishedTable]) -> str:
    """The whole page."""
    return "\n".join([INTRO, *(line for each in tables.values() for line in _section(each))])


def _section(table: PublishedTable) -> Iterator[str]:
    columns = list(dict.fromkeys((each.task, each.metric) for each in table.numbers))
    heading = ["row", *(f"{task} {_unit(metric)}".strip() for task, metric in columns), "model"]
    yield f"## {table.title}\n"
    yield _line(heading)
    yield _line(["---", *("---:" for _ in columns), "---"])
    for row in table.rows:
        cells = [_cell(table.number(row, task, metric)) for task, metric in columns]
        yield _line([row, *cells, _models(each for each in table.numbers if each.row == row)])
    yield ""
    yield from _sources(table.numbers)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _unit(metric: Metric) -> str:
    return UNITS.get(metric, metric.value.replace("_", " "))


def _cell(number: Published | None) -> str:
    if number is None:
        return ""
    value = _shown(number.value, number.metric)
    if number.lo is None or number.hi is None:
        return value
    return f"{value} [{_shown(number.lo, number.metric)}, {_shown(number.hi, number.metric)}]"


def _shown(value: float, metric: Metric) -> str:
    sign = "+" if metric in SIGNED else ""
    return f"{value:{sign},.1f}" if metric in ONE_DECIMAL else f"{value:{sign},.0f}"


def _models(numbers: Iterable[Published]) -> str:
    """Models of a row, and what they were trained on here."""
    names = dict.fromkeys(f"{each.model} on {each.data}" if each.data else each.model for each in numbers if each.model)
    return "; ".join(f"`{name}`" for name in names)


def _sources(numbers: Sequence[Published]) -> Iterator[str]:
    """One line if all numbers have one source; otherwise one per source, with its rows."""
    rows: dict[str, dict[str, None]] = {}
    for each in numbers:
        rows.setdefault(each.source, {})[each.row] = None
    if len(rows) == 1:
        yield f"Source: {next(iter(rows))}.\n"
        return
    yield "Sources:\n"
    yield from (f"- {source}: {', '.join(names)}" for source, names in rows.items())
    yield ""
