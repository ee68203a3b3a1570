"""The spine: from one typed point to its stages, and from all points to the curve. Read it top to bottom.

    lesson (s1/training_stages.py)   pool -> ... -> curated -> rendered -> checkpoint ----+
                                                                                   +--> curve --> report
    asked (s1/evaluation_stages.py)      problems -> questions -> answers -> scores ----------+
                              (one of these two lines per point; a goal of data ends at curated, in a report of its own)

With s1/evaluation_stages.py and s1/training_stages.py the only place that joins the science (s1) with the machinery
(sweep). No heavy
library is imported: stage functions are named by dotted path and imported by the worker that runs them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from s1 import cost
from s1.config.resources import JobKind, filled, resources_of, settings_of
from s1.config.schema import ConfigError
from s1.estimates import contamination_notes, estimates_of, memory_notes, shards_of, task_notes
from s1.evaluation_stages import EvaluationStages, GenerationSpec, evaluation_stages, questions_stage
from s1.generate import store_statistics
from s1.generate.engines import missing_libraries
from s1.generate.methods.registry import code_roots, method_of
from s1.pinning import pinning_of
from s1.point import Goal, PointConfig
from s1.prefetch import prefetch
from s1.report.tables import as_written, shown
from s1.size_notes import budget_notes, machine_notes
from s1.stages import CurveConfig, CurvePoint, FunnelConfig, ReportConfig, TrainingReportConfig
from s1.track.wandb_mirror import Mirror, Tracked
from s1.training_stages import TrainingStages, training_stages_of
from sweep.core.identity import Json, canonical
from sweep.core.pipeline import Graph, LaunchKind, SweepRequest, Workers
from sweep.core.stage import CodePolicy, Stage

Point = PointConfig
shared, repair_shared = (
    store_statistics.shared_statistics,
    store_statistics.repair_shared,
)  # what the stages of a batch keep together


@dataclass(frozen=True)
class PointStages:
    """The stages of one point that others read."""

    lesson: TrainingStages
    asked: EvaluationStages


def graph(points: Sequence[PointConfig], request: SweepRequest) -> Graph:
    """All points of one command, planned together, at the commits that pins.lock has for their names."""
    pinning = pinning_of(points, request)
    points = [pinning.pinned(x) for x in points]
    first = _agreed(points)
    built = [stages_of(x) for x in points]
    product = FINAL_STAGES[first.goal]
    asked = product.stage(first.name, points, built, request)
    tracked = _tracked(points, built)
    mirror = Mirror(first.track, group=first.name, directory=request.store / "wandb", store_id=request.store_id)
    return Graph(
        name=first.name,
        product=asked,
        table=product.table,
        workers=Workers(first.machine.workers, first.machine.threads),
        estimates=estimates_of(points, built),
        on_finished=lambda stage, path: _mirror(mirror, tracked, stage, path),
        points=len(points),
        remarks=cost.usage_lines,
        notes=[
            *(memory_notes(points) if first.goal is not Goal.DATA else []),
            *contamination_notes(points),
            *task_notes(points),
            *budget_notes(points),
            *machine_notes(points),
        ],
        missing=_lacking(points, built),
        launch=first.launch,
        limit_usd=first.cost.limit_usd,
        prefetch=prefetch,
        unpinned=pinning.unpinned,
        pin=pinning.pin,
    )


def stages_of(x: PointConfig) -> PointStages:
    """One point, in the order in which it happens."""
    lesson = training_stages_of(x)
    generation = resources_of(JobKind.GENERATE, x.machine)
    settings = settings_of(x.machine, x.cost, generation)
    label, shards = method_of(x.request).label(x.request), shards_of(x)
    manner = GenerationSpec(x.budget, x.generate, x.engine, settings, label, generation, shards, CodePolicy.FINAL)
    return PointStages(
        lesson, evaluation_stages(x.model, lesson.checkpoint, x.task.name, questions_stage(x.task), manner)
    )


def names_of(stages: Sequence[Stage]) -> list[str]:
    """Their labels; those that several share with the key."""
    labels = [stage.label for stage in stages]
    return [each.label if labels.count(each.label) == 1 else f"{each.label} {each.key}" for each in stages]


def _curve_report(
    name: str, points: Sequence[PointConfig], built: Sequence[PointStages], request: SweepRequest
) -> Stage:
    first = points[0]
    _require_comparable(first, request)
    curve = Stage(
        name="curve",
        version=4,
        config=CurveConfig(
            points=[_curve_point(x, set_here) for x, set_here in zip(points, request.values, strict=True)],
            statistics=first.statistics,
            cost=first.cost.rates,
            compare=first.compare,
        ),
        run="s1.report.curve:curve",
        inputs={
            "scores": tuple(each.asked.scores for each in built),
            "traces": tuple(each.asked.answers for each in built),
        },
        label=f"{len(points)} points",
        code=CodePolicy.FINAL,
        code_roots=code_roots(),
    )
    return Stage(
        name="report",
        version=4,
        config=ReportConfig(name=name, claim=first.claim, command=request.command),
        run="s1.report.page:report",
        inputs={"curve": (curve,)},
        label=name,
        code=CodePolicy.FINAL,
        code_roots=code_roots(),
    )


def _curve_point(x: PointConfig, values: Mapping[str, Json]) -> CurvePoint:
    return CurvePoint(
        label=method_of(x.request).label(x.request),
        values=dict(values),
        request=x.request,
        seed=x.seed,
    )


def _require_comparable(first: PointConfig, request: SweepRequest) -> None:
    """Raises ConfigError, before anything runs, where the report would find nothing to compare."""
    compare = first.compare
    if compare is None:
        return
    if compare.axis == "seed" and first.statistics.pool_seeds:
        raise ConfigError("compare.axis seed: seeds are pooled into one point. Set statistics.pool_seeds=false.")
    there = {"null" if each.get(compare.axis) is None else str(each[compare.axis]) for each in request.values}
    if compare.reference not in there:
        raise ConfigError(
            f"compare.reference {compare.reference}: no such value of {compare.axis}"
            f" (there: {', '.join(sorted(there))}). Choose one of them, or add points that have it."
        )


def _data_report(
    name: str, points: Sequence[PointConfig], built: Sequence[PointStages], request: SweepRequest
) -> Stage:
    """How the examples were chosen, for each data set of the command once."""
    curated = {each.lesson.curated.key: each.lesson.curated for each in built if each.lesson.curated}
    if not curated:
        raise ConfigError("data none: nothing is curated. Choose a data group with a pool, or goal=curve.")
    return Stage(
        name="funnel",
        version=1,
        config=FunnelConfig(name=name, command=request.command, sets=names_of(list(curated.values()))),
        run="s1.report.funnel:funnel",
        inputs={"curated": tuple(curated.values())},
        label=name,
        code=CodePolicy.FINAL,
    )


def _training_report(
    name: str, points: Sequence[PointConfig], built: Sequence[PointStages], request: SweepRequest
) -> Stage:
    """How models were trained, each checkpoint of the command once."""
    lessons = {each.lesson.checkpoint.key: each.lesson for each in built if each.lesson.rendered}
    rendered = tuple(lesson.rendered for lesson in lessons.values() if lesson.rendered)
    if not rendered:
        raise ConfigError("data none: nothing is trained. Choose a data group with a pool, or goal=curve.")
    return Stage(
        name="training",
        version=1,
        config=TrainingReportConfig(
            name, request.command, names_of([lesson.checkpoint for lesson in lessons.values()])
        ),
        run="s1.report.training:training_report",
        inputs={"checkpoint": tuple(lesson.checkpoint for lesson in lessons.values()), "rendered": rendered},
        label=name,
        code=CodePolicy.FINAL,
    )


class MakeFinalStage(Protocol):
    """The last stage of a command, from all its points."""

    def __call__(
        self, name: str, points: Sequence[PointConfig], built: Sequence[PointStages], request: SweepRequest, /
    ) -> Stage: ...


@dataclass(frozen=True)
class FinalStage:
    """What a command ends in, and how its directory is shown as a table."""

    stage: MakeFinalStage
    table: Callable[[Path], Sequence[Mapping[str, str]]]


FINAL_STAGES = {
    Goal.CURVE: FinalStage(_curve_report, lambda directory: shown(directory / "table.csv")),
    Goal.DATA: FinalStage(_data_report, lambda directory: as_written(directory / "funnel.csv")),
    Goal.CHECKPOINT: FinalStage(_training_report, lambda directory: as_written(directory / "training.csv")),
}


def _lacking(points: Sequence[PointConfig], built: Sequence[PointStages]) -> dict[str, list[str]]:
    """What this machine has not, by the stages that want it."""
    wanted: dict[str, list[str]] = {}
    for x, stages in zip(points, built, strict=True):
        wanted[stages.lesson.checkpoint.address] = [*cost.does_not_fit(x), *_too_many_nodes(x)]
        for asked in (stages.asked, *stages.lesson.solved):
            for generated in asked.answers.shards or (asked.answers,):
                wanted[generated.address] = missing_libraries(x.engine)
    return wanted


def _too_many_nodes(x: PointConfig) -> list[str]:
    if x.launch.kind is not LaunchKind.LOCAL or x.train is None or filled(x.machine, x.train.batch_size).nodes == 1:
        return []
    return [f"machine.nodes {x.machine.nodes}: launch=local runs on this machine alone. Choose launch=slurm."]


def _agreed(points: Sequence[PointConfig]) -> PointConfig:
    """The first point, once all agree on what one command can have only one of."""
    first = points[0]
    for field in ("name", "goal", "compare", "machine", "launch", "track", "cost", "statistics"):
        if any(getattr(x, field) != getattr(first, field) for x in points):
            raise ConfigError(f"{field}: differs between the points of one command. Give it once, outside the axes.")
    return first


def _mirror(mirror: Mirror, points: Mapping[str, PointConfig], stage: Stage, path: Path) -> None:
    """One W&B run per checkpoint and per point, and the summary; each with the whole configuration it belongs to."""
    if stage.name == "report":
        mirror.summary(Tracked("report", stage.key, stage.label, {"stage": stage.identity()}), path)
    elif stage.address in points:
        config = {"stage": stage.identity(), **dataclasses.asdict(points[stage.address])}
        plain = cast(dict[str, Json], canonical(config))  # of a table, one
        mirror.stage(Tracked(stage.name, stage.key, stage.label, plain), path)


def _tracked(points: Sequence[PointConfig], built: Sequence[PointStages]) -> dict[str, PointConfig]:
    """The stages that are runs, and the first point that each belongs to."""
    tracked: dict[str, PointConfig] = {}
    for x, stages in zip(points, built, strict=True):
        for stage in (stages.lesson.checkpoint, stages.asked.scores):
            tracked.setdefault(stage.address, x)
    return tracked
