"""CSV files of a report; a missing value is an empty cell (column types: s1/files/csv_files.py).

table.csv                 one row per point of a series; a point on several series has a row in each
seeds.csv                 one row per point and seed, if points have several seeds
samples.csv               one row per point and number of samples k, if points have several samples
frontier.csv              one row per point of a frontier and method that has a point that costs no more
settling.csv              one row per series, question, seed and sample, if points of a series extend each other
grader_disagreement.csv   answers that graders judge differently: point, series, scores/<key>@<digest>, then the columns
                          that the scores stage wrote
paper.csv                 published numbers beside ours, if the scan names some (s1/report/paper_section.py)

Accuracies, shares, `pass` and `maj` (s1/stats/votes.py) lie between 0 and 1. `usd` is an estimate from
`sampled_tokens`. `gain` is maj@k minus the accuracy of one sample, paired, in percentage points. `thinking_tokens` in
samples.csv is the total of k samples, k times the mean. `key` and `digest` are those of the directory scores/<key>;
several seeds have one of each, separated by spaces.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1.files import csv_files
from s1.files.csv_files import Cell, read_rows, unguarded, written_rows

if TYPE_CHECKING:  # planning imports this module and must not wait for numpy and scipy
    from s1.report.findings import (
        AtK,
        Findings,
        FrontierPoint,
        MatchedRival,
        MeasuredPoint,
        SettledTrace,
        Settling,
        Source,
    )
    from s1.report.series import Scored
    from s1.stats.interval import Estimate

SHARE_DECIMALS = 6  # more than is ever printed, so that printed numbers are rounded only once
USD_DECIMALS = 6
MARGINAL_DECIMALS = 9  # of USD per point: a laptop's are far below a cent


def table_csv(findings: Findings) -> str:
    """The content of table.csv; axes that any point sets are columns after `label`."""
    return csv_text(table_rows(findings))


def table_rows(findings: Findings) -> list[dict[str, Any]]:
    """The rows of table.csv, series by series."""
    optional = _optional_columns(findings)
    prices = _usd_per_point(findings)
    return [
        {
            **name,
            **dict(numbers(point)),
            "usd_per_point": rounded(prices.get((name["series"], name["label"])), MARGINAL_DECIMALS),
            **{column: value_of(point) for column, value_of in optional.items()},
        }
        for name, point in zip(named(findings), findings.points(), strict=True)
    ]


def _usd_per_point(findings: Findings) -> dict[tuple[str, str], float | None]:
    """Extra USD per extra percentage point against the reference of the series, by series and label."""
    return {
        (series.name, row.label): series.usd_per_point(row) for series in findings.series for row in series.to_reference
    }


def _optional_columns(findings: Findings) -> dict[str, Callable[[MeasuredPoint], Any]]:
    """Columns of methods that take several traces for an answer, and of frontiers, where any point has them."""
    fronts = {
        (point.key, point.label): "yes" if point.on_front else "no"
        for frontier in findings.frontiers
        for point in frontier.points
    }
    columns = {
        "branches": lambda point: rounded(point.audit.mean_branches, 2),
        "votes": lambda point: point.votes,
        "pareto": lambda point: fronts.get((point.key, point.label)),
    }
    points = list(findings.points())
    return {name: value for name, value in columns.items() if any(value(point) is not None for point in points)}


def seeds_csv(findings: Findings) -> str | None:
    """The content of seeds.csv; None if no point has several seeds."""
    named_points = list(zip(named(findings), findings.points(), strict=True))
    rows = [
        {**name, **dict(_of_seed(each))} for name, point in named_points for each in point.sources if point.seed_range
    ]
    return csv_text(rows) if rows else None


def named(findings: Findings) -> list[dict[str, Any]]:
    """The first columns of each point: label, a value for every axis that any point sets, series."""
    axes = sorted({axis for point in findings.points() for axis in point.values})
    return [
        {"label": point.label, **{axis: point.values.get(axis) for axis in axes}, "series": series.name}
        for series in findings.series
        for point in series.points
    ]


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Rows as CSV. `columns` defaults to those of the first row; give it if there may be no rows."""
    heading = list(columns or rows[0])
    for row in rows:
        if unknown := set(row) - set(heading):
            raise ValueError(f"columns {sorted(unknown)} are not in the heading")
    return csv_files.csv_text(heading, [[row.get(name, "") for name in heading] for row in rows])


def numbers(point: MeasuredPoint) -> Iterator[tuple[str, Any]]:
    """Columns of table.csv after `series`, with their values as written."""
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
    yield "warned_share", rounded(audit.warned_share, SHARE_DECIMALS)
    yield "all_waits_share", rounded(audit.all_waits_share, SHARE_DECIMALS)
    yield "no_answer_share", rounded(audit.no_answer_share, SHARE_DECIMALS)
    yield "answers_cut_share", rounded(audit.answers_cut_share, SHARE_DECIMALS)
    yield "thinks_on_share", rounded(audit.thinks_on_share, SHARE_DECIMALS)
    yield from _columns("loop", point.loop_share, SHARE_DECIMALS, "loop_share")
    yield "distinct_4", rounded(point.distinct_4, SHARE_DECIMALS)
    yield "graders_disagree", point.disagreements
    yield "over_budget", audit.over_budget
    yield "under_minimum", audit.under_minimum
    yield "valid", "yes" if point.valid else "no"
    yield "sampled_tokens", int(point.sampled_tokens.value)
    yield "device_seconds", rounded(point.device_seconds and point.device_seconds.value, 1)
    yield "usd", rounded(point.usd and point.usd.value, USD_DECIMALS)
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
    """Read one of our CSV files, with declared column types and None for empty cells (s1/files/csv_files.py)."""
    return read_rows(path)


