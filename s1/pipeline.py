"""The experiment, top to bottom: the stages of each point, and the report over all points.

    training     pool -> ... -> curated -> rendered -> checkpoint --+             (s1/training_stages.py)
                                                                    v
    evaluation                  problems -> questions ----------> traces -> scores --+      (s1/evaluation_stages.py)
    reward                [reward_examples -> reward_model -> rewards] ------^       |      (s1/reward_stages.py)
                                                                                     v
    report                                                      curve -> trace_archive -> report   (s1/report_stages.py)

Each point has its own training and evaluation stages; equal stages of several points are one. All points share the
curve and the report. `goal=data` ends after `curated` and `goal=checkpoint` after `checkpoint`, each with a report.

Together with the modules above, this is the only place where the science (s1) meets the machinery (sweep). Planning
stays fast because it imports no heavy library: stages name their functions by dotted path, and the workers import them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from s1 import cost
from s1.config.resources import JobKind, filled, resources_of, settings_of
from s1.config.schema import ConfigError
from s1.earlier_runs import EarlierRuns
from s1.estimates import (
    budget_notes,
    checkpoint_notes,
    contamination_notes,
    estimates_of,
    forecast_notes,
    generation_notes,
    machine_notes,
    memory_notes,
    shards_of,
    task_notes,
)
from s1.evaluate.task_files import read_task, task_file
from s1.evaluation_stages import EvaluationStages, GenerationSpec, evaluation_stages, questions_stage
from s1.generate import store_statistics
from s1.generate.engines import missing_libraries
from s1.generate.methods.registry import label_of_traces, method_of
from s1.pinning import Pinning, pinning_of
from s1.point import Goal, PointConfig
from s1.prefetch import prefetch
from s1.preflight_stages import preflight_stages
from s1.probe import probe_points
from s1.report.paper_rows import compared_with_paper
from s1.report.tables import as_written, shown
from s1.report_stages import ScoredStages, names_of, report_stage
from s1.reward_stages import reward_spec_of
from s1.rounds import (
    Round,
    Stop,
    check_target,
    described,
    finished_round,
    first_design,
    limits_of,
    next_design,
    read_precision,
)
from s1.stages import (
    ArchivedScores,
    CurveConfig,
    CurvePoint,
    FunnelConfig,
    ProbeConfig,
    ReportConfig,
    TrainingReportConfig,
)
from s1.track.followers import Followers
from s1.track.live import Live
from s1.track.plan_runs import run_plan
from s1.track.wandb_mirror import Mirror
from s1.training_stages import TrainingStages, base_model_of, training_stages_of
from sweep.core.identity import Json
from sweep.core.launch import LaunchKind
from sweep.core.pipeline import (
    CostEstimate,
    FinishedResult,
    Graph,
    MergeRequest,
    PublishedResult,
    Report,
    SweepRequest,
    Workers,
)
from sweep.core.shown import Shown, ShowRequest
from sweep.core.spending import Limits
from sweep.core.stage import CodePolicy, Stage
from sweep.store.directory import Store

Point = PointConfig  # the schema of a point, under the name that the machinery expects
shared = store_statistics.shared_statistics  # the machinery calls this for the folder that a batch of stages shares
repair_shared = store_statistics.repair_shared
MERGE_THREADS = 2  # of the curve and the report, which take seconds


@dataclass(frozen=True)
class PointStages:
    """The stages of one point."""

    training: TrainingStages
    evaluation: EvaluationStages


def graph(points: Sequence[PointConfig], request: SweepRequest) -> Graph:
    """Plan all points of a command together, with hub names replaced by the commits in pins.lock.

    With `statistics.target`, that is the next round (s1/rounds.py).
    """
    pinning = pinning_of(points, request)
    points = [pinning.pinned(point) for point in points]
    first = _common_settings(points)
    if first.statistics.target is None:
        return _graph(points, request, pinning)
    check_target(points)
    return _round(points, request, pinning)


def _round(points: Sequence[PointConfig], request: SweepRequest, pinning: Pinning) -> Graph:
    """The graph of the next round, or of the last if none is left."""
    store, finished = Store(request.store), list[Round]()
    limits, design, before, account = limits_of(points), first_design(points), None, ""
    while True:
        note = described(len(finished) + 1, design, first_design(points), points[0].statistics)
        found = replace(_graph(design.applied(points), request, pinning), is_in_rounds=True, account=account)
        account = found.accounted_at  # of the first round: limits hold for all rounds together
        is_done = store.is_done(found.artifact)
        if request.is_publishing and before is not None and not is_done:
            return before
        if not is_done or found.artifact.address == request.product:
            return replace(found, notes=[note, *found.notes])
        (curve,) = (each for each in found.artifact.inputs["curve"] if isinstance(each, Stage))
        scores = [each.key for each in curve.inputs["scores"] if isinstance(each, Stage)]
        precision = read_precision(store.directory(curve).out)
        finished.append(finished_round(design, precision, scores))
        following = next_design(finished, limits, points[0].statistics)
        if isinstance(following, Stop):
            return replace(found, notes=[note, f"no further round: {following.reason}.", *found.notes])
        design, before = following, found


def _graph(points: Sequence[PointConfig], request: SweepRequest, pinning: Pinning) -> Graph:
    """The graph of these points."""
    first = points[0]
    planned = [stages_of(point) for point in points]
    _require_one_machine_per_model(points, planned)
    final = FINAL_STAGES[first.goal]
    artifact = final.stage(first.name, points, planned, request)
    earlier = EarlierRuns(Store(request.store))
    estimates = estimates_of(points, planned, earlier)
    mirror = Mirror(
        track=first.track,
        result=first.name,
        store=request.store,
        store_id=request.store_id,
        hold=Followers(request.store / "wandb").sending,
        plan=lambda: run_plan(list(zip(points, planned, strict=True)), artifact, request.values, estimates),
    )
    live = Live(mirror, shards=lambda: _shards(planned))
    return Graph(
        name=first.name,
        artifact=artifact,
        table=final.table,
        workers=_workers(points),
        estimates=estimates,
        on_finished=lambda stage, path: live.finished(stage.address),
        live=live if first.track.wandb else None,
        points=len(points),
        remarks=cost.usage_lines,
        usage=cost.usage,
        notes=[
            *(forecast_notes(points, planned, earlier) if first.goal is not Goal.DATA else []),
            *(generation_notes(points) if first.goal is Goal.CURVE else []),
            *(memory_notes(points) if first.goal is not Goal.DATA else []),
            *(checkpoint_notes(points) if first.goal is not Goal.DATA else []),
            *contamination_notes(points),
            *task_notes(points),
            *budget_notes(points),
            *machine_notes(points),
        ],
        missing=_missing_requirements(points, planned),
        launch=first.launch,
        remake_limit_usd=first.cost.remake_limit_usd,
        limits=Limits(first.cost.limit_usd, first.cost.limit_device_hours),
        prefetch=prefetch,
        preflight=lambda stages, asked_at: preflight_stages(points, stages, _disk_bytes(stages, estimates), asked_at),
        probe=lambda questions, seed: _probe(points, ProbeConfig(questions, seed), request),
        unpinned=pinning.unpinned,
        pin=pinning.pin,
    )


def _disk_bytes(stages: Sequence[Stage], estimates: Mapping[str, CostEstimate]) -> int:
    """What stages leave in the store, as far as it is known."""
    return sum(estimates[each.address].disk_bytes or 0 for each in stages if each.address in estimates)


# ----------------------------------------------------------------------------------------------- one point


def stages_of(point: PointConfig) -> PointStages:
    """Train the model of a point, then evaluate it under the point's budget."""
    training = training_stages_of(point)
    resources = resources_of(JobKind.GENERATE, point.machine)
    spec = GenerationSpec(
        budget=point.budget,
        generate=point.generate,
        engine=point.engine,
        settings=settings_of(point.machine, point.cost, resources),
        label=label_of_traces(point.request),
        resources=resources,
        shards=shards_of(point),
        scores=CodePolicy.FINAL,
        reward=reward_spec_of(point),
    )
    questions = questions_stage(point.task)
    evaluation = evaluation_stages(point.model, training.checkpoint, point.task.name, questions, spec)
    return PointStages(training, evaluation)


