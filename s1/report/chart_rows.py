"""Rows of the scaling chart (s1/plots/scaling_chart.py), one mapping from column to value per mark.

    chart_rows    every point of every series, over its seeds
    seed_rows     the same for each seed alone, of points with several seeds
    paper_rows    published accuracies beside ours

Columns: series, label, task ("": no axis), of_seed ("all" or the seed), published ("yes" or "no"), accuracy, lo, hi
(shares), n, samples, thinking_tokens, thinking_lo, thinking_hi, total_tokens (thinking + answer),
device_seconds_per_answer, usd_per_answer, valid ("yes" or "no"), problem (why it is invalid, in words), remark, key,
digest, cited (key@digest). Values of x are means per answer; seconds and USD are estimates from the tokens that one
answer takes from scratch. What is not known is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from s1.config.paper import Metric
from s1.report.findings import BesideNumber, Findings, MeasuredPoint, Series, Source
from s1.report.tables import SHARE_DECIMALS, rounded
from s1.stats.interval import Estimate

Row: TypeAlias = dict[str, Any]

ALL_SEEDS = "all"
TASK = "task"  # the axis
TOKEN_DECIMALS, COST_DIGITS = 1, 6
PUBLISHED = "published"
AT_OURS = "Its thinking tokens are not published: it is drawn at those of our point."


def chart_rows(findings: Findings) -> list[Row]:
    """One row per point of a series; a point on several series has a row in each."""
    return [_of_point(series, point) for series in findings.series for point in series.points]


def seed_rows(findings: Findings) -> list[Row]:
    """One row per seed of every point, if any point has several seeds; costs of one seed alone are not known."""
    points = [(series, point) for series in findings.series for point in series.points]
    if not any(point.seed_range for _, point in points):
        return []
    return [_of_seed(findings, series, point, source) for series, point in points for source in point.sources]


def paper_rows(findings: Findings) -> list[Row]:
    """One row per published accuracy with a place on the axis of thinking tokens: its own, or that of our point."""
    beside = findings.beside_paper
    return [] if beside is None else [row for number in beside.numbers for row in _of_paper(number)]


def _of_point(series: Series, point: MeasuredPoint) -> Row:
    return {
        **_place(series, point),
        "of_seed": ALL_SEEDS,
        "published": "no",
        **_accuracy(point.accuracy),
        "n": point.questions,
        "samples": point.samples,
        **_thinking(point.thinking_tokens),
        "total_tokens": rounded(point.thinking_tokens.value + point.answer_tokens.value, TOKEN_DECIMALS),
        "device_seconds_per_answer": _per_answer(point.device_seconds, point),
        "usd_per_answer": _per_answer(point.usd, point),
        "valid": "yes" if point.valid else "no",
        "problem": " ".join(point.audit.problems),
        "remark": "",
        "key": point.key,
        "digest": point.digest,
        "cited": " ".join(f"scores/{source.cited}" for source in point.sources),
    }


def _per_answer(amount: Estimate | None, point: MeasuredPoint) -> float | None:
    return None if amount is None else _significant(amount.value * point.share_of_answer)


def _of_seed(findings: Findings, series: Series, point: MeasuredPoint, source: Source) -> Row:
    return {
        **_of_point(series, point),
        "label": f"{point.label}, seed {source.seed}",
        "of_seed": str(source.seed),
        **_accuracy(source.accuracy),
        **_thinking(source.thinking_tokens),
        "total_tokens": None,
        "device_seconds_per_answer": None,
        "usd_per_answer": None,
        "valid": "yes" if source.valid else "no",
        "problem": "" if source.valid else _problem_of_seed(point, source),
        "key": source.key,
        "digest": source.digest,
        "cited": f"scores/{source.cited}",
    }


def _problem_of_seed(point: MeasuredPoint, source: Source) -> str:
    """Its own problems where the audit names them by seed, else those of all seeds together."""
    named = f"Seed {source.seed}: "
    own = [each.removeprefix(named) for each in point.audit.problems if each.startswith(named)]
    return " ".join(own) if own else f"Over all seeds: {' '.join(point.audit.problems)}"


def _of_paper(beside: BesideNumber) -> Iterator[Row]:
    number = beside.number
    ours = beside.tokens.value if beside.tokens else None
    tokens = ours if beside.published_tokens is None else beside.published_tokens
    if number.metric is not Metric.ACCURACY or tokens is None:
        return
    yield {
        "series": f"{PUBLISHED}: {number.model}",
        "label": f"{number.row}, {number.task}" if number.task else number.row,
        "task": number.task,
        "of_seed": ALL_SEEDS,
        "published": "yes",
        "accuracy": rounded(number.value / 100, SHARE_DECIMALS),
        "lo": None if number.lo is None else rounded(number.lo / 100, SHARE_DECIMALS),
        "hi": None if number.hi is None else rounded(number.hi / 100, SHARE_DECIMALS),
        "n": number.n,
        "samples": 1,
        "thinking_tokens": rounded(tokens, TOKEN_DECIMALS),
        "thinking_lo": None,
        "thinking_hi": None,
        "total_tokens": None,
        "device_seconds_per_answer": None,
        "usd_per_answer": None,
        "valid": "yes",
        "problem": "",
        "remark": AT_OURS if beside.published_tokens is None else "",
        "key": "",
        "digest": "",
        "cited": number.source,
    }


def _place(series: Series, point: MeasuredPoint) -> Row:
    task = point.values.get(TASK)
    return {"series": series.name, "label": point.label, "task": "" if task is None else str(task)}


def _accuracy(estimate: Estimate) -> Row:
    values = zip(("accuracy", "lo", "hi"), (estimate.value, estimate.lo, estimate.hi), strict=True)
    return {name: rounded(value, SHARE_DECIMALS) for name, value in values}


def _thinking(estimate: Estimate) -> Row:
    names = ("thinking_tokens", "thinking_lo", "thinking_hi")
    values = zip(names, (estimate.value, estimate.lo, estimate.hi), strict=True)
    return {name: rounded(value, TOKEN_DECIMALS) for name, value in values}


def _significant(number: float) -> float:
    return float(f"{number:.{COST_DIGITS}g}")
