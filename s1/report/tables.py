"""table.csv: one row per point of a series, an empty cell for what is missing (types: s1/files/csv_files.py).

Accuracies and shares lie between 0 and 1; `usd` is estimated from `sampled_tokens`; `key` is the directory
scores/<key>, `digest` is of its product; of several seeds both are of each, with blanks between. A point that lies on
several series has a row in each. seeds.csv: one row per point and seed, where points have several.

samples.csv: what k samples of each question are worth, one row per point and k; points of one sample have none.

`pass` and `maj` lie between 0 and 1 (s1/stats/votes.py); `gain` is maj@k less the accuracy of one sample, paired, in
percentage points; `thinking_tokens` are those of k samples together, k times the mean; `key` is the directory
scores/<key>.

What graders judge differently, of all points: grader_disagreement.csv, collected from the scores of each.

A row has the columns as the scores stage wrote them, behind the point's label, its series and scores/<key>@<digest>.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1.files import csv_files
from s1.files.csv_files import Cell, read_rows, written_rows

if TYPE_CHECKING:  # planning imports this module, and must not wait for numpy and scipy
    from s1.report.findings import Findings, MeasuredPoint, Source
import csv
from dataclasses import dataclass

from s1.files.csv_files import unguarded
from s1.report.findings import AtK, Findings, MeasuredPoint
from s1.report.series import Scored
from s1.stats.interval import Estimate

SHARE_DECIMALS = 6  # more than anybody reads: what is printed is rounded once, from these
USD_DECIMALS = 6


def table_csv(findings: Findings) -> str:
    """The whole file; a column per axis that any point sets stands after `label`."""
    names = named(findings)
    return csv_text([{**name, **dict(_numbers(point))} for name, point in zip(names, findings.points(), strict=True)])


def seeds_csv(findings: Findings) -> str | None:
    """The whole file; None if no point has several seeds."""
    named_points = list(zip(named(findings), findings.points(), strict=True))
    rows = [
        {**name, **dict(_of_seed(each))} for name, point in named_points for each in point.sources if point.seed_range
    ]
    return csv_text(rows) if rows else None


def named(findings: Findings) -> list[dict[str, Any]]:
    """The first columns of each point: its label, its place on every axis that any point sets, its series."""
    axes = sorted({axis for point in findings.points() for axis in point.values})
    return [
        {"label": point.label, **{axis: point.values.get(axis) for axis in axes}, "series": series.name}
        for series in findings.series
        for point in series.points
    ]


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Rows of the same columns, as a file; `columns` where there may be no row."""
    heading = list(columns or rows[0])
    for row in rows:
        if unknown := set(row) - set(heading):
            raise ValueError(f"columns {sorted(unknown)} are not in the heading")
    return csv_files.csv_text(heading, [[row.get(name, "") for name in heading] for row in rows])


def _numbers(point: MeasuredPoint) -> Iterator[tuple[str, Any]]:
    audit = point.audit
    yield "n", point.questions
    yield "samples", point.samples
    yield "seeds", len(point.sources)
    yield "accuracy", rounded(point.accuracy.value, SHARE_DECIMALS)
    yield "lo", rounded(point.accuracy.lo, SHARE_DECIMALS)
    yield "hi", rounded(point.accuracy.hi, SHARE_DECIMALS)
    yield "method", point.accuracy.method
    lowest, highest = point.seed_range or (None, None)
    yield "seeds_lowest", rounded(lowest, SHARE_DECIMALS)
    yield "seeds_highest", rounded(highest, SHARE_DECIMALS)
    yield "accuracy_if_cut_right", rounded(point.accuracy_if_cut_right, SHARE_DECIMALS)
    yield "thinking_tokens", rounded(point.thinking_tokens.value, 1)
    yield "thinking_lo", rounded(point.thinking_tokens.lo, 1)
    yield "thinking_hi", rounded(point.thinking_tokens.hi, 1)
    yield "thinking_max", audit.max_thinking_tokens
    yield "answer_tokens", rounded(point.answer_tokens.value, 1)
    yield "forced_share", rounded(audit.forced_share, SHARE_DECIMALS)
    yield "waits", point.request.budget.waits
    yield "mean_waits", rounded(audit.mean_waits, 2)
    yield "all_waits_share", rounded(audit.all_waits_share, SHARE_DECIMALS)
    yield "no_answer_share", rounded(audit.no_answer_share, SHARE_DECIMALS)
    yield "answers_cut_share", rounded(audit.answers_cut_share, SHARE_DECIMALS)
    yield "thinks_on_share", rounded(audit.thinks_on_share, SHARE_DECIMALS)
    yield "graders_disagree", point.disagreements
    yield "over_budget", audit.over_budget
    yield "under_minimum", audit.under_minimum
    yield "valid", "yes" if point.valid else "no"
    yield "sampled_tokens", int(point.sampled_tokens.value)
    yield "device_seconds", rounded(point.device_seconds.value, 1)
    yield "usd", rounded(point.usd.value, USD_DECIMALS)
    yield "key", point.key
    yield "digest", point.digest


