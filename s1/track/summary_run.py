"""The numbers and tables of the W&B run that summarizes a scan. Pure: findings in, plain values out.

Of a scan with several series, the plain keys (`scaling`, ...) are those of the first series that has valid points, and
every series also has keys of its own: `<series>/scaling`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s1.files.csv_files import Cell
from s1.report.chart_rows import chart_rows, paper_rows
from s1.report.findings import Findings, MeasuredPoint, PairedDifference, Series
from s1.report.tables import MARGINAL_DECIMALS, PP_DECIMALS, SHARE_DECIMALS, named, rounded, sample_rows, table_rows
from s1.track.costs import Spent

OF_SERIES = ("scaling", "scaling_lo", "scaling_hi", "slope", "control", "performance", "best_point")
OF_SCAN = ("points", "invalid_points", "verdict", "tokens_sampled", "tokens_from_scratch", "usd", "gpu_hours")
KEYS = (*OF_SERIES, *OF_SCAN)


@dataclass(frozen=True)
class Rows:
    """A table: every row has all columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


# ------------------------------------------------------------------------------------------------ summary keys


def summary_numbers(findings: Findings, verdict: str, spent: Spent) -> dict[str, Cell]:
    """All summary keys. An undefined number is None."""
    points = list(findings.points())
    first = next((series for series in findings.series if any(point.valid for point in series.points)), None)
    chosen = first or findings.series[0]
    several = len(findings.series) > 1
    return {
        **_of_series(chosen),
        "points": len(points),
        "invalid_points": sum(not point.valid for point in points),
        "verdict": verdict,
        "tokens_sampled": spent.tokens_sampled,
        "tokens_from_scratch": spent.tokens_from_scratch,
        "usd": spent.usd,
        "gpu_hours": spent.device_hours,
        **{
            f"{key_part(series)}/{key}": its
            for series in findings.series
            if several
            for key, its in _of_series(series).items()
        },
    }


def key_part(series: Series) -> str:
    """The name of a series as the first part of a key, where a dot or slash would start another part."""
    return series.name.replace("/", "_").replace(".", "_").strip() or "series"


def _of_series(series: Series) -> dict[str, Cell]:
    metrics = series.metrics
    scaling, slope = metrics.scaling, metrics.slope
    return {
        "scaling": rounded(scaling and scaling.value, PP_DECIMALS),
        "scaling_lo": rounded(scaling and scaling.lo, PP_DECIMALS),
        "scaling_hi": rounded(scaling and scaling.hi, PP_DECIMALS),
        "slope": rounded(slope and slope.value, PP_DECIMALS),
        "control": rounded(metrics.control and metrics.control.value, SHARE_DECIMALS),
        "performance": rounded(metrics.performance and metrics.performance.value, SHARE_DECIMALS),
        "best_point": series.peak if metrics.performance else None,
    }


# ------------------------------------------------------------------------------------------------------ tables


def tables(findings: Findings) -> dict[str, Rows]:
    """Tables by name; one without rows is left out."""
    found = {
        "curve": curve_rows(findings),
        "differences": list(_differences(findings)),
        "samples_at_k": sample_rows(findings),
        "audit": list(_audit(findings)),
    }
    return {name: rows_of(rows) for name, rows in found.items() if rows}


def rows_of(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """Mappings as a table, with the columns of all of them; what a row lacks is None."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return Rows(columns, [[row.get(column) for column in columns] for row in rows])


def curve_rows(findings: Findings) -> list[dict[str, Any]]:
    """The rows of table.csv, with what the chart needs besides (s1/report/chart_rows.py)."""
    return [{**row, **chart} for row, chart in zip(table_rows(findings), chart_rows(findings), strict=True)]


def chart_table(findings: Findings) -> Rows:
    """The rows of the chart of the curve: our points, and published numbers beside them."""
    return rows_of([*curve_rows(findings), *paper_rows(findings)])


def majority_rows(findings: Findings) -> Rows:
    """The majority vote of k samples of each point; no rows without several samples."""
    rows = [[row["k"], row["maj"], f"{row['label']} {row['key']}"] for row in sample_rows(findings)]
    return Rows(["k", "maj@k", "point"], rows)


def line_rows(findings: Findings) -> Rows:
    """Valid points for W&B's own line chart, which cannot mark a point: thinking tokens, accuracy, series."""
    rows = [
        [round(point.thinking_tokens.value, 1), round(point.accuracy.value, SHARE_DECIMALS), series.name or "accuracy"]
        for series in findings.series
        for point in series.points
        if point.valid
    ]
    return Rows(["thinking tokens", "accuracy", "series"], rows)


def _differences(findings: Findings) -> Iterator[dict[str, Any]]:
    for series in findings.series:
        kinds = {"reference": series.to_reference, "neighbours": series.neighbours, "shape": series.shape}
        for kind, differences in kinds.items():
            for each in differences:
                yield _difference(kind, series.name, each, series.usd_per_point(each))
    yield from (_difference("compare", "", each, None) for each in findings.across)


def _difference(kind: str, series: str, of: PairedDifference, usd_per_point: float | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "series": series,
        "a": of.label,
        "b": of.against,
        "diff_pp": rounded(of.estimate.value, PP_DECIMALS),
        "lo": rounded(of.estimate.lo, PP_DECIMALS),
        "hi": rounded(of.estimate.hi, PP_DECIMALS),
        "joint_lo": rounded(of.joint.lo, PP_DECIMALS),
        "joint_hi": rounded(of.joint.hi, PP_DECIMALS),
        "n": of.estimate.n,
        "thinking_tokens": rounded(of.tokens.value, 1),
        "usd_per_point": rounded(usd_per_point, MARGINAL_DECIMALS),
        "gained": of.gained,
        "lost": of.lost,
        "detectable_pp": rounded(of.detectable and of.detectable.value, PP_DECIMALS),
        "valid": "yes" if of.valid else "no",
    }


def _audit(findings: Findings) -> Iterator[dict[str, Any]]:
    for name, point in zip(named(findings), findings.points(), strict=True):
        yield {"label": name["label"], "series": name["series"], **_audited(point), "key": point.key}


def _audited(point: MeasuredPoint) -> dict[str, Any]:
    audit = point.audit
    return {
        "valid": "yes" if point.valid else "no",
        "problems": " ".join(audit.problems),
        "unmet": " ".join(audit.unmet),
        "traces": audit.traces,
        "over_budget": audit.over_budget,
        "under_minimum": audit.under_minimum,
        "thinking_max": audit.max_thinking_tokens,
        "forced_share": rounded(audit.forced_share, SHARE_DECIMALS),
        "mean_waits": rounded(audit.mean_waits, 2),
        "all_waits_share": rounded(audit.all_waits_share, SHARE_DECIMALS),
        "no_answer_share": rounded(audit.no_answer_share, SHARE_DECIMALS),
        "answers_cut_share": rounded(audit.answers_cut_share, SHARE_DECIMALS),
        "thinks_on_share": rounded(audit.thinks_on_share, SHARE_DECIMALS),
        "loop_share": rounded(point.loop_share and point.loop_share.value, SHARE_DECIMALS),
    }
