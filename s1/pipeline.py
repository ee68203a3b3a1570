"""The spine: from one typed point to its stages, and from all points to the curve. Read it top to bottom.

    problems ---> questions ---------------+----------> answers ---> scores ---+
    start ------> checkpoint --------------+                                   +---> curve ---> report
    curated ----/                        (one of these two lines per point) ---+

The only file that joins the science (s1) with the machinery (sweep). It imports no heavy library: stage functions are
named by dotted path and imported by the worker that runs them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s1 import cost
from s1.config import ConfigError, Data, DataKind, Model, ModelKind, Task
from s1.experiment import Experiment
from s1.generate import census
from s1.generate.engines import installed, lacking
from s1.labels import label_of, result_name
from s1.report.table import shown
from s1.stages import Answering, Curated, Curve, CurvePoint, Problems, Questions, Report, Scoring, Sft, Start
from s1.track import Mirror, Tracked
from sweep.contract import Estimate, Graph, Request, Workers
from sweep.identity import Json, canonical, key_of
from sweep.stage import FileInput, Input, Stage

Point = Experiment
shared, mend_shared = census.describe, census.mend  # what the stages of a batch keep together

TASKS = Path(__file__).parent / "evaluate" / "tasks"
MODEL_FILES = (".json", ".safetensors", ".jinja", ".txt", ".model")
ANSWERS = 1  # version of the answers stage, and of the tokens it leaves for others to continue


@dataclass(frozen=True)
class PointStages:
    """The stages of one point that others read."""

    checkpoint: Stage
    questions: Stage
    answers: Stage
    scores: Stage


def graph(points: Sequence[Experiment], request: Request) -> Graph:
    """All points of one command, planned together."""
    first = _agreed(points)
    name = result_name(first.name, request.chosen)
    built = [stages_of(x) for x in points]
    curve = Stage(
        name="curve",
        version=2,
        config=Curve(
            points=[_curve_point(x, set_here) for x, set_here in zip(points, request.values, strict=True)],
            statistics=first.statistics,
            cost=first.cost,
        ),
        run="s1.report.curve:curve",
        inputs={"scores": tuple(each.scores for each in built), "answers": tuple(each.answers for each in built)},
        label=f"{len(points)} points",
    )
    report = Stage(
        name="report",
        version=2,
        config=Report(name=name, claim=first.claim, command=request.command),
        run="s1.report.page:report",
        inputs={"curve": (curve,)},
        label=name,
    )
    tracked = _tracked(points, built)
    mirror = Mirror(first.track, group=name, directory=request.store / "wandb")
    return Graph(
        name=name,
        product=report,
        table=lambda directory: shown(directory / "table.csv"),
        workers=Workers(first.machine.workers, first.machine.threads),
        estimates=_estimates(points, built, [curve, report]),
        on_finished=lambda stage, path: _mirror(mirror, tracked, stage, path),
        points=len(points),
        remarks=cost.usage,
        lacking=sorted({line for x in points for line in lacking(x.engine)}),
    )


def stages_of(x: Experiment) -> PointStages:
    """One point, in the order in which it happens."""
    rows, wording = rows_of(x.task), wording_of(x.task)
    questions = Stage(
        name="questions",
        version=1,
        config=Questions(task=x.task.name, hub=x.task.hub if not rows else None, limit=x.task.limit),
        run="s1.evaluate.questions:questions",
        inputs={"rows": rows, "task": wording},
        label=x.task.name,
    )
    checkpoint = checkpoint_of(x)
    libraries = installed(x.engine.kind)
    answering = Answering(x.budget, x.model.dialect, x.engine, libraries, x.generate, x.model.context_tokens)
    answers = Stage(
        name="answers",
        version=ANSWERS,
        config=answering,
        run="s1.generate.answers:answer",
        inputs={"model": (checkpoint,), "questions": (questions,)},
        settings=_settings(x),
        batch=key_of({"version": ANSWERS, "model": checkpoint.key, "engine": x.engine, "libraries": libraries}),
        label=label_of(x),
    )
    scores = Stage(
        name="scores",
        version=1,
        config=Scoring(task=x.task.name, samples=x.generate.samples),
        run="s1.evaluate.score:score",
        inputs={"answers": (answers,), "questions": (questions,), "task": wording},
        batch=key_of([questions.key, checkpoint.key]),
        label=label_of(x),
    )
    return PointStages(checkpoint, questions, answers, scores)


def rows_of(task: Task) -> tuple[Input, ...]:
    """Where a task's rows come from: a local file, a rule, or (none here) the hub."""
    if task.data_file is not None:
        path = Path(task.data_file).expanduser()
        if not path.is_file():
            raise ConfigError(f"task.data_file {task.data_file!r}: no such file. Give the path of a JSON-lines file.")
        return (FileInput.of(path),)
    if task.dial is None:
        return ()
    problems = Problems(dial=task.dial, problems=task.problems, seed=task.seed)
    return (
        Stage(name="problems", version=1, config=problems, run="s1.data.rows:problems", label=f"{task.problems} dial"),
    )


def wording_of(task: Task) -> tuple[Input, ...]:
    """The task's YAML files: what they say is part of what is asked and how it is graded."""
    files = (TASKS / f"{task.name}.yaml", TASKS / "_shared.yaml")
    if not files[0].is_file():
        known = ", ".join(sorted(path.stem for path in TASKS.glob("[a-z]*.yaml")))
        raise ConfigError(f"task.name {task.name!r}: no such task. Known: {known}.")
    return tuple(map(FileInput.of, files))


