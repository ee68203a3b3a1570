"""What graders judge differently, of all points: grader_disagreement.csv, collected from the scores of each.

A row has the columns as the scores stage wrote them, behind the point's label, its series and scores/<key>@<digest>.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s1.cells import unguarded
from s1.report.findings import Findings
from s1.report.scored import Scored
from s1.report.table import csv_text

FILE_NAME = "grader_disagreement.csv"
PLACE = ("label", "series", "scores")


@dataclass(frozen=True)
class Disagreements:
    """By the key of the scores; none of scores that one grader judged."""

    columns: tuple[str, ...]
    rows: Mapping[str, list[dict[str, str]]]

    @property
    def counts(self) -> Mapping[str, int]:
        return {key: len(rows) for key, rows in self.rows.items()}

    def write(self, out: Path, findings: Findings) -> None:
        """The file, each row once; a heading alone where no graders disagree."""
        columns = (*PLACE, *self.columns)
        places = _places(findings)
        rows = [{**places[key], **row} for key, its in self.rows.items() if key in places for row in its]
        filled = [{name: row.get(name, "") for name in columns} for row in rows]
        (out / FILE_NAME).write_text(csv_text(filled, columns), encoding="utf-8")


def disagreements(scored: Sequence[Scored]) -> Disagreements:
    """Read what each scores stage left."""
    rows, columns = {}, {}
    for each in scored:
        path = each.judged / FILE_NAME if each.judged else None
        if path is None or not path.exists():
            continue
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows[each.key] = [{name: unguarded(cell) for name, cell in row.items()} for row in reader]
            columns.update(dict.fromkeys(reader.fieldnames or ()))
    return Disagreements(tuple(columns), rows)


def _places(findings: Findings) -> dict[str, dict[str, str]]:
    """The label of each point, all series that it lies on, and what its scores are cited as; by their key."""
    found: dict[str, dict[str, str]] = {}
    for series in findings.series:
        for point in series.points:
            for source in point.sources:
                before = found.get(source.key)
                names = f"{before['series']}; {series.name}" if before else series.name
                found[source.key] = dict(zip(PLACE, (point.label, names, f"scores/{source.cited}"), strict=True))
    return found