# ---------------------------------------------------------------------------------- all points: the reports


def _curve_report(
    name: str, points: Sequence[PointConfig], planned: Sequence[PointStages], request: SweepRequest
) -> Stage:
    """Statistics over the scores of all points, and the page that shows them."""
    first = points[0]
    config = CurveConfig(
        points=[_curve_point(point, values, first) for point, values in zip(points, request.values, strict=True)],
        statistics=first.statistics,
        cost=first.cost.rates,
        compare=first.compare,
        paper=compared_with_paper(points, request.values),
    )
    _require_comparable(config)
    scored = [_scored(point, stages.evaluation) for point, stages in zip(points, planned, strict=True)]
    report = ReportConfig(name=name, claim=first.claim, command=request.command)
    return report_stage(config, report, scored, _curated(planned))


def _scored(point: PointConfig, evaluation: EvaluationStages) -> ScoredStages:
    """The stages of one point that the report reads."""
    stops = read_task(point.task.name, task_file(point.task.name)).stops
    return ScoredStages(
        scores=evaluation.scores,
        traces=evaluation.traces,
        questions=evaluation.questions,
        model=base_model_of(point.model),
        archived=ArchivedScores(point.task.name, list(stops), point.model.thinking_format),
        rewards=evaluation.rewards,
    )


