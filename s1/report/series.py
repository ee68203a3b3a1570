"""Read scored points, and group them: the seeds of one point, and the points of one series.

Grouping never looks at labels. A point's method (s1/generate/methods) splits its budget and instruction into a family,
which is fixed within a series, and an amount, which varies. Every other axis starts a new series. A family entry that
does not matter for a point is None, such as the continuation string when nothing is appended. Such a point joins every
series that agrees in the rest: the natural end lies on the line of Wait and on that of Hmm.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from s1.config.resources import Cost
from s1.config.schema import ComputeRequest, ConfigError
from s1.generate.methods.registry import Aggregator, method_of
from s1.records import AnswerEnd, ScoreRow, read_rows
from s1.report.findings import Identity, identity_of
from s1.stages import CurveConfig, CurvePoint
from s1.stats.grid import Grid, Sampled, aggregated, grid
from sweep.core.stage import Work


@dataclass(frozen=True)
class Scored:
    """A point of one seed and its scores from scores/<key>; `digest` is that of the artifact ("": unknown)."""

    point: CurvePoint
    key: str
    scores: list[ScoreRow]
    traces: Path  # directory of the traces that were scored
    digest: str = ""
    judged: Path | None = None  # directory of the scores

    @property
    def identity(self) -> Identity:
        return identity_of(self.key, self.point.request)


def read_scored(work: Work[CurveConfig]) -> Iterator[Scored]:
    """Read the scores of every point. Raises ConfigError unless each point has one directory."""
    points, scores, traces = work.config.points, work.inputs["scores"], work.inputs["traces"]
    for role, directories in (("scores", scores), ("traces", traces)):
        if len(points) != len(directories):
            count = len(directories)
            raise ConfigError(f"{role} {count}: there are {len(points)} points. Give one directory per point.")
    digests = work.digests.get("scores", ("",) * len(points))
    for point, directory, answered, digest in zip(points, scores, traces, digests, strict=True):
        # The directory is store/scores/<key>/out, so its parent has the key.
        rows = read_rows(directory / "scores.jsonl", ScoreRow)
        yield Scored(point, directory.parent.name, rows, answered, digest, directory)


SEED = "seed"  # the axis that can be pooled
SAMPLE = "each"  # the family entry of the samples that an aggregation takes its votes from: "each max 1024"
BARE = "continuation"  # the family entry whose value alone names a series: "Hmm"
UNPOOLED = "Seeds are not pooled: their questions differ."


@dataclass(frozen=True)
class SeriesPoint:
    """One point over its seeds."""

    label: str
    values: Mapping[str, Any]  # JSON values by axis; without the seed if pooled
    scored: tuple[Scored, ...]  # one per seed
    note: str = ""

    @property
    def request(self) -> ComputeRequest:
        return self.scored[0].point.request

    @property
    def cost(self) -> Cost | None:
        """The rates of its machine; None: those of the curve."""
        return self.scored[0].point.cost

    @property
    def has_rates(self) -> bool:
        """Whether the rates hold for its model."""
        return self.scored[0].point.has_rates

    @property
    def key(self) -> str:
        """The keys of all seeds, separated by spaces."""
        return " ".join(each.key for each in self.scored)

    @property
    def identity(self) -> Identity:
        """That of the measured point."""
        return identity_of(self.key, self.request)

    @cached_property
    def sampled(self) -> Sampled:
        """The scores as arrays (`sampled_of`)."""
        seeds = tuple(each.point.seed for each in self.scored)
        return Sampled(seeds, tuple(grid_of(each.scores, self.label, self.request) for each in self.scored))

    @property
    def scores(self) -> list[ScoreRow]:
        """The scores of all seeds."""
        return [score for each in self.scored for score in each.scores]


def sampled_of(member: SeriesPoint) -> Sampled:
    """The scores of a point as arrays, one answer per sample or per choice of samples.

    Raises StatisticsError for missing or duplicate rows, and ConfigError for samples that lack a needed reward.
    """
    return member.sampled


def sampled_if_cut_were_right(member: SeriesPoint) -> Sampled:
    """The same if every cut answer were right."""

    def whole(score: ScoreRow) -> ScoreRow:
        return replace(score, correct=True) if score.answer_end in (AnswerEnd.CAP, AnswerEnd.CONTEXT) else score

    scored = tuple(replace(each, scores=[whole(score) for score in each.scores]) for each in member.scored)
    return sampled_of(replace(member, scored=scored))


def grid_of(scores: Sequence[ScoreRow], label: str, request: ComputeRequest) -> Grid:
    """The scores of one seed."""
    method = method_of(request)
    if isinstance(method, Aggregator):
        return aggregated(scores, label, request.budget.votes, method.expected)
    return grid(scores, label)


@dataclass(frozen=True)
class PointSeries:
    """One series."""

    name: str  # how it differs from other series; "" if there is only one
    members: tuple[SeriesPoint, ...]


def is_request_axis(axis: str) -> bool:
    """Whether the axis sets a part of the point's ComputeRequest."""
    return axis == "task.instruction" or axis.partition(".")[0] == "budget"