def checkpoint_of(x: Experiment) -> Stage:
    """The model that answers: as it is, or fine-tuned on the data."""
    start = start_of(x.model, x.data)
    if x.data.kind is DataKind.NONE or x.train is None:
        return start
    config = Curated(dial=x.data.dial, examples=x.data.examples, seed=x.data.seed)
    curated = Stage(name="curated", version=1, config=config, run="s1.data.rows:curate", label=x.data.name)
    return Stage(
        name="checkpoint",
        version=1,
        config=Sft(train=x.train, dialect=x.model.dialect),
        run="s1.train.sft:train",
        inputs={"model": (start,), "data": (curated,)},
        settings=_settings(x),
        label=f"{x.model.name} on {x.data.name}",
    )


def start_of(model: Model, data: Data) -> Stage:
    """The model before fine-tuning; a local directory is known by its content, whatever its place."""
    files: dict[str, tuple[Input, ...]] = {}
    if model.kind is ModelKind.DIRECTORY:
        files = {"files": tuple(FileInput.of(path) for path in _model_files(Path(model.repo or "")))}
    config = Start(
        kind=model.kind,
        repo=None if files else model.repo,
        revision=model.revision,
        file=model.file,
        architecture=model.architecture,
        dial=data.dial if model.kind is ModelKind.FRESH else None,
        seed=model.seed,
    )
    return Stage(
        name="start", version=1, config=config, run="s1.train.start:materialise", inputs=files, label=model.name
    )


def _curve_point(x: Experiment, values: Mapping[str, Json]) -> CurvePoint:
    return CurvePoint(
        label=label_of(x),
        values=dict(values),
        max_thinking_tokens=x.budget.max_thinking_tokens,
        min_thinking_tokens=x.budget.min_thinking_tokens,
        waits=x.budget.waits,
    )


def _model_files(directory: Path) -> list[Path]:
    files = sorted(path for path in directory.glob("*") if path.suffix in MODEL_FILES)
    if not any(path.name == "config.json" for path in files):
        raise ConfigError(
            f"model.repo {str(directory)!r}: no config.json there. Give a directory in Hugging Face layout."
        )
    return files


def _settings(x: Experiment) -> dict[str, Json]:
    return {
        "device": x.machine.device,
        "micro_batch": x.machine.micro_batch,
        "checkpoint_every_steps": x.machine.checkpoint_every_steps,
        "context_tokens": x.model.context_tokens,
        "slots": x.machine.slots,
        "cache_gib": x.machine.cache_gib,
        "prefix_caching": x.machine.prefix_caching,
        "data_parallel": x.machine.data_parallel,
        "usd_per_hour": x.cost.usd_per_device_hour * max(1, x.machine.gpus),
    }


def _agreed(points: Sequence[Experiment]) -> Experiment:
    """The first point, once all agree on what one command can have only one of."""
    first = points[0]
    for field in ("name", "machine", "launch", "track", "cost", "statistics"):
        if any(getattr(x, field) != getattr(first, field) for x in points):
            raise ConfigError(f"{field}: differs between the points of one command. Give it once, outside the axes.")
    return first


def _estimates(
    points: Sequence[Experiment], built: Sequence[PointStages], last: Sequence[Stage]
) -> dict[str, Estimate]:
    """What each stage is expected to cost; stages that share a batch share its thinking."""
    estimates = {stage.address: cost.overhead(points[0].cost) for stage in last}
    batches: dict[str, list[tuple[Experiment, PointStages]]] = {}
    for x, stages in zip(points, built, strict=True):
        if x.data.kind is not DataKind.NONE:
            estimates[stages.checkpoint.address] = cost.training(x)
        shared = key_of([stages.answers.batch, stages.questions.key, x.generate, x.model.dialect])
        batches.setdefault(shared, []).append((x, stages))
    for members in batches.values():
        xs = [x for x, _ in members]
        for (_, stages), estimate in zip(members, cost.generation(xs, _question_count(xs[0].task)), strict=True):
            estimates[stages.answers.address] = estimate
    return estimates


def _question_count(task: Task) -> int:
    if task.data_file is not None:
        with Path(task.data_file).expanduser().open("rb") as file:
            count = sum(1 for line in file if line.strip())
    else:
        count = task.problems
    return min(count, task.limit) if task.limit else count


def _mirror(mirror: Mirror, points: Mapping[str, Experiment], stage: Stage, path: Path) -> None:
    """One W&B run per checkpoint and per point, and the summary; each with the whole configuration it belongs to."""
    if stage.name == "report":
        mirror.summary(Tracked("report", stage.key, stage.label, {"stage": stage.identity()}), path)
    elif stage.address in points:
        config = {"stage": stage.identity(), **dataclasses.asdict(points[stage.address])}
        mirror.stage(Tracked(stage.name, stage.key, stage.label, canonical(config)), path)


def _tracked(points: Sequence[Experiment], built: Sequence[PointStages]) -> dict[str, Experiment]:
    """The stages that are runs, and the first point that each belongs to."""
    tracked: dict[str, Experiment] = {}
    for x, stages in zip(points, built, strict=True):
        for stage in (stages.checkpoint, stages.scores):
            tracked.setdefault(stage.address, x)
    return tracked