def _curve_point(point: PointConfig, values: Mapping[str, Json], first: PointConfig) -> CurvePoint:
    """A point of the curve; with rates of its own where its machine has other ones than that of the first point."""
    return CurvePoint(
        label=method_of(point.request).label(point.request),
        values=dict(values),
        request=point.request,
        seed=point.seed,
        cost=point.cost.rates if point.cost.rates != first.cost.rates else None,
        has_rates=point.cost.holds_for(point.model.name),
    )


def _require_comparable(config: CurveConfig) -> None:
    """Raises ConfigError while planning if the report would have nothing to compare."""
    compare = config.compare
    if compare is None:
        return
    if compare.axis == "seed" and config.statistics.pool_seeds:
        raise ConfigError("compare.axis seed: seeds are pooled into one point. Set statistics.pool_seeds=false.")
    values = [each.values.get(compare.axis) for each in config.points]
    available = {"null" if each is None else str(each) for each in values}
    if compare.reference not in available:
        raise ConfigError(
            f"compare.reference {compare.reference}: no such value of {compare.axis}"
            f" (available: {', '.join(sorted(available))}). Choose one of them, or add points that have it."
        )


def _curated(planned: Sequence[PointStages]) -> list[Stage]:
    """The sets of training examples, each once."""
    sets = [stages.training.curated for stages in planned if stages.training.curated]
    return list({stage.key: stage for stage in sets}.values())


def _data_report(
    name: str, points: Sequence[PointConfig], planned: Sequence[PointStages], request: SweepRequest
) -> Stage:
    """How the examples of each data set were chosen; a set that several points use appears once."""
    curated = _curated(planned)
    if not curated:
        raise ConfigError("data none: nothing is curated. Choose a data group with a pool, or goal=curve.")
    return Stage(
        name="funnel",
        version=1,
        config=FunnelConfig(name=name, command=request.command, sets=names_of(curated)),
        run="s1.report.funnel:funnel",
        inputs={"curated": tuple(curated)},
        label=name,
        code=CodePolicy.FINAL,
    )


def _training_report(
    name: str, points: Sequence[PointConfig], planned: Sequence[PointStages], request: SweepRequest
) -> Stage:
    """How each checkpoint was trained; a checkpoint that several points use appears once."""
    trained = {stages.training.checkpoint.key: stages.training for stages in planned if stages.training.rendered}
    checkpoints = [training.checkpoint for training in trained.values()]
    rendered = tuple(training.rendered for training in trained.values() if training.rendered)
    if not rendered:
        raise ConfigError("data none: nothing is trained. Choose a data group with a pool, or goal=curve.")
    return Stage(
        name="training",
        version=1,
        config=TrainingReportConfig(name, request.command, names_of(checkpoints)),
        run="s1.report.training:training_report",
        inputs={"checkpoint": tuple(checkpoints), "rendered": rendered},
        label=name,
        code=CodePolicy.FINAL,
    )


class MakeFinalStage(Protocol):
    """Make the last stage of a command from all its points."""

    def __call__(
        self, name: str, points: Sequence[PointConfig], planned: Sequence[PointStages], request: SweepRequest, /
    ) -> Stage: ...


@dataclass(frozen=True)
class FinalStage:
    """The last stage of a command, and how to read its directory as a table."""

    stage: MakeFinalStage
    table: Callable[[Path], Sequence[Mapping[str, str]]]


FINAL_STAGES = {
    Goal.CURVE: FinalStage(_curve_report, lambda directory: shown(directory / "table.csv")),
    Goal.DATA: FinalStage(_data_report, lambda directory: as_written(directory / "funnel.csv")),
    Goal.CHECKPOINT: FinalStage(_training_report, lambda directory: as_written(directory / "training.csv")),
}


# --------------------------------------------------------------------------------------------------- a probe


def _probe(points: Sequence[PointConfig], config: ProbeConfig, request: SweepRequest) -> Graph:
    """Answer a few questions of each model and task at its largest point. Raises ConfigError if there is none.

    The traces are in the store that the points themselves use, and share its continuations where keys allow.
    """
    largest = probe_points(points, config)
    if not largest:
        raise ConfigError("probe: no point generates with budget forcing. Add one, such as budget=wait.")
    planned = [stages_of(point) for point in largest]
    traces = {stages.evaluation.traces.key: stages.evaluation.traces for stages in planned}
    return Graph(
        name="probe",
        artifact=Stage(
            name="probe",
            version=1,
            config=config,
            run="s1.probe:probe",
            inputs={"traces": tuple(traces.values())},
            label=f"{config.questions} questions",
            code=CodePolicy.UPSTREAM,
        ),
        table=lambda directory: [],
        workers=Workers(largest[0].machine.workers, largest[0].machine.threads),
        estimates=estimates_of(largest, planned, EarlierRuns(Store(request.store))),
        on_finished=lambda stage, path: None,
        points=len(largest),
        remarks=lambda summaries: [],
        usage=cost.usage,
        missing=_missing_requirements(largest, planned),
        launch=largest[0].launch,
        remake_limit_usd=largest[0].cost.remake_limit_usd,
        unpinned=pinning_of(largest, request).unpinned,
    )


