"""table.csv: one row per point of a series, an empty cell for what is missing (types: s1/report/columns.py).

Accuracies and shares lie between 0 and 1; `usd` is estimated from `sampled_tokens`; `key` is the directory
scores/<key>, `digest` is of its product; of several seeds both are of each, with blanks between. A point that lies on
several series has a row in each. seeds.csv: one row per point and seed, where points have several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1 import cells
from s1.report.columns import Cell, read_rows, written_rows

if TYPE_CHECKING:  # planning imports this module, and must not wait for numpy and scipy
    from s1.report.findings import Findings, Measured, Source

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
    return cells.csv_text(heading, [[row.get(name, "") for name in heading] for row in rows])


def _numbers(point: Measured) -> Iterator[tuple[str, Any]]:
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
    """One of our CSV files, every column of its declared type and gaps as None (s1/report/columns.py)."""
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
