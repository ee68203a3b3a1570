"""Give the points of several results values on the same axes, so that what differs between them names their series.

A result names only the axes of its own command. If one scanned budgets of one model, and another budgets of another
model, the values of neither name the model. The recorded command is composed again to find fields in which points
differ; whether they differ at all is decided by the stages behind their scores.

An axis that no field explains is RESULT: the name of the result, so that points that differ never share a line. It is
needed if a recorded command composes other points now, because files of conf/ changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from functools import cached_property
from itertools import combinations
from typing import Any

from s1.report.series import SEED, is_request_axis
from s1.stages import ArchivedScores, CurvePoint
from sweep.core.pipeline import ComposedPoint
from sweep.core.recorded import RecordedStage

RESULT = "result"  # the axis that keeps results apart
UNKNOWN = "unknown"  # the value of an axis that a result does not name, and whose command composes other points now
GROUPS = ("model", "data", "train", "task", "generate", "reward", "dial")  # sections that decide what is computed
# Parts of a traces config that differ between the points of one series: the report says where engines differ.
NOT_COMPARED = ("budget", "engine", "libraries")
WARNING = ("warning", "warning_share")  # of a thinking format; written only where a budget inserts it


@dataclass(frozen=True)
class TextSource:
    """What the trace archive reads of a point beside its scores and traces."""

    questions: RecordedStage
    model: RecordedStage  # the base model
    archived: ArchivedScores


@dataclass(frozen=True)
class Member:
    """A point of one of the results."""

    source: str  # name of the result
    point: CurvePoint
    scores: RecordedStage
    traces: RecordedStage
    texts: TextSource
    composed: ComposedPoint | None  # the point of the recorded command; None if that composes other points now

    @property
    def values(self) -> Mapping[str, Any]:
        return self.point.values

    def with_values(self, values: Mapping[str, Any]) -> Member:
        return replace(self, point=replace(self.point, values=dict(values)))

    @cached_property
    def rest(self) -> str:
        """Its values on the axes that separate series, seeds aside."""
        return text_of({axis: value for axis, value in self.values.items() if not _is_within_series(axis)})

    @cached_property
    def subject(self) -> str:
        """What was computed apart from the requested compute: weights, questions, sampling, task."""
        config = self.traces.config
        kept = {name: value for name, value in config.items() if name not in NOT_COMPARED}
        kept["thinking_format"] = {
            name: value for name, value in config.get("thinking_format", {}).items() if name not in WARNING
        }
        asked = [
            {"inputs": each.identity()["inputs"], **{k: v for k, v in each.config.items() if k != "instruction"}}
            for each in self.traces.stages_of("questions")
        ]
        models = [each.key for role in ("model", "reward") for each in self.traces.stages_of(role)]
        return text_of([models, asked, kept, self.scores.config])

    @cached_property
    def configured(self) -> str | None:
        """The configuration that decides what is computed, without its seed; None if it is unknown."""
        if self.composed is None:
            return None
        return text_of(
            {name: value for name, value in _leaves(self.composed).items() if not _is_seed(name, value, self)}
        )

    def value(self, field: str) -> Any:
        """The value of a field; UNKNOWN if nothing says it."""
        if field in self.values:
            return self.values[field]
        if self.composed is not None:
            return self.composed.value(field)
        if field == SEED:
            return self.point.seed
        return _requested(self.point, field) if is_request_axis(field) else UNKNOWN


def filled(members: Sequence[Member], is_apart: bool) -> list[Member]:
    """All points with values on all axes; with `is_apart`, each result in series of its own."""
    axes = list(dict.fromkeys(axis for member in members for axis in member.values))
    if SEED not in axes and len({member.point.seed for member in members}) > 1:
        axes.append(SEED)
    together = _on(axes, members)
    if is_apart:
        return _apart(together)
    for field in _candidates(members) if all(member.composed for member in members) else ():
        confused = list(_confused(together))
        if not confused:
            return together
        if any(text_of(one.value(field)) != text_of(other.value(field)) for one, other in confused):
            axes.append(field)
            together = _on(axes, together)
    return _apart(together) if any(_confused(together)) else together


def _on(axes: Sequence[str], members: Sequence[Member]) -> list[Member]:
    return [member.with_values({axis: member.value(axis) for axis in axes}) for member in members]


def _apart(members: Sequence[Member]) -> list[Member]:
    """With the name of its result on every point; with the key too, where results share a name."""
    sources = dict.fromkeys(member.source for member in members)
    names = [source.partition("/")[0] for source in sources]
    shown = {source: name if names.count(name) == 1 else source for source, name in zip(sources, names, strict=True)}
    return [member.with_values({**member.values, RESULT: shown[member.source]}) for member in members]


def _confused(members: Sequence[Member]) -> Iterator[tuple[Member, Member]]:
    """Pairs of points that would share a series although they differ in more than the requested compute."""
    kinds = {(each.rest, each.source, each.subject, each.point.seed, each.configured): each for each in members}
    for one, other in combinations(kinds.values(), 2):
        if one.source != other.source and one.rest == other.rest and _differ(one, other):
            yield one, other


def _differ(one: Member, other: Member) -> bool:
    if one.subject == other.subject:
        return False
    is_known = one.configured is not None and other.configured is not None
    return not (is_known and one.point.seed != other.point.seed and one.configured == other.configured)


# ------------------------------------------------------------------------------------------------ candidates


def _candidates(members: Sequence[Member]) -> Iterator[str]:
    """Fields that may explain a difference between composed points: groups first, then single fields."""
    composed = [member.composed for member in members if member.composed is not None]
    groups = dict.fromkeys(group for each in composed for group in each.choices)
    yield from sorted((group for group in groups if _section(group) in GROUPS), key=_order)
    leaves = dict.fromkeys(name for each in composed for name in _leaves(each))
    yield from sorted(
        (name for name in leaves if not is_request_axis(name) and not _follows(name, members)), key=_order
    )


def _follows(name: str, members: Sequence[Member]) -> bool:
    """Whether it is a seed that follows the seed of every point, which separates no series."""
    values = [(each.composed.value(name), each) for each in members if each.composed is not None]
    return all(value is None or _is_seed(name, value, each) for value, each in values)


def _order(field: str) -> tuple[int, int]:
    return (field.count("."), GROUPS.index(_section(field)))


def _section(field: str) -> str:
    return field.partition(".")[0]


def _leaves(composed: ComposedPoint) -> dict[str, Any]:
    """Fields that decide what is computed, by dotted name."""
    sections = {name: composed.fields.get(name) for name in GROUPS}
    return {name: value for name, value in _flat(sections, "") if not is_request_axis(name)}


def _flat(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{where}{name}.")
    else:
        yield where.removesuffix("."), value


def _is_seed(name: str, value: Any, member: Member) -> bool:
    """Whether it is a seed that follows the seed of the point."""
    return name.rpartition(".")[2] == SEED and value == member.point.seed


def _is_within_series(axis: str) -> bool:
    return axis == SEED or is_request_axis(axis)


def _requested(point: CurvePoint, field: str) -> Any:
    """The value of an axis that sets a part of the requested compute, from the request itself."""
    if field == "task.instruction":
        return point.request.instruction
    value: Any = {"budget": asdict(point.request.budget)}
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return None if isinstance(value, Mapping) else value.value if isinstance(value, Enum) else value


def text_of(value: Any) -> str:
    """A text that is equal exactly for equal JSON values."""
    return json.dumps(value, sort_keys=True, default=lambda each: each.value)
