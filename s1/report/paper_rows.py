"""Find the points of a scan that stand beside published numbers, and decide which of them are compared by value.

A row's selector names values of the point: an axis of the command, a field of its configuration, `method` (the name of
the method that serves it), `family.NAME` (an entry of its family, s1/generate/methods), `votes` (not a value: which
majority vote of the point is meant). An accuracy stands for one point, Control, Scaling and Performance for all points
that the selector matches.

Values are compared only where model, training data, task and temperature are those of the published number. The user
cannot ask for more than that: a small model whose 12% lies outside of a published 50% has reproduced nothing and
refuted nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from s1.config.data import Control, PoolKind, Strategy
from s1.config.paper import VOTES, Metric, Paper, Published
from s1.config.schema import ConfigError, ModelKind, TrainMethod
from s1.generate.methods.registry import method_of
from s1.point import PointConfig
from s1.report.published.reader import PublishedTable, table
from s1.stages import PaperComparison, PaperRow
from sweep.core.identity import Json
from sweep.suggestions import unknown

COMPARED = (Metric.ACCURACY, Metric.CONTROL, Metric.SCALING, Metric.PERFORMANCE)
SEED = "seed"
METHOD, FAMILY = "method", "family"
TRAINED_FROM = {  # released weights: what they were trained from, and on
    "simplescaling/s1-32B": ("Qwen/Qwen2.5-32B-Instruct", "simplescaling/s1K"),
    "simplescaling/s1.1-32B": ("Qwen/Qwen2.5-32B-Instruct", "simplescaling/s1K-1.1"),
}
RECIPE = (TrainMethod.FULL, 16, 1e-5)  # method, batch size, learning rate (appendix C)
EPOCHS, STEPS_OF_1000_ROWS = 5, 315


def compared_with_paper(points: Sequence[PointConfig], values: Sequence[Mapping[str, Json]]) -> PaperComparison | None:
    """The published numbers of `paper` with the places of our points; None without `paper`.

    `values` are those of each point on the axes. Raises ConfigError for an unknown table, row or field, for a selector
    that matches no point, and for one that matches several where one is meant.
    """
    paper = points[0].paper
    if paper is None:
        return None
    tables = [table(name) for name in paper.tables]
    scan = _Scan(paper, points, values)
    scan.require_known_names(tables)
    tasks = scan.tasks(tables)
    rows = [
        scan.row(number, each.number(number.row, number.task, Metric.THINKING_TOKENS))
        for each in tables
        for number in each.numbers
        if number.metric in COMPARED and number.task in tasks
    ]
    return PaperComparison([each.title for each in tables], rows, paper.margin_points)


@dataclass(frozen=True)
class _Scan:
    paper: Paper
    points: Sequence[PointConfig]
    values: Sequence[Mapping[str, Json]]

    def require_known_names(self, tables: Sequence[PublishedTable]) -> None:
        """Raises ConfigError for a row that no table has, and for a selector's name that no point has."""
        rows = [row for each in tables for row in each.rows]
        places = {f"{row}, {task}" for each in tables for row in each.rows for task in each.tasks}
        for row, selector in self.paper.rows.items():
            if row not in rows and row not in places:
                raise ConfigError(unknown(f"paper.rows.{row}", f"row of {' or '.join(self.paper.tables)}", row, rows))
            for name in selector:
                found = [_value(point, axes, name) for point, axes in zip(self.points, self.values, strict=True)]
                if name != VOTES and all(each is _MISSING for each in found):
                    axes = ", ".join(sorted({axis for each in self.values for axis in each})) or "none"
                    raise ConfigError(
                        f"paper.rows.{row}.{name}: no axis of this scan and no field of its points. Name an axis"
                        f" ({axes}), a field such as budget.waits, {METHOD}, {FAMILY}.NAME or {VOTES}."
                    )

    def tasks(self, tables: Sequence[PublishedTable]) -> list[str]:
        """The published tasks to compare with. Raises ConfigError if there is none."""
        published = list(dict.fromkeys(task for each in tables for task in each.tasks))
        if self.paper.task is not None:
            if self.paper.task not in published:
                place = f"paper.task {self.paper.task}"
                raise ConfigError(unknown(place, "task in these tables", self.paper.task, published))
            return [self.paper.task]
        ours = list(dict.fromkeys(point.task.name for point in self.points))
        if not set(ours) & set(published):
            raise ConfigError(
                f"paper.task null: {' and '.join(self.paper.tables)} have no task {' or '.join(ours)}. Set paper.task"
                f" to the one to stand beside: {', '.join(published)}."
            )
        return [task for task in published if task in ours]

    def row(self, number: Published, tokens: Published | None) -> PaperRow:
        """A number, the published thinking tokens of its row, and our points.

        Raises ConfigError unless the selector matches what the number stands for.
        """
        name = f"{number.row}, {number.task}" if f"{number.row}, {number.task}" in self.paper.rows else number.row
        selector = self.paper.rows.get(name)
        published_tokens = None if tokens is None else tokens.value
        if selector is None:
            return PaperRow(number, published_tokens, [], None, "")
        places = [place for place in self._places_of(number.task) if self._matches(place, selector)]
        where = f"paper.rows.{name} {_shown(selector)}"
        if not places:
            raise ConfigError(
                f"{where}: matches no point{self._of_task(number)}. Correct it, add the point, or remove the row"
                " (paper=null: compare with no table)."
            )
        if number.metric.is_of_series:
            self._require_one_task(where, places)
        else:
            self._require_one_point(where, places)
        votes = selector.get(VOTES)
        assert votes is None or isinstance(votes, int), "checked by Paper"
        if votes is not None and any(votes > self.points[place].generate.samples for place in places):
            samples = self.points[places[0]].generate.samples
            raise ConfigError(
                f"{where}: a vote of {votes} samples, and the point has {samples}. Raise generate.samples."
            )
        reasons = dict.fromkeys(reason for place in places for reason in _not_by_value(self.points[place], number))
        return PaperRow(number, published_tokens, places, votes, ", ".join(reasons))

    def _places_of(self, task: str) -> list[int]:
        return [
            place for place, point in enumerate(self.points) if self.paper.task is not None or point.task.name == task
        ]

    def _of_task(self, number: Published) -> str:
        return f" of task {number.task}" if self.paper.task is None else ""

    def _matches(self, place: int, selector: Mapping[str, object]) -> bool:
        point, axes = self.points[place], self.values[place]
        return all(_is_one_of(_value(point, axes, name), wanted) for name, wanted in selector.items() if name != VOTES)

    def _require_one_task(self, where: str, places: Sequence[int]) -> None:
        tasks = sorted({self.points[place].task.name for place in places})
        if len(tasks) > 1:
            raise ConfigError(f"{where}: matches points of several tasks ({', '.join(tasks)}). Add `task`.")

    def _require_one_point(self, where: str, places: Sequence[int]) -> None:
        """One point, over its seeds if they are pooled."""
        is_pooled = self.points[0].statistics.pool_seeds
        kept = [{axis: v for axis, v in self.values[p].items() if not (is_pooled and axis == SEED)} for p in places]
        distinct = list(
            {_text([axes, repr(self.points[p].request)]): p for axes, p in zip(kept, places, strict=True)}.values()
        )
        if len(distinct) == 1:
            return
        differing = [axis for axis in kept[0] if len({_text(axes.get(axis)) for axes in kept}) > 1]
        labels = [method_of(self.points[place].request).label(self.points[place].request) for place in distinct]
        more = f" They differ in {', '.join(differing)}." if differing else ""
        raise ConfigError(
            f"{where}: matches {len(distinct)} points ({'; '.join(labels)}).{more} Add a value"
            " that only one of them has."
        )


