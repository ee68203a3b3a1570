"""What graders judge differently, of all points: grader_disagreement.csv, collected from the scores of each.

A row has the columns as the scores stage wrote them, behind the point's label, its values by axis and scores/<key>.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1.report.findings import cited
from s1.report.scored import Scored
from s1.report.table import csv_text

FILE_NAME = "grader_disagreement.csv"


@dataclass(frozen=True)
class Disagreements:
    """Rows of all points, and how many each has."""

    columns: list[str]
    rows: list[Mapping[str, Any]]
    counts: Mapping[str, int]  # by the key of the scores; none for scores of one grader

    def write(self, out: Path) -> None:
        """The file, also where no graders disagree."""
        empty = [dict.fromkeys(self.columns, "")] if not self.rows else []
        text = csv_text([*self.rows, *empty])
        (out / FILE_NAME).write_text(text.splitlines(keepends=True)[0] if empty else text, encoding="utf-8")


def disagreements(scored: Sequence[Scored]) -> Disagreements:
    """Every row once, in the order of the points."""
    by_key = {each.key: each for each in scored if each.judged and (each.judged / FILE_NAME).exists()}
    rows = {key: list(_rows(each)) for key, each in by_key.items()}
    flat = [row for its in rows.values() for row in its]
    axes = dict.fromkeys(axis for each in scored for axis in each.point.values)
    columns = list(dict.fromkeys(["label", *axes, "scores", *(name for row in flat for name in row)]))
    filled = [{name: row.get(name, "") for name in columns} for row in flat]
    return Disagreements(columns, filled, {key: len(its) for key, its in rows.items()})


def _rows(each: Scored) -> Iterator[Mapping[str, Any]]:
    assert each.judged is not None
    place = {"label": each.point.label, **each.point.values, "scores": cited(each.key, each.digest)}
    with (each.judged / FILE_NAME).open(encoding="utf-8", newline="") as file:
        yield from ({**place, **row} for row in csv.DictReader(file))