# ------------------------------------------------------------------------------------------ written report


def report(result: PublishedResult) -> Report:
    """The written report of a scan: Markdown, or a Report on W&B."""
    from s1.track.send_report import ResultReport  # planning must not wait for numpy

    return ResultReport(result)


def merged(results: Sequence[FinishedResult], request: MergeRequest) -> Graph:
    """Plan the curve and the report over the points of finished results."""
    from s1.report.merge import merge  # imports numpy, for which planning a run must not wait

    found = merge(results, request)
    _require_comparable(found.curve)
    return Graph(
        name=request.name,
        artifact=report_stage(found.curve, found.report, found.scored, found.curated),
        table=FINAL_STAGES[Goal.CURVE].table,
        workers=Workers(1, MERGE_THREADS),
        estimates={},
        on_finished=lambda stage, path: None,
        points=len(found.curve.points),
        remarks=lambda summaries: [*cost.usage_lines(summaries), *found.remarks],
        usage=cost.usage,
        notes=found.remarks,
    )


def show(folder: Path, request: ShowRequest) -> Shown:
    """Show a published result in a terminal, from its folder alone. Raises InputError for what it lacks."""
    from s1.report.show import show as shown_of

    return shown_of(folder, request)


# ------------------------------------------------------------------------------------ checks and tracking


def _missing_requirements(points: Sequence[PointConfig], planned: Sequence[PointStages]) -> dict[str, list[str]]:
    """Why this machine cannot run a stage, by stage address; an empty list where it can."""
    missing: dict[str, list[str]] = {}
    for point, stages in zip(points, planned, strict=True):
        missing[stages.training.checkpoint.address] = [*cost.does_not_fit(point), *_too_many_nodes(point)]
        for evaluation in (stages.evaluation, *stages.training.solvers):
            for generated in evaluation.traces.shards or (evaluation.traces,):
                missing[generated.address] = [*missing_libraries(point.engine), *cost.cannot_generate(point)]
    return missing


def _too_many_nodes(point: PointConfig) -> list[str]:
    if (
        point.launch.kind is not LaunchKind.LOCAL
        or point.train is None
        or filled(point.machine, point.train.batch_size).nodes == 1
    ):
        return []
    return [f"machine.nodes {point.machine.nodes}: launch=local runs on this machine alone. Choose launch=slurm."]


def _shards(planned: Sequence[PointStages]) -> dict[str, list[str]]:
    """Addresses of the shards of each stage of traces that is split."""
    traces = [stages.evaluation.traces for stages in planned]
    return {each.address: [shard.address for shard in each.shards] for each in traces if each.shards}


def _workers(points: Sequence[PointConfig]) -> Workers:
    """Local workers: as few, and with as many threads each, as any machine of the points says."""
    return Workers(min(point.machine.workers for point in points), max(point.machine.threads for point in points))


def _require_one_machine_per_model(points: Sequence[PointConfig], planned: Sequence[PointStages]) -> None:
    """Raises ConfigError if points that one process generates for name different machines."""
    machines: dict[str | None, PointConfig] = {}
    for point, stages in zip(points, planned, strict=True):
        other = machines.setdefault(stages.evaluation.traces.batch, point)
        if other.machine != point.machine:
            fields = ", ".join(
                name for name, value in vars(point.machine).items() if getattr(other.machine, name) != value
            )
            name = point.model.name
            raise ConfigError(
                f"machine: differs between points of model={name}, in {fields}, but one process loads a model for all"
                f" of its points. Name one machine for each model: machine_of={{{name}:NAME}}."
            )


def _common_settings(points: Sequence[PointConfig]) -> PointConfig:
    """The first point. Raises ConfigError if points differ in a setting of which a command has only one."""
    first = points[0]
    for field in ("name", "goal", "compare", "paper", "launch", "track", "statistics"):
        if any(getattr(point, field) != getattr(first, field) for point in points):
            raise ConfigError(f"{field}: differs between points. Set it once, not as an axis or in `also`.")
    for field in (name for name in vars(first.cost) if name.startswith("limit_")):  # they bound the whole command
        if any(getattr(point.cost, field) != getattr(first.cost, field) for point in points):
            raise ConfigError(f"cost.{field}: differs between points. Set it once, not as an axis or in `also`.")
    return first