# ------------------------------------------------------------------------------------------- values of a point


class _Missing(Enum):
    MISSING = "missing"


_MISSING = _Missing.MISSING


def _value(point: PointConfig, axes: Mapping[str, Json], name: str) -> object:
    """The value of an axis, a field, or an entry of the family; `_MISSING` if there is none."""
    if name in axes:
        return axes[name]
    first, _, rest = name.partition(".")
    if name == METHOD or first == FAMILY:
        family: Mapping[str, object] = method_of(point.request).family(point.request)
        return family.get(rest or METHOD, _MISSING)
    found: Any = point
    for part in name.split("."):
        found = _part(found, part)
    if isinstance(found, Enum) and found is not _MISSING:
        return found.value
    return getattr(found, "name", _MISSING) if dataclasses.is_dataclass(found) else found


def _part(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name, _MISSING)
    is_field = dataclasses.is_dataclass(value) and name in {field.name for field in dataclasses.fields(value)}
    return getattr(value, name) if is_field else _MISSING


def _is_one_of(found: object, wanted: object) -> bool:
    """Whether the value is the wanted one, or in the list of wanted ones; true is not 1."""
    options = wanted if isinstance(wanted, list) else [wanted]
    return any(found == each and isinstance(found, bool) == isinstance(each, bool) for each in options)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _shown(selector: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in selector.items()) + "}"


# --------------------------------------------------------------------------------------- by value or direction


def _not_by_value(point: PointConfig, number: Published) -> Iterator[str]:
    """Reasons why our number is not of the same kind as the published one."""
    if not _has_published_model(point, number):
        yield f"another model or training ({point.model.name})"
    if point.task.name != number.task:
        yield f"another task ({point.task.name})"
    if point.task.limit is not None:
        yield f"only {point.task.limit} questions"
    if number.temperature is None:
        yield "the published temperature is unknown"
    elif point.generate.temperature != number.temperature:
        yield f"temperature {point.generate.temperature:g} instead of {number.temperature:g}"


def _has_published_model(point: PointConfig, number: Published) -> bool:
    """Whether it is the released model, or was trained by the published recipe from the same weights and data."""
    if point.model.kind is not ModelKind.HUB:
        return False
    if point.data.pool is None:
        return point.model.repo == number.model and not number.data
    base, data = (number.model, number.data) if number.data else TRAINED_FROM.get(number.model, ("", ""))
    return point.model.repo == base and _trains_on(point, data)


def _trains_on(point: PointConfig, data: str) -> bool:
    """Whether the point trains as published on exactly this dataset, without choosing rows of it."""
    pool, train, given = point.data.pool, point.train, point.data
    if pool is None or train is None or pool.kind is not PoolKind.HUB or pool.hub is None or pool.hub.repo != data:
        return False
    is_whole = given.selection.strategy is Strategy.ALL and not (given.teacher or given.filters or given.difficulty)
    is_recipe = (train.method, train.batch_size, train.learning_rate) == RECIPE and given.control is Control.NONE
    is_as_long = train.epochs == EPOCHS or (train.steps == STEPS_OF_1000_ROWS and pool.rows == 1000)
    return is_whole and is_recipe and is_as_long
