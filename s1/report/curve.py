"""The curve stage: the scores of all points, brought together. Writes curve.json (s1/report/findings.py).

Points that differ in their budget alone are one series, one line of the figure, and answer the same questions: one
matrix of resampled questions serves all numbers of a series, so their differences are paired. A point whose forcing
audit fails stays in every table, marked, and is left out of Scaling, Slope and Performance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from s1.config import ConfigError
from s1.generate.engines import engine_text, read_engine
from s1.records import Outcome, Score, read_rows
from s1.report.across import across
from s1.report.agreement import agreements
from s1.report.comparison import Comparison, Scored
from s1.report.findings import AtK, Findings, Measured, Series, write_findings
from s1.resources import Cost
from s1.stages import Curve, CurvePoint
from s1.stats.audit import Requested, audit
from s1.stats.bootstrap import draw_counts
from s1.stats.clustered import accuracy, shares
from s1.stats.grid import Grid, grid, require_paired
from s1.stats.interval import Estimate, plain
from s1.stats.lengths import mean_tokens
from s1.stats.paired import gains
from s1.stats.scaling import metrics
from s1.stats.votes import majority_at, pass_at
from sweep.stage import Summary, Work

BUDGET = "budget"  # the axes `budget` and `budget.*`


def curve(work: Work[Curve]) -> Summary:
    """Read every point's scores.jsonl, write curve.json."""
    findings = find(work.config, list(_read(work.config.points, work.inputs["scores"], work.inputs["answers"])))
    write_findings(work.out, findings)
    points = list(findings.points())
    summary: dict[str, float | int | str | None] = {
        "points": len(points),
        "invalid_points": sum(not point.valid for point in points),
    }
    if len(findings.series) == 1:
        found = findings.series[0].metrics
        for name in ("control", "scaling", "slope", "performance"):
            estimate = getattr(found, name)
            summary[name] = None if estimate is None else estimate.value
    return summary


def find(config: Curve, scored: Sequence[Scored]) -> Findings:
    """All that the report says, from the scores of all points."""
    by_series: dict[str, list[Scored]] = {}
    for each in scored:
        by_series.setdefault(_series_name(each.point, config.points), []).append(each)
    series = [_series(name, members, config) for name, members in by_series.items()]
    compared = agreements([(each.point.label, each.point.values, each.answers) for each in scored])
    return Findings(series, list(compared), across(config, scored, series), config.statistics, config.cost)


def _read(points: Sequence[CurvePoint], scores: Sequence[Path], answers: Sequence[Path]) -> Iterator[Scored]:
    for role, directories in (("scores", scores), ("answers", answers)):
        if len(points) != len(directories):
            count = len(directories)
            raise ConfigError(f"{role} {count}: there are {len(points)} points. Give one directory per point.")
    for point, directory, answered in zip(points, scores, answers, strict=True):
        # store/scores/<key>/out: a product directory lies in the directory of its stage.
        yield Scored(point, directory.parent.name, read_rows(directory / "scores.jsonl", Score), answered)


def _series_name(point: CurvePoint, points: Sequence[CurvePoint]) -> str:
    """The values, besides the budget, that vary over the points: "seed 1, task aime24"."""
    axes = [axis for axis in _varying(points) if axis.partition(".")[0] != BUDGET]
    return ", ".join(f"{axis} {point.values.get(axis)}" for axis in axes)


def _varying(points: Sequence[CurvePoint]) -> list[str]:
    """The axes on which the points do not all have the same value."""
    axes = sorted({axis for each in points for axis in each.values})
    return [axis for axis in axes if len({repr(each.values.get(axis)) for each in points}) > 1]


def _told_apart(members: Sequence[Scored]) -> list[Scored]:
    """Each point once; to a label that repeats, the values are added in which its points differ."""
    once = list({(each.point.label, each.key): each for each in members}.values())
    named = []
    for each in once:
        rivals = [other.point for other in once if other.point.label == each.point.label]
        extra = [f"{axis.removeprefix('budget.')} {each.point.values.get(axis)}" for axis in _varying(rivals)]
        named.append(replace(each, point=replace(each.point, label=", ".join([each.point.label, *extra]))))
    return named


