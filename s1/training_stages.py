"""Stages by which a model learns: from a pool of candidates to the examples, from these to a checkpoint.

pool -> [distilled] -> [clean] -> [labelled] ------------------> curated -> [conditioned] -> rendered -> checkpoint
                             `-> exam -> questions -> scores -----^  by solver                  start ---^
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from s1.config.data import Control, Data, Difficulty, GraderKind, Pool, PoolKind, Teacher
from s1.config.resources import JobKind, filled, resources_of, settings_of
from s1.config.schema import Budget, ConfigError, Forcing, Generate, Model, ModelKind, Train
from s1.data.conditional import step_start_of
from s1.evaluate.task_identity import wording
from s1.evaluation_stages import (
    EvaluationStages,
    GenerationSpec,
    evaluation_stages,
    local_file,
    questions_from,
    questions_stage,
)
from s1.local_rows import check_pool_rows
from s1.point import PointConfig
from s1.stages import (
    BaseModelConfig,
    ChatConfig,
    CheckpointConfig,
    ConditionedConfig,
    CuratedConfig,
    FilteredConfig,
    LabelledConfig,
    PoolConfig,
    QuestionsConfig,
    RenderedConfig,
    SolverRowsConfig,
)
from sweep.core.identity import Json
from sweep.core.stage import CodePolicy, FileInput, Input, Stage

MODEL_FILES = (".json", ".safetensors", ".jinja", ".txt", ".model")


@dataclass(frozen=True)
class TrainingStages:
    """What a checkpoint is made of."""

    checkpoint: Stage
    curated: Stage | None = None  # None: nothing is learned, the model stays as it is
    rendered: Stage | None = None  # the same as the model reads it
    base: Stage | None = None  # what training began from, if that was trained too
    solved: tuple[EvaluationStages, ...] = ()


def training_stages_of(x: PointConfig) -> TrainingStages:
    """The model that answers: as it is, or fine-tuned on its data."""
    base = pretrained_of(x, x.model)
    trained_before = base if x.model.pretraining else None
    if x.data.pool is None or x.train is None:
        return TrainingStages(base, base=trained_before)
    curated, solved = curated_of(x, x.data, x.model)
    examples = conditioned_of(x, curated, x.data.control)
    rendered = rendered_of(x.model, examples, x.train, x.data.control)
    checkpoint = sft_stage(x, base, rendered, x.train, f"{x.model.name} on {x.data.name}")
    return TrainingStages(checkpoint, curated, rendered, trained_before, solved)


# ----------------------------------------------------------------------------------------------- the examples


def curated_of(x: PointConfig, data: Data, model: Model) -> tuple[Stage, tuple[EvaluationStages, ...]]:
    """The chosen examples, and the solvers' part in the choice; in the order in which it happens."""
    if data.pool is None:
        raise ConfigError("data none: there is nothing to curate. Choose a data group with a pool.")
    rows = pool_of(data.pool)
    if data.teacher:
        rows = distilled_of(rows, data.teacher)
    if data.filters:
        rows = Stage(
            name="filtered",
            version=1,
            config=FilteredConfig(data.filters),
            run="s1.data.filter:filtered",
            inputs={"rows": (rows,), "against": tuple(map(questions_stage, data.evaluations.values()))},
            label=data.pool.name,
            code=CodePolicy.UPSTREAM,
        )
    candidates = rows
    if data.labels:
        rows = labelled_of(rows, data.labels.teacher)
    exam, solved = _solved(x, candidates, data.difficulty, data.grader)
    curated = Stage(
        name="curated",
        version=2,
        config=CuratedConfig(data.selection, data.grader, sorted(data.difficulty.solvers) if data.difficulty else []),
        run="s1.data.curate:curate",
        inputs={
            "rows": (rows,),
            "model": (base_model_of(model),),
            "solver_rows": exam,
            "scores": tuple(each.scores for each in solved),
        },
        label=data.name,
        code=CodePolicy.UPSTREAM,
    )
    return curated, solved


def pool_of(pool: Pool) -> Stage:
    """The candidates; a local file is known by its content, and how many rows a source has is only for the estimate."""
    files = (local_file("data.pool.file", pool.file or ""),) if pool.kind is PoolKind.FILE else ()
    if pool.kind is PoolKind.FILE:
        check_pool_rows(pool, Path(pool.file or "").expanduser())
    counted = pool.rows if pool.kind is PoolKind.DIAL else 0
    return Stage(
        name="pool",
        version=1,
        config=PoolConfig(replace(pool, rows=counted, file=None)),
        run="s1.data.pool:pool_rows",
        inputs={"file": files} if files else {},
        label=pool.name,
        code=CodePolicy.UPSTREAM,
        is_remote=pool.kind is PoolKind.HUB,
    )


def distilled_of(rows: Stage, teacher: Teacher) -> Stage:
    """The same questions with a teacher's traces."""
    return Stage(
        name="distilled",
        version=1,
        config=_asked_by(teacher),
        run="s1.data.chat_requests:distil",
        inputs={"rows": (rows,)},
        settings=_endpoint(teacher),
        label=teacher.model,
        code=CodePolicy.EXPENSIVE,
    )


def labelled_of(rows: Stage, teacher: Teacher) -> Stage:
    """The same rows with domains told by a model."""
    return Stage(
        name="labelled",
        version=1,
        config=LabelledConfig(_asked_by(teacher)),
        run="s1.data.chat_requests:labelled_rows",
        inputs={"rows": (rows,)},
        settings=_endpoint(teacher),
        label=teacher.model,
        code=CodePolicy.EXPENSIVE,
    )