# ---------------------------------------------------------------------------------------------------- seeds


def members_of(scored: Sequence[Scored], pool_seeds: bool) -> list[SeriesPoint]:
    """Every point once. With `pool_seeds`, points that differ only in the seed become one if their questions agree.

    Raises ConfigError for two points of one label and equal values.
    """
    once = list({(each.key, _text(each.point.values)): each for each in scored}.values())
    groups = _groups(once, _without_seed)
    is_pooled = pool_seeds and len({each.point.seed for each in once}) > 1
    note = ""
    if is_pooled and any(len({_questions(each.scores) for each in group}) > 1 for group in groups):
        is_pooled, note = False, UNPOOLED
    if not is_pooled:
        groups = _groups(once, dict)
    _refuse_duplicates(groups)
    return [_member(group, is_pooled, note) for group in groups]


def _groups(scored: Sequence[Scored], kept: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> list[list[Scored]]:
    """Group points by request and by the values that `kept` returns."""
    together: dict[str, list[Scored]] = {}
    for each in scored:
        together.setdefault(_text([kept(each.point.values), repr(each.point.request)]), []).append(each)
    return list(together.values())


def _member(group: Sequence[Scored], is_pooled: bool, note: str) -> SeriesPoint:
    first = group[0].point
    values = _without_seed(first.values) if is_pooled else first.values
    return SeriesPoint(first.label, values, tuple(sorted(group, key=lambda each: each.point.seed)), note)


def _questions(scores: Sequence[ScoreRow]) -> frozenset[tuple[str, str]]:
    """Identity of the questions. Rows generated with another seed reuse ids, so include the reference answer."""
    return frozenset((score.question_id, score.gold) for score in scores)


def _without_seed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {axis: value for axis, value in values.items() if axis != SEED}


def _refuse_duplicates(groups: Iterable[Sequence[Scored]]) -> None:
    for group in groups:
        if len({each.point.seed for each in group}) < len(group):
            label = group[0].point.label
            raise ConfigError(f"points {label}: two of them share a label and all values. Make one field differ.")


# --------------------------------------------------------------------------------------------------- series


@dataclass(frozen=True)
class _Identity:
    """What points of one series agree in; a family entry of None agrees with any value."""

    family: Mapping[str, str | None]
    rest: Mapping[str, Any]

    def fits(self, line: _Identity) -> bool:
        agrees = all(value is None or line.family.get(name) == value for name, value in self.family.items())
        return agrees and self.rest == line.rest

    def is_wider_than(self, other: _Identity) -> bool:
        return self.fits(other) and self.known < other.known

    @property
    def known(self) -> int:
        return sum(value is not None for value in self.family.values())


def series_of(members: Sequence[SeriesPoint]) -> list[PointSeries]:
    """All series, ordered by their first points. Raises ConfigError for a request that no method serves."""
    identities = _identities(members)
    kinds = list({_text([each.family, each.rest]): each for each in identities}.values())
    narrowest = [each for each in kinds if not any(each.is_wider_than(other) for other in kinds)]
    on_lines = [_points_on(line, members, identities) for line in narrowest]
    return [PointSeries(name, tuple(on_line)) for name, on_line in zip(_names(narrowest), on_lines, strict=True)]


def _identities(members: Sequence[SeriesPoint]) -> list[_Identity]:
    """The identity of each point.

    Points of an aggregation have two amounts: the number of votes, and that of a sample. Where the numbers of votes
    differ, a line is over them, and each amount of a sample is a line of its own (paper, Figure 4b). Otherwise a line
    is over the amounts of a sample.
    """
    identities = [_identity(member) for member in members]
    votes: dict[str, set[int | None]] = {}
    for member, own in zip(members, identities, strict=True):
        votes.setdefault(_text([own.family.get("method"), own.rest]), set()).add(member.request.budget.votes)
    return [
        _with_sample(member, own) if len(votes[_text([own.family.get("method"), own.rest])]) > 1 else own
        for member, own in zip(members, identities, strict=True)
    ]


def _identity(member: SeriesPoint) -> _Identity:
    rest = {axis: value for axis, value in member.values.items() if not is_request_axis(axis)}
    return _Identity(method_of(member.request).family(member.request), rest)


def _with_sample(member: SeriesPoint, own: _Identity) -> _Identity:
    method = method_of(member.request)
    if not isinstance(method, Aggregator):
        return own
    return replace(own, family={**own.family, SAMPLE: method.sample_label(member.request)})


def _points_on(line: _Identity, members: Sequence[SeriesPoint], identities: Sequence[_Identity]) -> list[SeriesPoint]:
    """The points of a line, one per amount: of several, the one closest to the common values of the line."""
    fitting = [(member, own) for member, own in zip(members, identities, strict=True) if own.fits(line)]
    settled = [member.values for member, own in fitting if own.known == line.known]
    shared = {axis: settled[0][axis] for axis in settled[0] if len({_text(each.get(axis)) for each in settled}) == 1}

    def differences(member: SeriesPoint) -> int:
        return sum(member.values.get(axis) != value for axis, value in shared.items())

    by_amount: dict[tuple[float, ...], list[SeriesPoint]] = {}
    for member, _ in fitting:
        by_amount.setdefault(method_of(member.request).amount(member.request), []).append(member)
    return [min(rivals, key=differences) for rivals in by_amount.values()]


# ---------------------------------------------------------------------------------------------------- names


def _names(lines: Sequence[_Identity]) -> list[str]:
    """Names from what differs between the lines: "Hmm", "Wait, seed 1", "task aime24"."""
    families, axes = [line.family for line in lines], [line.rest for line in lines]
    parts = [
        [
            *(_entry(name, line.family.get(name)) for name in _differing(families)),
            *(f"{name} {plain_value(line.rest.get(name))}" for name in _differing(axes)),
        ]
        for line in lines
    ]
    return [", ".join(filter(None, each)) for each in parts]


def _differing(mappings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names whose values differ between the mappings."""
    names = dict.fromkeys(name for each in mappings for name in each)
    return [name for name in names if len({_text(each.get(name)) for each in mappings}) > 1]


def _entry(name: str, value: str | None) -> str:
    if value is None:
        return ""
    if not value:
        return f"no {name}"
    return plain_value(value) if name == BARE else f"{name} {plain_value(value)}"


def plain_value(value: Any) -> str:
    """A value on one line; quoted if it has whitespace that would not show."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_of_enum)
    return text if text == " ".join(text.split()) else json.dumps(text, ensure_ascii=False)


def _text(value: Any) -> str:
    """A text that is equal exactly for equal values."""
    return json.dumps(value, sort_keys=True, default=_of_enum)


def _of_enum(value: Any) -> Any:
    return value.value