def _series(name: str, members: Sequence[Scored], config: Curve) -> Series:
    ordered = sorted(_told_apart(members), key=lambda each: _budget_order(each.requested))
    labels = [each.point.label for each in ordered]
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    if repeated:
        raise ConfigError(
            f"points {', '.join(repeated)}: two of one series share a label and all values. Give each its own."
        )
    grids = {each.point.label: grid(each.scores, each.point.label) for each in ordered}
    require_paired(grids)
    statistics = config.statistics
    questions = len(grids[labels[0]].questions)
    counts_RQ = draw_counts(questions, statistics.resamples, statistics.seed)
    points = [_measured(each, grids[each.point.label], config) for each in ordered]
    compare = Comparison(grids, {each.label: each.valid for each in points}, statistics)
    valid = [each for each in points if each.valid]
    reference = min(valid or points, key=lambda each: _reference_order(each.audit.requested)).label
    return Series(
        name=name,
        points=points,
        reference=reference,
        neighbours=[compare.difference(later, earlier) for earlier, later in pairwise(each.label for each in valid)],
        to_reference=[compare.difference(label, reference) for label in labels if label != reference],
        metrics=metrics(
            np.column_stack([each.thinking_tokens_Q for each in grids.values()]),
            np.column_stack([each.accuracy_Q for each in grids.values()]),
            [each.requested for each in ordered],
            [each.valid for each in points],
            counts_RQ,
            statistics.level,
        ),
        notes=list(_notes(points)),
    )


def _budget_order(requested: Requested) -> tuple[float, ...]:
    """From the shortest thinking to the longest: by Waits, then minimum, then maximum."""
    return (requested.waits, requested.min_thinking_tokens, requested.max_thinking_tokens or math.inf)


def _reference_order(requested: Requested) -> tuple[float, ...]:
    return (requested.waits, requested.min_thinking_tokens, -(requested.max_thinking_tokens or math.inf))


def _measured(each: Scored, scores_QS: Grid, config: Curve) -> Measured:
    level, samples = config.statistics.level, scores_QS.correct_QS.shape[1]
    outcomes = Counter(score.outcome for score in each.scores)
    return Measured(
        label=each.point.label,
        values=each.point.values,
        key=each.key,
        engine=engine_text(read_engine(each.answers)),
        questions=len(scores_QS.questions),
        samples=samples,
        accuracy=accuracy(scores_QS.correct_QS[None], level),
        thinking_tokens=mean_tokens(scores_QS.thinking_tokens_QS[None], level),
        answer_tokens=mean_tokens(scores_QS.answer_tokens_QS[None], level),
        at_k=list(_at_k(scores_QS, level)) if samples > 1 else [],
        outcomes={outcome.value: outcomes[outcome] for outcome in Outcome},
        audit=audit(each.scores, each.requested),
        **_cost(each.scores, config.cost),
    )


def _at_k(scores_QS: Grid, level: float) -> Iterator[AtK]:
    samples = scores_QS.correct_QS.shape[1]
    majority_QK = majority_at(scores_QS.votes_QS)
    estimates_K = zip(
        shares(pass_at(scores_QS.correct_QS)[None], samples, level),  # one seed
        shares(majority_QK[None], samples, level),
        gains(majority_QK[None], samples, level),
        strict=True,
    )
    return (AtK(k, *estimates) for k, estimates in enumerate(estimates_K, start=1))


def _cost(scores: Sequence[Score], cost: Cost) -> dict[str, Estimate]:
    """What the point costs from scratch; seconds and money are estimates from its tokens."""
    tokens, traces = sum(score.sampled_tokens for score in scores), len(scores)
    seconds = tokens / cost.generate_tokens_per_second
    rate = f"estimate: sampled tokens at {cost.generate_tokens_per_second:g} per device-second"
    price = f"{rate} and {cost.usd_per_device_hour:g} USD per device-hour ({cost.source})"
    return {
        "sampled_tokens": plain(tokens, traces, "sum over traces, nothing shared", "tokens"),
        "device_seconds": plain(seconds, traces, rate, "device-seconds"),
        "usd": plain(seconds * cost.usd_per_device_hour / 3600, traces, price, "USD"),
    }


def _notes(points: Sequence[Measured]) -> Iterator[str]:
    invalid = [point.label for point in points if not point.valid]
    if invalid:
        yield (
            "Failed the forcing audit, and left out of Scaling, Slope, Performance and the verdict:"
            f" {', '.join(invalid)} ({len(invalid)} of {len(points)} points)."
        )
    engines = sorted({point.engine for point in points})
    if len(engines) > 1:
        yield f"Points of this line come from engines that differ: {'; '.join(engines)}. So may their traces."
    silent = [point.label for point in points if point.valid and point.thinking_tokens.value == 0]
    if silent:
        yield f"Points without any thinking have no place on a log axis, and in Scaling: {', '.join(silent)}."
