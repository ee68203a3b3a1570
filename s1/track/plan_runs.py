"""The runs of a plan: what W&B will show of its points, before anything is made. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from s1.evaluation_stages import EvaluationStages
from s1.generate.methods.registry import method_of
from s1.point import PointConfig
from s1.stages import CurvePoint
from s1.track.costs import PlannedStage, planned_stage
from s1.track.runs import JobType
from s1.track.tracked import (
    Tracked,
    checkpoint_config,
    checkpoint_name,
    distinguished,
    point_config,
    point_name,
    summary_config,
    tags_of,
)
from s1.training_stages import TrainingStages
from sweep.core.identity import Json
from sweep.core.pipeline import CostEstimate
from sweep.core.stage import Stage

REPORT = "report"  # the final stage that has a summary run
TRAINED = "checkpoint"  # the stages that have a run each; a base model that is only loaded has none


class PlannedPoint(Protocol):
    """The stages of one point."""

    @property
    def training(self) -> TrainingStages: ...
    @property
    def evaluation(self) -> EvaluationStages: ...


Planned = Sequence[tuple[PointConfig, PlannedPoint]]


@dataclass(frozen=True)
class RunPlan:
    """All runs of a result, and the stages behind it."""

    runs: Sequence[Tracked]
    stages: Mapping[str, PlannedStage]  # by address


def run_plan(
    planned: Planned, artifact: Stage, values: Sequence[Mapping[str, Json]], estimates: Mapping[str, CostEstimate]
) -> RunPlan:
    """Runs of the stages behind a result: a sweep that ends with its training has no points."""
    stages = planned_stages(artifact, estimates)
    return RunPlan([run for run in runs_of(planned, artifact, values) if run.stage in stages], stages)


def runs_of(planned: Planned, artifact: Stage, values: Sequence[Mapping[str, Json]]) -> list[Tracked]:
    """One run per trained checkpoint, one per point and seed, and one for the report; `values`: of each point."""
    curve = _input_address(artifact, "curve")
    checkpoints = [run for point, stages in planned for run in _checkpoints(point, stages.training)]
    scored = [
        _point(point, stages.evaluation, its, curve) for (point, stages), its in zip(planned, values, strict=True)
    ]
    unique: dict[str, Tracked] = {}
    for run in (*checkpoints, *scored):
        unique.setdefault(run.run_key, run)  # the first point names what several share
    named = distinguished(list(unique.values()))
    return [*named, *([_summary(planned, artifact, values)] if artifact.name == REPORT else [])]


def planned_stages(artifact: Stage, estimates: Mapping[str, CostEstimate]) -> dict[str, PlannedStage]:
    """Every stage behind a result by address; shards count with the stage that joins them."""
    found: dict[str, PlannedStage] = {}
    waiting = [artifact]
    while waiting:
        stage = waiting.pop()
        if stage.address not in found:
            found[stage.address] = planned_stage(stage, estimates)
            waiting.extend(each for each in stage.dependencies() if each not in stage.shards)
    return found


def _checkpoints(point: PointConfig, training: TrainingStages) -> Iterator[Tracked]:
    recipes = (
        (training.base, point.model.pretraining and point.model.pretraining.train),
        (training.checkpoint, point.train),
    )
    for stage, recipe in recipes:
        if stage is None or stage.name != TRAINED or recipe is None:
            continue
        inputs = {role: (_input_address(stage, role),) for role in ("data", "model")}
        yield Tracked(
            job_type=JobType.CHECKPOINT,
            stage=stage.address,
            name=checkpoint_name(stage.label, recipe),
            tags=tags_of([point]),
            notes=point.claim,
            config=checkpoint_config(point, recipe),
            inputs={**_known(inputs), "checkpoint": (stage.address,)},
        )


def _point(point: PointConfig, evaluation: EvaluationStages, values: Mapping[str, Json], curve: str | None) -> Tracked:
    label = method_of(point.request).label(point.request)
    traces, scores = evaluation.traces, evaluation.scores
    inputs = {
        "model": (_input_address(traces, "model"),),
        "questions": (evaluation.questions.address,),
        "traces": (traces.address,),
        "scores": (scores.address,),
        "curve": (curve,),
    }
    return Tracked(
        job_type=JobType.POINT,
        stage=scores.address,
        name=point_name(point, label),
        tags=tags_of([point]),
        notes=point.claim,
        config=point_config(point),
        inputs=_known(inputs),
        point=CurvePoint(
            label, dict(values), point.request, point.seed, has_rates=point.cost.holds_for(point.model.name)
        ),
        statistics=point.statistics,
        cost=point.cost.rates,
    )


def _summary(planned: Planned, artifact: Stage, values: Sequence[Mapping[str, Json]]) -> Tracked:
    points = [point for point, _ in planned]
    scores = dict.fromkeys(stages.evaluation.scores.address for _, stages in planned)
    inputs = {role: (_input_address(artifact, role),) for role in ("curve", "archive")}
    return Tracked(
        job_type=JobType.SUMMARY,
        stage=artifact.address,
        name=points[0].name,
        tags=tags_of(points),
        notes=points[0].claim,
        config=summary_config(points, values),
        inputs={"scores": tuple(scores), **_known(inputs)},
    )


def _input_address(stage: Stage, role: str) -> str | None:
    """Address of the first input of a role that is a stage; None: it has none."""
    return next((each.address for each in stage.inputs.get(role, ()) if isinstance(each, Stage)), None)


def _known(inputs: Mapping[str, tuple[str | None, ...]]) -> dict[str, tuple[str, ...]]:
    return {role: its for role, given in inputs.items() if (its := tuple(each for each in given if each))}
