"""Published numbers beside ours, each with a verdict.

    by value       our number against the published one (s1/stats/published.py), where model, training, task, questions
                   and temperature are the published ones
    by direction   otherwise. Two rows of one task whose published numbers differ: do ours differ in the same direction?
                   Accuracies by their paired difference, at the levels at which all pairs hold jointly (Holm); Control
                   and Performance by intervals that do not overlap. Scaling: has ours the published sign?

A row compared by direction differs if it is reversed against any other row, and agrees if it is in the published order
with at least one. Performance is the accuracy of the best point, without a correction for the choice, as published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from s1.config.paper import Metric, Published
from s1.generate.methods.registry import method_of
from s1.report.comparison import Comparison, holm
from s1.report.findings import BesideNumber, BesidePair, BesidePaper, Identity, MeasuredPoint, Series
from s1.report.series import Scored, SeriesPoint, sampled_of
from s1.stages import CurveConfig, PaperRow
from s1.stats.bootstrap import draw_counts
from s1.stats.grid import Grid, Sampled
from s1.stats.interval import Estimate
from s1.stats.published import Verdict, by_direction, by_value, exact_share
from s1.stats.scaling import metrics
from s1.stats.votes import majority_at


def beside_paper(
    config: CurveConfig, scored: Sequence[Scored], members: Sequence[SeriesPoint], series: Sequence[Series]
) -> BesidePaper | None:
    """Compare with `config.paper`; None without it. `scored` are in the order of `config.points`."""
    if config.paper is None:
        return None
    measured = {point.identity: point for line in series for point in line.points}
    known = {each.identity: member for member in members for each in member.scored}
    rows = [_Row(row, _members(row, scored, known), measured, config) for row in config.paper.rows]
    pairs = list(_pairs(rows, config))
    numbers = [row.compared(pairs) for row in rows]
    return BesidePaper(config.paper.tables, config.paper.margin_points, numbers, pairs)


def _members(row: PaperRow, scored: Sequence[Scored], known: Mapping[Identity, SeriesPoint]) -> tuple[SeriesPoint, ...]:
    """Our points, each once over its seeds."""
    found = [known[scored[place].identity] for place in row.points if scored[place].identity in known]
    return tuple({member.identity: member for member in found}.values())


@dataclass(frozen=True)
class _Row:
    """A published number and our points."""

    row: PaperRow
    members: tuple[SeriesPoint, ...]
    measured: Mapping[Identity, MeasuredPoint]
    config: CurveConfig

    @property
    def number(self) -> Published:
        return self.row.number

    @cached_property
    def points(self) -> list[MeasuredPoint]:
        return [self.measured[member.identity] for member in self.members]

    @property
    def is_valid(self) -> bool:
        """An accuracy of a valid point; a metric of a series leaves invalid points out by itself."""
        return self.number.metric.is_of_series or all(point.valid for point in self.points)

    @property
    def is_by_value(self) -> bool:
        return bool(self.members) and not self.remark

    @property
    def remark(self) -> str:
        """Why it is not compared by value."""
        if not self.row.points:
            return ""
        reasons = [self.row.not_by_value] if self.row.not_by_value else []
        questions = sorted({point.questions for point in self.points})
        if questions and questions != [self.number.n] and not reasons:
            reasons.append(f"{questions[0]} questions instead of {self.number.n}")
        return ", ".join(reasons)

    @cached_property
    def ours(self) -> Estimate | None:
        """Our number; None if there is none, or several that cannot be pooled."""
        if not self.members:
            return None
        if self.number.metric.is_of_series:
            return _of_series(self.number.metric, self.members, self.points, self.config)
        if len(self.members) > 1:
            return None
        (point,) = self.points
        return point.at_k[self.row.votes - 1].majority if self.row.votes and point.at_k else point.accuracy

    def compared(self, pairs: Sequence[BesidePair]) -> BesideNumber:
        ours, points = self.ours, self.points
        verdict, remark = None, self.remark
        if ours is not None and self.is_valid:
            verdict = self._by_value(ours) if self.is_by_value else self._by_direction(ours, pairs)
        elif self.row.points:
            remark = "invalid point, not judged" if ours is not None else self._missing
        return BesideNumber(
            number=self.number,
            published_tokens=self.row.thinking_tokens,
            label="; ".join(point.label for point in points),
            ours=ours,
            tokens=points[0].thinking_tokens if len(points) == 1 and not self.row.votes else None,
            sources=[f"scores/{source.cited}" for point in points for source in point.sources],
            is_by_value=self.is_by_value,
            remark=remark,
            verdict=verdict,
        )

    @property
    def _missing(self) -> str:
        """Why there is no number of ours."""
        return "undefined for these points" if self.number.metric.is_of_series else "seeds are not pooled"

    def _by_value(self, ours: Estimate) -> Verdict:
        assert self.config.paper is not None, "called only with published numbers"
        margin = self.config.paper.margin_points
        if ours.unit == "share":
            share = exact_share(self.number.value, self.number.n)
            return by_value(_with_ends(ours), share, margin / 100)
        return by_value(ours, self.number.value, margin)

    def _by_direction(self, ours: Estimate, pairs: Sequence[BesidePair]) -> Verdict:
        if self.number.metric is Metric.SCALING:
            return by_direction(ours, self.number.value)
        verdicts = {pair.verdict for pair in pairs if self.number in (pair.first, pair.second)}
        order = (Verdict.DIFFERS, Verdict.AGREES)
        return next((each for each in order if each in verdicts), Verdict.UNDECIDED)


# ---------------------------------------------------------------------------------------------- several points


def _of_series(
    metric: Metric, members: Sequence[SeriesPoint], points: Sequence[MeasuredPoint], config: CurveConfig
) -> Estimate | None:
    """Control, Scaling or Performance of these points; None if it is undefined or their questions differ."""
    sampled = [sampled_of(member) for member in members]
    if len({each.questions for each in sampled}) > 1:
        return None
    valid = [point for point in points if point.valid]
    if metric is Metric.PERFORMANCE:
        best = max((point.accuracy for point in valid), key=lambda accuracy: accuracy.value, default=None)
        return best and replace(best, method=f"{best.method}, best of {len(valid)} points, not corrected")
    statistics = config.statistics
    found = metrics(
        np.column_stack([each.thinking_tokens_Q for each in sampled]),
        np.column_stack([each.accuracy_Q for each in sampled]),
        [method_of(member.request).bounds(member.request) for member in members],
        [point.valid for point in points],
        draw_counts(len(sampled[0].questions), statistics.resamples, statistics.seed),
        statistics.level,
    )
    return found.control if metric is Metric.CONTROL else found.scaling


# --------------------------------------------------------------------------------------------------------- pairs


def _pairs(rows: Sequence[_Row], config: CurveConfig) -> Iterator[BesidePair]:
    """Pairs of rows of one table, task and metric of which at least one is compared by direction."""
    usable = [row for row in rows if row.ours is not None and row.is_valid]
    pairs = [(one, other) for one, other in combinations(usable, 2) if _are_comparable(one, other)]
    accuracies = [pair for pair in pairs if pair[0].number.metric is Metric.ACCURACY]
    yield from _paired_differences(accuracies, config)
    for one, other in pairs:
        if one.number.metric is not Metric.ACCURACY:
            yield BesidePair(one.number, other.number, _apart(one, other))


def _are_comparable(one: _Row, other: _Row) -> bool:
    places = [(row.number.table, row.number.task, row.number.metric) for row in (one, other)]
    return (
        places[0] == places[1]
        and one.number.metric is not Metric.SCALING
        and one.number.value != other.number.value
        and not (one.is_by_value and other.is_by_value)
        and {point.questions for point in one.points} == {point.questions for point in other.points}
    )


def _paired_differences(pairs: Sequence[tuple[_Row, _Row]], config: CurveConfig) -> Iterator[BesidePair]:
    """Compare accuracies by their paired differences, at levels that hold jointly."""
    compared = []
    for one, other in pairs:
        sampled = {"one": _sampled(one), "other": _sampled(other)}
        if sampled["one"].questions == sampled["other"].questions:
            compared.append((one, other, Comparison(sampled, {}, config.statistics).at_level("one", "other")))
    levels = holm([at_level for _, _, at_level in compared], config.statistics.level)
    for (one, other, at_level), level in zip(compared, levels, strict=True):
        published = one.number.value - other.number.value
        yield BesidePair(one.number, other.number, by_direction(at_level(level), published))


def _sampled(row: _Row) -> Sampled:
    """The answers of the one point; for a vote, each question's chance that the vote is right stands for them."""
    (member,) = row.members
    sampled, votes = sampled_of(member), row.row.votes
    if votes is None:
        return sampled
    return replace(sampled, grids=tuple(_voted(grid, votes) for grid in sampled.grids))


def _voted(grid: Grid, votes: int) -> Grid:
    chances_Q1 = majority_at(grid.votes_QS)[:, votes - 1 : votes]
    return replace(grid, correct_QS=np.repeat(chances_Q1, grid.correct_QS.shape[1], axis=1))


def _apart(one: _Row, other: _Row) -> Verdict:
    """Compare by intervals that do not overlap."""
    ours, theirs = (_with_ends(row.ours) for row in (one, other) if row.ours is not None)
    assert ours.lo is not None and ours.hi is not None and theirs.lo is not None and theirs.hi is not None
    published = one.number.value - other.number.value
    if ours.lo > theirs.hi:
        return Verdict.AGREES if published > 0 else Verdict.DIFFERS
    if ours.hi < theirs.lo:
        return Verdict.AGREES if published < 0 else Verdict.DIFFERS
    return Verdict.UNDECIDED


def _with_ends(estimate: Estimate) -> Estimate:
    """Control that is the same in all resamples has no interval: it ends where it is."""
    if estimate.lo is not None:
        return estimate
    return replace(estimate, lo=estimate.value, hi=estimate.value, level=1.0)