def shown(path: Path) -> list[dict[str, str]]:
    """table.csv as printed at the end of a sweep: one mapping from heading to cell per row."""
    rows = read_table(path)
    return [_shown_row(row) for row in rows]


def as_written(path: Path) -> list[dict[str, str]]:
    """Read one of our CSV files with all cells as text."""
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
    """The content of samples.csv; None if no point has several samples."""
    rows = sample_rows(findings)
    return csv_text(rows) if rows else None


def sample_rows(findings: Findings) -> list[dict[str, Any]]:
    """The rows of samples.csv; none if no point has several samples."""
    return [
        {**name, **dict(_sample_numbers(point, each))}
        for name, point in zip(named(findings), findings.points(), strict=True)
        for each in point.at_k
    ]


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


def _columns(
    name: str, estimate: Estimate | None, decimals: int, value_name: str | None = None
) -> Iterator[tuple[str, float | None]]:
    yield value_name or name, rounded(estimate and estimate.value, decimals)
    yield f"{name}_lo", rounded(estimate and estimate.lo, decimals)
    yield f"{name}_hi", rounded(estimate and estimate.hi, decimals)


def settling_csv(findings: Findings) -> str | None:
    """The content of settling.csv; None if no points extend each other."""
    rows = [
        {"series": settling.series, **dict(_settled(trace, settling))}
        for settling in findings.settling
        for trace in settling.traces
    ]
    return csv_text(rows) if rows else None


def frontier_csv(findings: Findings) -> str | None:
    """The content of frontier.csv; None if there is no frontier."""
    rows = [
        {"frontier": frontier.name, **dict(_frontier_numbers(point)), **dict(_against(rival))}
        for frontier in findings.frontiers
        for point in frontier.points
        for rival in [*point.rivals] or [None]
    ]
    return csv_text(rows) if rows else None


def _frontier_numbers(point: FrontierPoint) -> Iterator[tuple[str, Any]]:
    yield "point", point.name
    yield "label", point.label
    yield "method", point.method
    yield "n", point.questions
    yield "accuracy", rounded(point.accuracy.value, SHARE_DECIMALS)
    yield "lo", rounded(point.accuracy.lo, SHARE_DECIMALS)
    yield "hi", rounded(point.accuracy.hi, SHARE_DECIMALS)
    yield from _columns("tokens", point.tokens, 1)
    yield "device_seconds", rounded(point.device_seconds, SHARE_DECIMALS)
    yield "usd", rounded(point.usd, 9)
    yield "pareto", "yes" if point.on_front else "no"
    yield "front_share", rounded(point.front_share, 4)
    yield "key", point.key


def _against(rival: MatchedRival | None) -> Iterator[tuple[str, Any]]:
    yield "against_method", rival and rival.method
    yield "against", rival and rival.name
    yield "against_tokens", rival and rounded(rival.tokens, 1)
    yield from _columns("difference", rival and rival.difference, PP_DECIMALS)


def _settled(trace: SettledTrace, settling: Settling) -> Iterator[tuple[str, Any]]:
    yield "question_id", trace.question_id
    yield "seed", trace.seed
    yield "sample", trace.sample
    yield "settled", trace.settled
    yield "settled_tokens", trace.settled_tokens
    yield "end", settling.end
    yield "end_tokens", trace.end_tokens
    yield "answer", trace.answer
    yield "right", "yes" if trace.right else "no"
    yield "lost", "yes" if trace.is_lost else "no"
    yield "last_right", trace.last_right
    yield "last_right_tokens", trace.last_right_tokens
    yield "last_right_answer", trace.last_right_answer


FILE_NAME = "grader_disagreement.csv"
PLACE = ("label", "series", "scores")


@dataclass(frozen=True)
class Disagreements:
    """Disputed answers by scores key; only scores with several graders have an entry."""

    columns: tuple[str, ...]
    rows: Mapping[str, list[dict[str, str]]]

    @property
    def counts(self) -> Mapping[str, int]:
        return {key: len(rows) for key, rows in self.rows.items()}

    def write(self, out: Path, findings: Findings) -> None:
        """Write the file, each row once; only the heading if no graders disagree."""
        columns = (*PLACE, *self.columns)
        places = _places(findings)
        rows = [{**places[key], **row} for key, its in self.rows.items() if key in places for row in its]
        filled = [{name: row.get(name, "") for name in columns} for row in rows]
        (out / FILE_NAME).write_text(csv_text(filled, columns), encoding="utf-8")


def disagreements(scored: Sequence[Scored]) -> Disagreements:
    """Read the disagreements that each scores stage wrote."""
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
    """Label, series and citation of each point, by scores key; a point may lie on several series."""
    found: dict[str, dict[str, str]] = {}
    for series in findings.series:
        for point in series.points:
            for source in point.sources:
                before = found.get(source.key)
                names = f"{before['series']}; {series.name}" if before else series.name
                found[source.key] = dict(zip(PLACE, (point.label, names, f"scores/{source.cited}"), strict=True))
    return found
