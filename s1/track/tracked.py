"""What W&B shows of a plan: one run per trained checkpoint, one per point and seed, and one with the curve. Pure.

A run is named so that people tell it apart among all their experiments (`qwen3_8b aime24 max 4096`), and its config
holds what they filter by. W&B addresses nested config by dots, so `{"budget": {"max": 8}}` is the filter `budget.max`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from s1.config.resources import Cost
from s1.config.schema import Statistics, Train, TrainMethod
from s1.generate.methods.registry import Aggregator, method_of
from s1.point import PointConfig
from s1.stages import CurvePoint
from s1.track.runs import JobType
from sweep.core.identity import Json, canonical, key_of

NOT_SHOWN = ("launch", "track")  # groups of the configuration that say nothing about a result
IN_NAME = ("model", "task")  # axes that every name of a point states; its label states the budget
NAME_CHARACTERS = 128  # W&B cuts longer names
MOST_TAGS = 20


@dataclass(frozen=True)
class Tracked:
    """A run to mirror: the stage it belongs to, and what it is called."""

    job_type: JobType
    stage: str  # address of the stage after which it can be mirrored
    name: str
    tags: tuple[str, ...]
    notes: str
    config: Mapping[str, Json]
    # addresses of the stages that it shows or refers to, by role
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    point: CurvePoint | None = None  # of a point: its request and seed
    statistics: Statistics | None = None  # of a point: for intervals before the curve exists
    cost: Cost | None = None  # of a point: for prices before the curve exists

    @property
    def key(self) -> str:
        """Key of its stage."""
        return self.stage.rpartition("/")[2]

    def one(self, role: str) -> str | None:
        """Address of the single stage of a role; None: it has none."""
        return next(iter(self.inputs.get(role, ())), None)

    @property
    def run_key(self) -> str:
        """Tells it from all other runs of the store: points of several numbers of votes share the stage `scores`."""
        if self.point is None or not isinstance(method_of(self.point.request), Aggregator):
            return self.key
        return f"{self.key}-{key_of(canonical(self.point.request))}"


# ------------------------------------------------------------------------------------------------ names and tags


def point_name(point: PointConfig, label: str) -> str:
    """`qwen3_8b aime24 max 4096`."""
    return f"{point.model.name} {point.task.name} {label}"[:NAME_CHARACTERS]


def checkpoint_name(label: str, recipe: Train) -> str:
    """`laptop on dial_1k`, and the method unless all weights were trained."""
    method = "" if recipe.method is TrainMethod.FULL else f", {recipe.method.value}"
    return f"{label}{method}"[:NAME_CHARACTERS]


def tags_of(points: Sequence[PointConfig]) -> tuple[str, ...]:
    """Experiment, models, tasks and engines, without repetition."""
    kinds = (
        [point.name for point in points],
        [point.model.name for point in points],
        [point.task.name for point in points],
        [point.engine.kind.value for point in points],
    )
    return tuple(dict.fromkeys(tag for kind in kinds for tag in kind))[:MOST_TAGS]


def distinguished(runs: Sequence[Tracked]) -> list[Tracked]:
    """The same runs; where several share a name, the axis values in which they differ are added, or else the key."""
    groups = _by_name(runs)
    by_axes = [_renamed(run, _values_text(run, groups[run.name])) for run in runs]
    groups = _by_name(by_axes)
    return [_renamed(run, run.key if len(groups[run.name]) > 1 else "") for run in by_axes]


def _by_name(runs: Sequence[Tracked]) -> dict[str, list[Tracked]]:
    groups: dict[str, list[Tracked]] = {}
    for run in runs:
        groups.setdefault(run.name, []).append(run)
    return groups


def _renamed(run: Tracked, more: str) -> Tracked:
    """Add to a name, whose beginning gives way if it is too long."""
    suffix = f", {more}"[:NAME_CHARACTERS] if more else ""
    return replace(run, name=run.name[: NAME_CHARACTERS - len(suffix)] + suffix) if more else run


def _values_text(run: Tracked, namesakes: Sequence[Tracked]) -> str:
    return ", ".join(f"{axis} {_plain(value)}" for axis, value in _differing(run, namesakes))


def _differing(run: Tracked, namesakes: Sequence[Tracked]) -> Iterator[tuple[str, Any]]:
    values = run.point.values if run.point else {}
    for axis, value in values.items():
        others = [each.point.values.get(axis) for each in namesakes if each.point]
        if axis not in IN_NAME and any(other != value for other in others):
            yield axis, value


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else "null" if value is None else f"{value}"


# --------------------------------------------------------------------------------------------------------- config


def point_config(point: PointConfig) -> dict[str, Json]:
    """What the runs of points are filtered and grouped by, and the whole configuration under `point`."""
    generate = point.generate
    return {
        **_shared(point),
        "budget": _budget(point),
        "seed": point.seed,
        "samples": generate.samples,
        "temperature": generate.temperature,
        "top_p": generate.top_p,
        "point": whole_config(point),
    }


def checkpoint_config(point: PointConfig, train: Train) -> dict[str, Json]:
    """What the runs of checkpoints are filtered and grouped by, and the whole configuration under `point`."""
    return {**_shared(point), "seed": train.seed, "train": canonical(train), "point": whole_config(point)}


def summary_config(points: Sequence[PointConfig], values: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """Models, data sets, tasks and engines of a scan, the values of its axes, and its statistics."""
    axes = dict.fromkeys(axis for each in values for axis in each)
    return {
        "experiment": points[0].name,
        "models": _once(point.model.name for point in points),
        "data": _once(point.data.name for point in points),
        "tasks": _once(point.task.name for point in points),
        "engines": _once(point.engine.kind.value for point in points),
        "axes": {axis: _once(each.get(axis) for each in values) for axis in axes},
        "statistics": canonical(points[0].statistics),
    }


def whole_config(point: PointConfig) -> dict[str, Json]:
    """Every field of a point but those of `launch` and `track`, and the prose about where its prices come from."""
    fields = {name: value for name, value in dataclasses.asdict(point).items() if name not in NOT_SHOWN}
    fields["cost"].pop("source")
    plain = canonical(fields)
    assert isinstance(plain, dict)
    return plain


def _shared(point: PointConfig) -> dict[str, Json]:
    return {
        "experiment": point.name,
        "model": point.model.name,
        "data": point.data.name,
        "task": point.task.name,
        "engine": point.engine.kind.value,
    }


def _budget(point: PointConfig) -> dict[str, Json]:
    budget = point.budget
    return {
        "policy": method_of(point.request).name,
        "max": budget.max_thinking_tokens,
        "min": budget.min_thinking_tokens,
        "waits": budget.waits,
        "continuation": budget.continuation,
        "votes": budget.votes,
        "tries": budget.tries,
        "instruction": point.task.instruction,
    }


def _once(values: Any) -> list[Any]:
    """Values without repetition, in order; they may be lists, which cannot be hashed."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
