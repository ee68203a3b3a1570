"""Samples where they matter: rounds that narrow the named differences of a scan to `statistics.target`.

Each round is a plan of its own. The first has the questions and samples of the configuration. A further one has more of
them, at the points whose difference is still too wide:

    questions    all points answer the same ones, so all get more, up to those that the task has
    samples      where the questions do not suffice: points in a difference that is too wide get what it seems to need

Questions come first, as a new question narrows an interval more than another sample of an old one. Answers of earlier
rounds are continued, never sampled again. Which round is next is decided from the finished ones in the store alone, so
the same command continues where it was interrupted.

Looking at the intervals after each round does not spoil them: they are repeated confidence intervals, whose level
holds over all `statistics.looks` together, whatever rule ends the rounds (s1/stats/sequential.py). A round has at
most four times the information of the one before, as those intervals assume.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from s1.config.schema import MOST_GROWTH, ConfigError, Statistics
from s1.estimates import question_count
from s1.point import PointConfig
from sweep.core.typed import typed

FILE_NAME = "precision.json"


@dataclass(frozen=True)
class NamedDifference:
    """The interval of a difference between two points, and the scores behind it."""

    label: str
    against: str
    half_width: float  # in percentage points, at the level of all looks together
    scores: tuple[str, ...]  # keys of the scores of both points, over their seeds

    def __str__(self) -> str:
        return f"{self.label} - {self.against}"


@dataclass(frozen=True)
class Precision:
    """The content of precision.json, which the curve stage writes."""

    differences: tuple[NamedDifference, ...]


@dataclass(frozen=True)
class Design:
    """Questions and samples of one round, by point."""

    questions: tuple[int, ...]
    samples: tuple[int, ...]

    def applied(self, points: Sequence[PointConfig]) -> list[PointConfig]:
        """The points of this round."""
        return [
            replace(
                point,
                task=point.task if question_count(point.task) == questions else replace(point.task, limit=questions),
                generate=replace(point.generate, samples=samples),
            )
            for point, questions, samples in zip(points, self.questions, self.samples, strict=True)
        ]


@dataclass(frozen=True)
class Pair:
    """A named difference with the places of its points in the plan."""

    difference: NamedDifference
    places: tuple[int, ...]


@dataclass(frozen=True)
class Round:
    """A finished round."""

    design: Design
    pairs: tuple[Pair, ...]

    @property
    def widest(self) -> Pair:
        return max(self.pairs, key=lambda pair: pair.difference.half_width)


@dataclass(frozen=True)
class Limits:
    """How far a design can grow."""

    questions: tuple[int, ...]  # that the task of each point has
    samples: tuple[int, ...]  # most of each point; its own number where more would all be equal


@dataclass(frozen=True)
class Stop:
    """No further round, and why."""

    reason: str
    is_reached: bool = False


def first_design(points: Sequence[PointConfig]) -> Design:
    """Questions and samples as configured."""
    return Design(
        tuple(question_count(point.task) for point in points), tuple(point.generate.samples for point in points)
    )


def limits_of(points: Sequence[PointConfig]) -> Limits:
    """All questions of each task; `statistics.samples_max` samples, except of greedy decoding."""
    return Limits(
        tuple(question_count(replace(point.task, limit=None)) for point in points),
        tuple(
            max(point.generate.samples, point.statistics.samples_max)
            if point.generate.temperature
            else point.generate.samples
            for point in points
        ),
    )


def next_design(rounds: Sequence[Round], limits: Limits, statistics: Statistics) -> Design | Stop:
    """The design of the next round, or why there is none. `rounds`: all finished ones, at least one."""
    last, target = rounds[-1], statistics.target
    assert target is not None, "called only with a target"
    if not last.pairs:
        return Stop("no difference between valid points is named, so none can be narrowed")
    wide = [pair for pair in last.pairs if pair.difference.half_width > target]
    if not wide:
        return Stop(f"{_width(last)}, within the target of {target:g}", is_reached=True)
    missed = f"{_width(last)}, above the target of {target:g}"
    if len(rounds) >= statistics.looks:
        return Stop(f"{missed}, after all {statistics.looks} rounds of statistics.looks")
    asked = _more_questions(last, limits, target)
    left = MOST_GROWTH / max(now / before for now, before in zip(asked, last.design.questions, strict=True))
    if asked == last.design.questions:
        for pair in wide:
            if (floor := _floor(rounds, pair)) is not None and floor > target:
                return Stop(
                    f"{missed}: by the last rounds, {pair.difference} stays above {floor:.1f} points however many"
                    " samples these questions get. Only more questions narrow it"
                )
    samples = last.design.samples
    if asked == limits.questions:
        samples = _more_samples(last, wide, asked, limits, target, left)
    if (asked, samples) == (last.design.questions, last.design.samples):
        return Stop(f"{missed}: {_why_no_more(last, wide, limits, statistics)}")
    return Design(asked, samples)


def _more_questions(last: Round, limits: Limits, target: float) -> tuple[int, ...]:
    """As many as the widest difference needs, since its variance falls with their number."""
    growth = min(MOST_GROWTH, (last.widest.difference.half_width / target) ** 2)
    return tuple(
        min(most, math.ceil(growth * now)) for now, most in zip(last.design.questions, limits.questions, strict=True)
    )


def _width(found: Round) -> str:
    """`widest half width 3.2 points (Wait x1 - natural end)`."""
    widest = found.widest.difference
    return f"widest half width {widest.half_width:.1f} points ({widest})"


def _more_samples(
    last: Round, wide: Sequence[Pair], asked: Sequence[int], limits: Limits, target: float, most_growth: float
) -> tuple[int, ...]:
    """Of each point, as many as its widest difference needs beside more questions, if only samples counted."""

    def samples(place: int) -> int:
        now = last.design.samples[place]
        widths = [pair.difference.half_width for pair in wide if place in pair.places]
        if not widths:
            return now
        needed = (max(widths) / target) ** 2 * last.design.questions[place] / asked[place]
        return max(now, min(limits.samples[place], math.ceil(needed * now), math.floor(most_growth * now)))

    return tuple(map(samples, range(len(last.design.samples))))


def _floor(rounds: Sequence[Round], pair: Pair) -> float | None:
    """The half width that endless samples of the same questions would leave, by the last two rounds; None: unknown.

    Its square is a + b / samples, where a comes from differences between questions. A single sample tells nothing: the
    interval allows for the worst then.
    """
    seen: list[tuple[int, float]] = []
    for found in rounds:
        same = [each for each in found.pairs if str(each.difference) == str(pair.difference)]
        samples = min(found.design.samples[place] for place in pair.places)
        if same and samples > 1 and found.design.questions == rounds[-1].design.questions:
            seen.append((samples, same[0].difference.half_width ** 2))
    steps = [(one, other) for one, other in pairwise(seen) if one[0] < other[0]]
    if not steps:
        return None
    (fewer, wider), (more, narrower) = steps[-1]
    return math.sqrt(max(0.0, (more * narrower - fewer * wider) / (more - fewer)))


def _why_no_more(last: Round, wide: Sequence[Pair], limits: Limits, statistics: Statistics) -> str:
    places = {place for pair in wide for place in pair.places}
    if all(last.design.samples[place] == limits.samples[place] < statistics.samples_max for place in places):
        return "all questions are answered, and greedy samples are all equal. Choose generate=sampled"
    return f"every point has {statistics.samples_max} samples, the most of statistics.samples_max"


# ------------------------------------------------------------------------------------------------- the store


def read_precision(directory: Path) -> Precision:
    """The named differences in the files of a finished curve stage. Raises OSError or InputError if unreadable."""
    return typed(Precision, json.loads((directory / FILE_NAME).read_text(encoding="utf-8")))


def finished_round(design: Design, precision: Precision, scores: Sequence[str]) -> Round:
    """A round with its named differences. `scores`: keys of the scores of each point."""
    places: Mapping[str, list[int]] = {key: [at for at, each in enumerate(scores) if each == key] for key in scores}
    return Round(
        design,
        tuple(
            Pair(each, tuple(sorted({place for key in each.scores for place in places.get(key, ())})))
            for each in precision.differences
        ),
    )


def described(number: int, design: Design, first: Design, statistics: Statistics) -> str:
    """The note on the round that is planned."""
    questions = "/".join(map(str, dict.fromkeys(design.questions)))
    samples = "/".join(map(str, dict.fromkeys(design.samples)))
    more = sum(now > before for now, before in zip(design.samples, first.samples, strict=True))
    grown = f", {more} of {len(design.samples)} points with more than at first" if more else ""
    return (
        f"round {number} of at most {statistics.looks} towards statistics.target={statistics.target:g}:"
        f" {questions} questions, {samples} samples{grown}"
    )


def check_target(points: Sequence[PointConfig]) -> None:
    """Raises ConfigError for a target that cannot be approached."""
    statistics, limits = points[0].statistics, limits_of(points)
    if statistics.target is None or first_design(points) != Design(limits.questions, limits.samples):
        return
    raise ConfigError(
        f"statistics.target {statistics.target:g}: nothing can be added, as the points already have all questions and"
        " the most samples. Choose generate=sampled, begin with fewer questions (task.limit), or raise"
        " statistics.samples_max."
    )
