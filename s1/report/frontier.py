"""The frontier: which points are the most accurate for what they cost, across all methods of a scan.

The cost of a point is what one answer to a question takes from scratch, with nothing shared: the tokens that an engine
would sample for it, thinking and answer. An answer of an aggregation takes those of all its votes, one of rejection
those of all its tries. Device-seconds and USD follow from the tokens, as in the table of costs; forced text, training
and reward models are not included.

Points are compared if they answer the same questions and agree in every axis that is not a way to spend test-time
compute: budget, instruction, sampling, reward model, and what cuts the thinking. Each such group has its own front. A
group with a single series has a curve already, so it has a frontier only if its points aggregate samples.

Compute-matched: each point against the most accurate point of each method that costs no more, paired by question. The
rival is chosen by the numbers, which favors it, and intervals are those of each comparison alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from s1.config.schema import Aggregation
from s1.generate.methods.registry import method_of
from s1.report.comparison import Comparison
from s1.report.findings import Frontier, FrontierPoint, MatchedRival, MeasuredPoint, Series
from s1.report.series import SeriesPoint, is_request_axis, plain_value, sampled_of
from s1.stages import CurveConfig
from s1.stats.bootstrap import draw_counts
from s1.stats.grid import Sampled
from s1.stats.interval import Estimate
from s1.stats.lengths import mean_tokens
from s1.stats.pareto import best_within, front_share, on_front

WAYS_TO_SPEND = ("generate", "model.thinking_format", "reward")  # axes besides those of the request


@dataclass(frozen=True)
class Measured:
    """A point as measured, and the scores that it comes from."""

    member: SeriesPoint
    point: MeasuredPoint

    @property
    def method(self) -> str:
        return str(method_of(self.point.request).family(self.point.request)["method"])

    @property
    def is_aggregated(self) -> bool:
        return self.point.request.budget.aggregation is not Aggregation.NONE

    @property
    def sampled(self) -> Sampled:
        return sampled_of(self.member)

    @cached_property
    def tokens_RQS(self) -> np.ndarray:
        """Tokens sampled for an answer, from scratch."""
        by_seed = [
            {(row.question_id, row.sample): row.sampled_tokens for row in each.scores} for each in self.member.scored
        ]
        samples = sorted({sample for _, sample in by_seed[0]})
        return (self.point.votes or 1) * np.array(
            [
                [[tokens[question, sample] for sample in samples] for question in self.sampled.questions]
                for tokens in by_seed
            ]
        )


def frontiers(config: CurveConfig, lines: Sequence[tuple[Series, Sequence[Measured]]]) -> list[Frontier]:
    """The frontier of each group of points; `lines` has the points of each series."""
    groups: dict[str, list[tuple[Series, Measured]]] = {}
    for series, measured in lines:
        for each in measured:
            if each.point.valid:
                groups.setdefault(repr(_group(each)), []).append((series, each))
    named = [(_name(group, groups.values()), group) for group in groups.values()]
    return [_frontier(config, name, _once(group)) for name, group in named if _has_frontier(group)]


def _group(each: Measured) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """The axes that points of one frontier agree in, and their questions."""
    return [(axis, repr(value)) for axis, value in sorted(_other_axes(each.point).items())], each.sampled.questions


def _other_axes(point: MeasuredPoint) -> Mapping[str, object]:
    return {
        axis: value
        for axis, value in point.values.items()
        if not is_request_axis(axis) and not any(axis == way or axis.startswith(f"{way}.") for way in WAYS_TO_SPEND)
    }


def _name(group: Sequence[tuple[Series, Measured]], groups: Iterable[Sequence[tuple[Series, Measured]]]) -> str:
    """How a group differs from the others: "task aime24"; "" for the only one."""
    axes = [_other_axes(each[0][1].point) for each in groups]
    own = _other_axes(group[0][1].point)
    differing = [axis for axis in own if any(other.get(axis) != own[axis] for other in axes)]
    return ", ".join(f"{axis} {plain_value(own[axis])}" for axis in differing)


def _has_frontier(group: Sequence[tuple[Series, Measured]]) -> bool:
    points = _once(group)
    several = len({id(series) for series, _ in group}) > 1
    return len(points) > 1 and (several or any(each.is_aggregated for each in points))


def _once(group: Sequence[tuple[Series, Measured]]) -> list[Measured]:
    """Every point once, also if it is on several lines."""
    return list({(each.point.key, each.point.label): each for _, each in group}.values())


def _frontier(config: CurveConfig, name: str, points: Sequence[Measured]) -> Frontier:
    statistics = config.statistics
    accuracy_QP = np.column_stack([each.sampled.accuracy_Q for each in points])
    cost_QP = np.column_stack([each.tokens_RQS.mean(axis=(0, 2)) for each in points])
    accuracy_P, cost_P = accuracy_QP.mean(axis=0), cost_QP.mean(axis=0)
    share_P = front_share(cost_QP, accuracy_QP, draw_counts(len(cost_QP), statistics.resamples, statistics.seed))
    names = _point_names(points)
    rivals = _Rivals(config, points, names, cost_P, accuracy_P)
    found = [
        FrontierPoint(
            name=names[place],
            label=each.point.label,
            key=each.point.key,
            method=each.method,
            questions=each.point.questions,
            accuracy=each.point.accuracy,
            tokens=mean_tokens(each.tokens_RQS, statistics.level),
            device_seconds=(seconds := cost / rates.generate_tokens_per_second if each.member.has_rates else None),
            usd=None if seconds is None else seconds * rates.usd_per_device_hour / 3600,
            on_front=bool(front),
            front_share=float(share),
            rivals=list(rivals.of(place)),
        )
        for place, (each, cost, front, share) in enumerate(
            zip(points, cost_P.tolist(), on_front(cost_P, accuracy_P), share_P, strict=True)
        )
        for rates in [each.member.cost or config.cost]
    ]
    return Frontier(name, sorted(found, key=lambda each: (each.tokens.value, -each.accuracy.value)))


def _point_names(points: Sequence[Measured]) -> list[str]:
    """The label of each point; where several share it, also the values in which they differ."""
    alike: dict[str, list[MeasuredPoint]] = {}
    for each in points:
        alike.setdefault(each.point.label, []).append(each.point)

    def differing(point: MeasuredPoint) -> list[str]:
        others = alike[point.label]
        return [axis for axis in point.values if any(other.values.get(axis) != point.values[axis] for other in others)]

    return [
        ", ".join([point.label, *(f"{axis} {plain_value(point.values[axis])}" for axis in differing(point))])
        for point in (each.point for each in points)
    ]


@dataclass(frozen=True)
class _Rivals:
    """Compares every point with the best of each method that costs no more."""

    config: CurveConfig
    points: Sequence[Measured]
    names: Sequence[str]
    cost_P: np.ndarray
    accuracy_P: np.ndarray

    def of(self, place: int) -> Iterator[MatchedRival]:
        own = self.points[place]
        for method in dict.fromkeys(each.method for each in self.points):
            among = np.array([each.method == method and each is not own for each in self.points])
            best = best_within(self.cost_P, self.accuracy_P, float(self.cost_P[place]), among)
            if best is not None:
                difference = self._difference(own, self.points[best])
                yield MatchedRival(method, self.names[best], float(self.cost_P[best]), difference)

    def _difference(self, own: Measured, rival: Measured) -> Estimate:
        sampled = {"own": own.sampled, "rival": rival.sampled}
        compared = Comparison(sampled, dict.fromkeys(sampled, True), self.config.statistics)
        return compared.at_level("own", "rival")(self.config.statistics.level)