def _of_seed(source: Source) -> Iterator[tuple[str, Any]]:
    yield "seed", source.seed
    yield "accuracy", rounded(source.accuracy.value, SHARE_DECIMALS)
    yield "lo", rounded(source.accuracy.lo, SHARE_DECIMALS)
    yield "hi", rounded(source.accuracy.hi, SHARE_DECIMALS)
    yield "thinking_tokens", rounded(source.thinking_tokens.value, 1)
    yield "valid", "yes" if source.valid else "no"
    yield "key", source.key
    yield "digest", source.digest


def rounded(number: float | None, decimals: int) -> float | None:
    return None if number is None else round(number, decimals)


def read_table(path: Path) -> list[dict[str, Cell]]:
    """One of our CSV files, every column of its declared type and gaps as None (s1/files/csv_files.py)."""
    return read_rows(path)


def shown(path: Path) -> list[dict[str, str]]:
    """table.csv as it is printed at the end of a sweep, a heading each cell."""
    rows = read_table(path)
    return [_shown_row(row) for row in rows]


def as_written(path: Path) -> list[dict[str, str]]:
    """One of our CSV files, each cell as a text."""
    return written_rows(path)


def _shown_row(row: Mapping[str, Cell]) -> dict[str, str]:
    names = [f"{name}" for name in (row["series"], row["label"]) if name is not None]
    return {
        "point": ", ".join(names) + ("" if row["valid"] == "yes" else " (invalid)"),
        "acc %": _percent(row["accuracy"]),
        "interval": f"[{_percent(row['lo'])}, {_percent(row['hi'])}]",
        "n": f"{row['n']:.0f}",
        "thinking tokens": f"{row['thinking_tokens']}",
        "thinking cut %": _percent(row["forced_share"]),
        "no answer %": _percent(row["no_answer_share"]),
        "answers cut %": _percent(row["answers_cut_share"]),
    }


def _percent(share: Cell) -> str:
    return f"{100 * share:.1f}" if isinstance(share, float) else "none"


PP_DECIMALS = 2


def samples_csv(findings: Findings) -> str | None:
    """The whole file; None if no point has several samples."""
    rows = [
        {**name, **dict(_sample_numbers(point, each))}
        for name, point in zip(named(findings), findings.points(), strict=True)
        for each in point.at_k
    ]
    return csv_text(rows) if rows else None


def _sample_numbers(point: MeasuredPoint, each: AtK) -> Iterator[tuple[str, Any]]:
    yield "n", point.questions
    yield "samples", point.samples
    yield "k", each.k
    yield from _columns("pass", each.passed, SHARE_DECIMALS)
    yield "pass_method", each.passed.method
    yield from _columns("maj", each.majority, SHARE_DECIMALS)
    yield "maj_method", each.majority.method
    yield from _columns("gain", each.gain, PP_DECIMALS)
    tokens = point.thinking_tokens_of(each.k)
    yield "thinking_tokens", rounded(tokens.value, 1)
    yield "thinking_lo", rounded(tokens.lo, 1)
    yield "thinking_hi", rounded(tokens.hi, 1)
    yield "valid", "yes" if point.valid else "no"
    yield "key", point.key
    yield "digest", point.digest


def _columns(name: str, estimate: Estimate, decimals: int) -> Iterator[tuple[str, float | None]]:
    yield name, rounded(estimate.value, decimals)
    yield f"{name}_lo", rounded(estimate.lo, decimals)
    yield f"{name}_hi", rounded(estimate.hi, decimals)


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