def _solved(
    x: PointConfig, rows: Stage, difficulty: Difficulty | None, grader: GraderKind
) -> tuple[tuple[Stage, ...], tuple[EvaluationStages, ...]]:
    """What the solvers are asked, and how each of them did, by name."""
    if difficulty is None:
        return (), ()
    exam = Stage(
        name="solver_rows",
        version=1,
        config=SolverRowsConfig(grader),
        run="s1.data.difficulty:solver_rows",
        inputs={"rows": (rows,)},
        label="the pool's questions",
        code=CodePolicy.UPSTREAM,
    )
    questions = questions_from(
        (exam,), QuestionsConfig(difficulty.task, hub=None, limit=None, wording=wording(difficulty.task))
    )
    generate = Generate(samples=1, temperature=difficulty.temperature, top_p=1.0, seed=difficulty.seed, share=True)
    asked, generation = [], resources_of(JobKind.GENERATE, x.machine)
    for name, solver in sorted(difficulty.solvers.items()):
        budget = Budget(Forcing.NONE, None, 0, 0, "", answer_tokens=None)
        settings = settings_of(x.machine, x.cost, generation)
        label, shards = f"solver {name}", x.machine.shards
        manner = GenerationSpec(budget, generate, x.engine, settings, label, generation, shards, CodePolicy.UPSTREAM)
        asked.append(evaluation_stages(solver, pretrained_of(x, solver), difficulty.task, questions, manner))
    return (exam, questions), tuple(asked)


def conditioned_of(x: PointConfig, curated: Stage, control: Control) -> Stage:
    """The examples as they are, or a conditional-control set made of them."""
    if control is Control.NONE:
        return curated
    if control is Control.STEPS:
        step_start_of(x.model.thinking_format)  # refused before anything runs
    return Stage(
        name="conditioned",
        version=1,
        config=ConditionedConfig(control, x.model.thinking_format),
        run="s1.data.conditional:conditioned_rows",
        inputs={"rows": (curated,), "model": (base_model_of(x.model),)},
        label=control.value,
        code=CodePolicy.UPSTREAM,
    )


# -------------------------------------------------------------------------------------------------- the models


def pretrained_of(x: PointConfig, model: Model) -> Stage:
    """A model before fine-tuning: as it came, or, if it is a fresh one with a pretraining, after that."""
    start, school = base_model_of(model), model.pretraining
    if school is None:
        return start
    corpus = Pool("corpus", PoolKind.DIAL, school.examples, dial=school.dial, seed=school.seed)
    curated, _ = curated_of(x, Data("corpus", corpus, GraderKind.INTEGER), model)
    rendered = rendered_of(model, curated, school.train, Control.NONE)
    return sft_stage(x, start, rendered, school.train, f"{model.name}, pretraining")


def rendered_of(model: Model, examples: Stage, train: Train, control: Control) -> Stage:
    """The training text as token ids, audited; what is forced upon a model later plays no part in it."""
    taught = replace(model.thinking_format, forced_end="")
    return Stage(
        name="rendered",
        version=1,
        config=RenderedConfig(taught, train.block_size, train.overlong, control),
        run="s1.train.render:render",
        inputs={"rows": (examples,), "model": (base_model_of(model),)},
        label=examples.label,
        code=CodePolicy.UPSTREAM,
    )


def sft_stage(x: PointConfig, model: Stage, rendered: Stage, train: Train, label: str) -> Stage:
    """Training of one model on one set."""
    resources = resources_of(JobKind.SFT, filled(x.machine, train.batch_size))
    return Stage(
        name="checkpoint",
        version=2,
        config=CheckpointConfig(train),
        run="s1.train.sft:train",
        inputs={"model": (model,), "data": (rendered,)},
        settings=settings_of(x.machine, x.cost, resources),
        resources=resources,
        label=label,
        code=CodePolicy.EXPENSIVE,
    )


def base_model_of(model: Model) -> Stage:
    """A model as it came; a local directory is known by its content, whatever its place."""
    files: dict[str, tuple[Input, ...]] = {}
    if model.kind is ModelKind.DIRECTORY:
        files = {"files": tuple(FileInput.of(path) for path in _model_files(Path(model.repo or "")))}
    config = BaseModelConfig(
        kind=model.kind,
        repo=None if files else model.repo,
        revision=model.revision,
        file=model.file,
        architecture=model.architecture,
        dial=model.dial,
        seed=model.seed,
    )
    return Stage(
        name="base_model",
        version=1,
        config=config,
        run="s1.models.location:materialise",
        inputs=files,
        label=model.name,
        code=CodePolicy.UPSTREAM,
        is_remote=model.kind in (ModelKind.HUB, ModelKind.DIRECTORY),
    )


def _model_files(directory: Path) -> list[Path]:
    files = sorted(path for path in directory.glob("*") if path.suffix in MODEL_FILES)
    if not any(path.name == "config.json" for path in files):
        raise ConfigError(
            f"model.repo {str(directory)!r}: no config.json there. Give a directory in Hugging Face layout."
        )
    return files


def _asked_by(teacher: Teacher) -> ChatConfig:
    return ChatConfig(
        teacher.model, teacher.max_tokens, teacher.temperature, teacher.top_p, teacher.seed, teacher.system
    )


def _endpoint(teacher: Teacher) -> dict[str, Json]:
    return dict(asdict(teacher.endpoint))
