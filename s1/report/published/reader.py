"""Read the published numbers: one CSV file per table or figure, one number per row.

tables.csv holds the title of each. Accuracies, Control and Performance are in percent, differences in points, Scaling
in points per doubling of thinking tokens. An empty cell is a value that was not published.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from s1.config.paper import Metric, Published
from s1.config.schema import ConfigError
from sweep.errors import InputError
from sweep.suggestions import unknown

FOLDER = Path(__file__).parent
TITLES = "tables.csv"
COLUMNS = tuple(field.name for field in fields(Published))
DECIMAL = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


@dataclass(frozen=True)
class PublishedTable:
    name: str
    title: str
    numbers: tuple[Published, ...]

    @property
    def rows(self) -> list[str]:
        """Names of the rows, in the order of the table."""
        return list(dict.fromkeys(number.row for number in self.numbers))

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in the order of the table."""
        return list(dict.fromkeys(number.task for number in self.numbers if number.task))

    def number(self, row: str, task: str, metric: Metric) -> Published | None:
        """The number in this place; None if there is none."""
        return next((each for each in self.numbers if (each.row, each.task, each.metric) == (row, task, metric)), None)


@cache
def tables() -> Mapping[str, PublishedTable]:
    """All published tables and figures, by name."""
    return read_tables(FOLDER)


def table(name: str) -> PublishedTable:
    """One of them. Raises ConfigError for another name."""
    known = tables()
    if name not in known:
        raise ConfigError(unknown(f"paper.table {name}", "published table", name, list(known)))
    return known[name]


def read_tables(folder: Path) -> dict[str, PublishedTable]:
    """Read all files of a folder in the order of its tables.csv. Raises InputError that names file and line."""
    titles = [row for _, row in _lines(folder / TITLES, ("table", "title"))]
    return {row["table"]: _table(folder / f"{row['table']}.csv", row["title"]) for row in titles}


def _table(path: Path, title: str) -> PublishedTable:
    numbers = tuple(_number(row, f"{path}: line {line}") for line, row in _lines(path, COLUMNS))
    seen: set[tuple[str, str, Metric]] = set()
    for line, each in enumerate(numbers, start=2):
        if each.table != path.stem:
            raise InputError(f"{path}: line {line}: table {each.table!r}: not {path.stem}. Correct the line.")
        if (place := (each.row, each.task, each.metric)) in seen:
            raise InputError(f"{path}: line {line}: {each.row}, {each.task}, {each.metric.value}: twice. Remove one.")
        seen.add(place)
    return PublishedTable(path.stem, title, numbers)


def _lines(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and cells by column; every row is one line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: missing. Restore it from the package.") from None
    heading, *rows = list(csv.reader(text.splitlines())) or [[]]
    if heading != list(columns):
        raise InputError(f"{path}: line 1: not the columns {','.join(columns)}. Correct the heading.")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise InputError(f"{path}: line {line}: {len(row)} cells under {len(columns)} columns. Correct the line.")
    return [(line, dict(zip(columns, row, strict=True))) for line, row in enumerate(rows, start=2)]


def _number(row: Mapping[str, str], where: str) -> Published:
    for name in ("row", "metric", "value", "source"):
        if not row[name]:
            raise InputError(f"{where}: {name}: empty. Correct the line.")
    value = _decimal(row, "value", where)
    assert value is not None, "not empty"
    return Published(
        table=row["table"],
        row=row["row"],
        task=row["task"],
        metric=_metric(row["metric"], where),
        value=value,
        lo=_decimal(row, "lo", where),
        hi=_decimal(row, "hi", where),
        n=_whole(row, "n", where),
        model=row["model"],
        data=row["data"],
        temperature=_decimal(row, "temperature", where),
        source=row["source"],
    )


def _metric(text: str, where: str) -> Metric:
    known = {each.value: each for each in Metric}
    if text not in known:
        raise InputError(f"{where}: metric {text!r}: not a metric. Use one of {', '.join(known)}.")
    return known[text]


def _decimal(row: Mapping[str, str], name: str, where: str) -> float | None:
    if not row[name]:
        return None
    if not DECIMAL.fullmatch(row[name]):
        raise InputError(f"{where}: {name} {row[name]!r}: not a number. Correct the line.")
    return float(row[name])


def _whole(row: Mapping[str, str], name: str, where: str) -> int | None:
    number = _decimal(row, name, where)
    if number is not None and number != int(number):
        raise InputError(f"{where}: {name} {row[name]!r}: not a whole number. Correct the line.")
    return None if number is None else int(number)
