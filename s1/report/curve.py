"""The curve stage: statistics over the scores of all points. Writes curve.json (s1/report/findings.py) and
grader_disagreement.csv (s1/report/tables.py).

Points of one series (s1/report/series.py) form one line of the figure and answer the same questions. One matrix of
resampled questions serves all numbers of a series, so differences are paired. A point that fails its audit is marked in
every table and excluded from Scaling, Slope, Performance and the verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from s1.config.resources import Cost
from s1.config.schema import ComputeRequest, Statistics
from s1.generate.audit import Audit, audit, label_as_measured
from s1.generate.engines import engine_text, read_engine
from s1.generate.methods.method import Bounds
from s1.generate.methods.registry import Aggregator, method_of
from s1.records import Outcome, ScoreRow
from s1.report.across import across
from s1.report.agreement import agreements
from s1.report.beside_paper import beside_paper
from s1.report.comparison import Comparison, bonferroni, holm
from s1.report.findings import AtK, Findings, MeasuredPoint, Series, ShownTrace, Source, write_findings
from s1.report.frontier import Measured, frontiers
from s1.report.precision import precision_of, write_precision
from s1.report.repetition import PointRepetition, loop_share_of, repetitions
from s1.report.series import (
    PointSeries,
    Scored,
    SeriesPoint,
    members_of,
    read_scored,
    sampled_if_cut_were_right,
    sampled_of,
    series_of,
)
from s1.report.settling import settling_of
from s1.report.single_question import shown_traces
from s1.report.tables import disagreements
from s1.stages import CurveConfig
from s1.stats import clustered
from s1.stats.bootstrap import draw_counts
from s1.stats.grid import Sampled, require_paired
from s1.stats.interval import Estimate, plain
from s1.stats.lengths import mean_tokens
from s1.stats.loops import COPIES
from s1.stats.paired import gains
from s1.stats.scaling import Metrics, as_sure_as, metrics
from s1.stats.votes import majority_at, pass_at
from sweep.core.stage import Summary, Work

NOT_COMPARED = {  # s1/evaluate/graders.py, GradeNote
    "timed_out": "took too long to compare with the reference",
    "too_long": "are longer or larger than an answer can be",
}


def curve(work: Work[CurveConfig]) -> Summary:
    """Read scores.jsonl of every point; write curve.json and grader_disagreement.csv."""
    scored, statistics = list(read_scored(work)), work.config.statistics
    found = disagreements(scored)
    findings = find(work.config, scored, found.counts, repetitions(scored), shown_traces(scored))
    write_findings(work.out, findings)
    found.write(work.out, findings)
    if statistics.target is not None:
        members = members_of(scored, statistics.pool_seeds)
        write_precision(work.out, precision_of(work.config, findings, members))
    points = list(findings.points())
    summary: dict[str, float | int | str | None] = {
        "points": len(points),
        "invalid_points": sum(not point.valid for point in points),
    }
    if len(findings.series) == 1:
        found_metrics = findings.series[0].metrics
        for name in ("control", "scaling", "slope", "performance"):
            estimate = getattr(found_metrics, name)
            summary[name] = None if estimate is None else estimate.value
    return summary


def find(
    config: CurveConfig,
    scored: Sequence[Scored],
    disagreeing: Mapping[str, int] | None = None,
    repeated: Mapping[str, PointRepetition] | None = None,
    traces: Sequence[ShownTrace] = (),
) -> Findings:
    """Compute everything in the report from the scores.

    By scores key: `disagreeing` counts disputed answers, `repeated` has the loops of the traces.
    """
    lines = series_of(members_of(scored, config.statistics.pool_seeds))
    series = [_series(line, _Context(config, disagreeing or {}, repeated or {})) for line in lines]
    compared = agreements([(_label_of_seed(each, scored), each.point.values, each.traces) for each in scored])
    members = list({member.identity: member for line in lines for member in line.members}.values())
    settled = [settling_of(line, its, config.statistics) for line, its in zip(lines, series, strict=True)]
    return Findings(
        series=series,
        agreements=list(compared),
        across=across(config, members, series),
        settling=[each for each in settled if each is not None],
        frontiers=frontiers(config, [(its, _measured_of(line, its)) for line, its in zip(lines, series, strict=True)]),
        statistics=config.statistics,
        cost=config.cost,
        beside_paper=beside_paper(config, scored, members, series),
        traces=list(traces),
    )


def measured_alone(scored: Scored, statistics: Statistics, cost: Cost) -> MeasuredPoint:
    """The numbers of one point and seed by itself, from its scores: without loops, and compared with nothing."""
    (member,) = members_of([scored], pool_seeds=False)
    return _measured(member, sampled_of(member), _Context(CurveConfig([scored.point], statistics, cost), {}, {}))


def _measured_of(line: PointSeries, series: Series) -> list[Measured]:
    return [Measured(member, series.point_of(member.key, member.request)) for member in line.members]


def _label_of_seed(each: Scored, scored: Sequence[Scored]) -> str:
    seeds = {other.point.seed for other in scored}
    return f"{each.point.label}, seed {each.point.seed}" if len(seeds) > 1 else each.point.label


@dataclass(frozen=True)
class _Context:
    config: CurveConfig
    disagreeing: Mapping[str, int]  # by scores key, if several graders judged
    repeated: Mapping[str, PointRepetition]  # by scores key, if traces were read

    @property
    def level(self) -> float:
        return self.config.statistics.level


# --------------------------------------------------------------------------------------------------- one series


def _series(line: PointSeries, context: _Context) -> Series:
    statistics = context.config.statistics
    sampled = {id(member): sampled_of(member) for member in line.members}
    require_paired({m.label: its for m in line.members for its in sampled[id(m)].grids})
    ordered = sorted(line.members, key=lambda member: _thinking_order(member, sampled[id(member)]))
    taken = [sampled[id(member)] for member in ordered]
    points = [_measured(member, its, context) for member, its in zip(ordered, taken, strict=True)]
    by_label = dict(zip((point.label for point in points), taken, strict=True))
    valid = [point for point in points if point.valid]
    compare = Comparison(by_label, {point.label: point.valid for point in points}, statistics)
    reference = min(valid or points, key=_reference_order)
    peak = max(
        valid or points, key=lambda point: point.accuracy.value
    )  # max takes the first of equals, which thinks least
    pairs = len(valid) * (len(valid) - 1) // 2
    of_shape = bonferroni(compare.level, pairs)
    fixed = _fixed_levels(valid, reference, compare)
    return Series(
        name=line.name,
        points=points,
        reference=reference.label,
        peak=peak.label,
        pairs=pairs,
        neighbours=[compare.difference(after.label, before.label, of_shape) for before, after in pairwise(valid)],
        shape=[compare.difference(*labels, of_shape) for labels in _further_steps(valid, peak)],
        to_reference=[
            compare.difference(point.label, reference.label, fixed.get(point.label, compare.level))
            for point in points
            if point is not reference
        ],
        fixed_comparisons=list(fixed),
        metrics=_metrics(points, taken, peak, context),
        notes=[*_notes(points, line.members), *_looks(statistics)],
    )


def _metrics(
    points: Sequence[MeasuredPoint], taken: Sequence[Sampled], peak: MeasuredPoint, context: _Context
) -> Metrics:
    statistics = context.config.statistics
    found = metrics(
        np.column_stack([each.thinking_tokens_Q for each in taken]),
        np.column_stack([each.accuracy_Q for each in taken]),
        [point.bounds for point in points],
        [point.valid for point in points],
        draw_counts(len(taken[0].questions), statistics.resamples, statistics.seed),
        statistics.level,
    )
    return replace(found, performance=found.performance and as_sure_as(found.performance, peak.accuracy))


def _fixed_levels(valid: Sequence[MeasuredPoint], reference: MeasuredPoint, compare: Comparison) -> dict[str, float]:
    """Levels, by label, of the two comparisons with the reference that are fixed in advance: the fewest and the most
    suppressed ends."""
    extended = sorted(
        (point for point in valid if _only_suppresses_more(point, reference)), key=lambda point: point.suppression
    )
    chosen = dict.fromkeys(point.label for point in extended[:1] + extended[-1:])
    intervals = [compare.at_level(label, reference.label) for label in chosen]
    return dict(zip(chosen, holm(intervals, compare.level), strict=True))


def _only_suppresses_more(point: MeasuredPoint, reference: MeasuredPoint) -> bool:
    """Whether it suppresses more ends than the reference and neither is cut shorter: then there is only one cause."""
    most, least = (each.request.budget.max_thinking_tokens for each in (point, reference))
    uncut = not reference.audit.forced_share and (most is None or (least is not None and most > least))
    return point.suppresses_more(reference) and (most == least or uncut)


def _thinking_order(member: SeriesPoint, sampled: Sampled) -> tuple[float, ...]:
    """Sort by measured thinking tokens, then by requested amount."""
    return (float(sampled.thinking_tokens_Q.mean()), *method_of(member.request).amount(member.request))


def _reference_order(point: MeasuredPoint) -> tuple[float, ...]:
    """Sort points with the fewest votes and suppressed ends first, and among these the largest requested amount."""
    budget, amount = point.request.budget, method_of(point.request).amount(point.request)
    suppression = (budget.waits, budget.min_thinking_tokens)
    return (point.votes or 0, *suppression, float(point.bounds is not None), *(-each for each in amount))


def _further_steps(valid: Sequence[MeasuredPoint], peak: MeasuredPoint) -> Iterator[tuple[str, str]]:
    """Pairs of labels (later, earlier) to compare in addition to neighbours.

    From the least thinking to the peak; from the peak to the most thinking and to the lowest point after it; the
    deepest fall before the peak; and the rise after each fall.
    """
    if len(valid) < 2:
        return
    place, last = valid.index(peak), len(valid) - 1
    shares = [point.accuracy.value for point in valid]
    lowest = min(range(place, last + 1), key=shares.__getitem__)
    highest_again = max(range(lowest, last + 1), key=shares.__getitem__)
    top, trough = _deepest_fall(valid[: place + 1])
    steps = [(0, place), (place, last), (place, lowest), (top, trough), (trough, place), (lowest, highest_again)]
    yield from ((valid[end].label, valid[start].label) for start, end in dict.fromkeys(steps) if end > start + 1)


def _deepest_fall(points: Sequence[MeasuredPoint]) -> tuple[int, int]:
    """Indices (earlier, later) between which accuracy falls most; (0, 0) if it never falls."""
    shares = [point.accuracy.value for point in points]
    falls = [(shares[i] - shares[j], i, j) for j in range(len(shares)) for i in range(j)]
    fall, start, end = max(falls, default=(0.0, 0, 0))
    return (start, end) if fall > 0 else (0, 0)


# ---------------------------------------------------------------------------------------------------- one point


def _measured(member: SeriesPoint, sampled: Sampled, context: _Context) -> MeasuredPoint:
    scores, level, request = member.scores, context.level, member.request
    _, questions, samples = sampled.correct_RQS.shape
    outcomes = Counter(score.outcome for score in scores)
    audited, votes = _audited(member), _votes(member, samples)
    loop_share, distinct_4 = loop_share_of([each.key for each in member.scored], context.repeated, level)
    known = [context.disagreeing[each.key] for each in member.scored if each.key in context.disagreeing]
    return MeasuredPoint(
        label=label_as_measured(request, audited),
        values=member.values,
        request=request,
        bounds=_bounds(request, votes or 1),
        sources=[_source(each, sampled, level) for each in member.scored],
        engine="; ".join(dict.fromkeys(engine_text(read_engine(each.traces)) for each in member.scored)),
        questions=questions,
        samples=samples,
        accuracy=_accuracy(member, sampled, level),
        accuracy_if_cut_right=_if_cut_right(member, audited),
        thinking_tokens=mean_tokens(sampled.thinking_tokens_RQS, level),
        answer_tokens=mean_tokens(sampled.answer_tokens_RQS, level),
        at_k=[] if votes else list(_at_every_k(sampled, level)),
        outcomes={outcome.value: outcomes[outcome] for outcome in Outcome},
        audit=audited,
        disagreements=sum(known) if known else None,
        loop_share=loop_share,
        distinct_4=distinct_4,
        votes=votes,
        **_cost(scores, member.cost or context.config.cost, member.has_rates),
    )


def _votes(member: SeriesPoint, samples: int) -> int | None:
    """How many samples make an answer of an aggregation; None: each sample is one."""
    if not isinstance(method_of(member.request), Aggregator):
        return None
    return member.request.budget.votes or samples


def _bounds(request: ComputeRequest, votes: int) -> Bounds | None:
    """The requested length of an answer, over all samples that make it."""
    of_sample = method_of(request).bounds(request)
    if of_sample is None or votes == 1:
        return of_sample
    return Bounds(votes * of_sample.lowest, None if of_sample.highest is None else votes * of_sample.highest)


def _accuracy(member: SeriesPoint, sampled: Sampled, level: float) -> Estimate:
    """The accuracy; of an aggregation, the method also says what it averages over."""
    estimate, method = clustered.accuracy(sampled.correct_RQS, level), method_of(member.request)
    samples = sampled.correct_RQS.shape[2]
    if not isinstance(method, Aggregator) or samples == 1:
        return estimate
    choices = method.choices(samples, member.request.budget.votes or samples)
    return replace(estimate, method=f"{estimate.method}, {method.title} over {choices}")


def _if_cut_right(member: SeriesPoint, audited: Audit) -> float | None:
    """Accuracy if every cut answer were right; None: none was cut."""
    if not audited.answers_cut_share:
        return None
    if not isinstance(method_of(member.request), Aggregator):
        return audited.accuracy_if_cut_were_right
    return float(sampled_if_cut_were_right(member).accuracy_Q.mean())


def _at_every_k(sampled: Sampled, level: float) -> Iterator[AtK]:
    """pass@k and maj@k within each seed, averaged over seeds; nothing for one sample."""
    samples = sampled.correct_RQS.shape[2]
    if samples == 1:
        return
    majority_RQK = np.stack([majority_at(grid.votes_QS) for grid in sampled.grids])
    estimates_K = zip(
        clustered.shares(np.stack([pass_at(grid.correct_QS) for grid in sampled.grids]), samples, level),
        clustered.shares(majority_RQK, samples, level),
        gains(majority_RQK, samples, level),
        strict=True,
    )
    yield from (AtK(k, *estimates) for k, estimates in enumerate(estimates_K, start=1))


def _audited(member: SeriesPoint) -> Audit:
    """Audit over all seeds; one invalid seed makes the point invalid."""
    together = audit(member.scores, member.request)
    if together.problems or len(member.scored) == 1:
        return together
    alone = [(each.point.seed, audit(each.scores, member.request)) for each in member.scored]
    of_seeds = [f"Seed {seed}: {problem}" for seed, found in alone for problem in found.problems]
    return replace(together, problems=of_seeds)


def _source(each: Scored, sampled: Sampled, level: float) -> Source:
    alone = sampled.of_seeds([each.point.seed])
    return Source(
        seed=each.point.seed,
        key=each.key,
        digest=each.digest,
        accuracy=clustered.accuracy(alone.correct_RQS, level),
        thinking_tokens=mean_tokens(alone.thinking_tokens_RQS, level),
        valid=audit(each.scores, each.point.request).valid,
        traces=each.traces.parent.name,
    )


def _cost(scores: Sequence[ScoreRow], cost: Cost, has_rates: bool) -> dict[str, Any]:
    """Cost of the point when it shares nothing; seconds and USD are estimates from its tokens, None without rates."""
    tokens, traces = sum(score.sampled_tokens for score in scores), len(scores)
    sampled = plain(tokens, traces, "sum over traces, nothing shared", "tokens")
    if not has_rates:
        return {"sampled_tokens": sampled, "device_seconds": None, "usd": None}
    seconds = tokens / cost.generate_tokens_per_second
    rate = f"estimate: sampled tokens at {cost.generate_tokens_per_second:g} per device-second"
    price = f"{rate} and {cost.usd_per_device_hour:g} USD per device-hour ({cost.source})"
    return {
        "sampled_tokens": sampled,
        "device_seconds": plain(seconds, traces, rate, "device-seconds"),
        "usd": plain(seconds * cost.usd_per_device_hour / 3600, traces, price, "USD"),
    }


def _looks(statistics: Statistics) -> Iterator[str]:
    if statistics.target is not None:
        yield (
            f"Intervals of differences hold at all {statistics.looks} looks together (repeated confidence intervals),"
            f" so ending the rounds at a half width of {statistics.target:g} points does not spoil them;"
            " intervals of single points hold at one look."
        )


def _not_compared(points: Sequence[MeasuredPoint], members: Sequence[SeriesPoint]) -> Iterator[str]:
    """Notes on answers that count as wrong because no grader compared them."""
    scores = {member.key: member.scores for member in members}
    for note, reason in NOT_COMPARED.items():
        counts = [(point, sum(score.note == note for score in scores[point.key])) for point in points]
        named = [f"{point.label} ({count} of {point.audit.traces})" for point, count in counts if count]
        if named:
            yield f"Answers that {reason}, and count as wrong: {'; '.join(named)}."


def _notes(points: Sequence[MeasuredPoint], members: Sequence[SeriesPoint]) -> Iterator[str]:
    invalid = [point.label for point in points if not point.valid]
    if invalid:
        yield (
            "Failed the audit, and left out of Scaling, Slope, Performance and the verdict:"
            f" {'; '.join(invalid)} ({len(invalid)} of {len(points)} points)."
        )
    yield from (f"{point.label}: {sentence}" for point in points for sentence in point.audit.unmet)
    yield from dict.fromkeys(member.note for member in members if member.note)
    if len({tuple(source.seed for source in point.sources) for point in points}) > 1:
        each = ", ".join(f"{point.label} {'/'.join(str(source.seed) for source in point.sources)}" for point in points)
        yield (
            "Points of this line have different seeds, and are compared over those that both have, or by question where"
            f" they share none: {each}."
        )
    engines = sorted({point.engine for point in points})
    if len(engines) > 1:
        yield f"Points of this line come from engines that differ: {'; '.join(engines)}. So may their traces."
    onward = [
        f"{point.label} ({100 * point.audit.thinks_on_share:.1f}% of traces,"
        f" {point.audit.mean_thinks_on_tokens:.1f} tokens per trace)"
        for point in points
        if point.audit.thinks_on_share
    ]
    if onward:
        yield f"Think again in the answer, and thinking tokens do not count it: {'; '.join(onward)}."
    warned = [
        f"{point.label} ({100 * point.audit.warned_share:.1f}% of traces)"
        for point in points
        if point.audit.warned_share is not None
    ]
    if warned:
        yield f"Warned in their thinking that the maximum is near: {'; '.join(warned)}."
    looping = [
        f"{point.label} ({100 * point.loop_share.value:.1f}% of traces)"
        for point in points
        if point.loop_share and point.loop_share.value
    ]
    if looping:
        yield f"Thinking that loops, writing one phrase at least {COPIES} times in a row: {'; '.join(looping)}."
    yield from _not_compared(points, members)
    silent = [point.label for point in points if point.valid and point.thinking_tokens.value == 0]
    if silent:
        yield f"Points without any thinking have no place on a log axis, and in Scaling and Slope: {'; '.join(silent)}."
