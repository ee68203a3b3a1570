"""Training stages: from a pool of candidates to training examples, and from these to a checkpoint.

pool -> [distilled] -> [filtered] -> [labelled] ------------> curated -> [conditioned] -> rendered -> checkpoint
                           |                                    ^                        base_model ----^
                           +-> [solver_rows -> questions -> traces -> scores, for each solver]

Stages in brackets exist only if the point configures them. A mixture has a pool for each of its sources, and a stage
`mixture` that joins them in the place of `pool`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from s1.config.data import Control, Data, Difficulty, GraderKind, Pool, PoolKind, PoolSource, Teacher
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
from s1.models.thinking_format import of_training
from s1.point import PointConfig
from s1.stages import (
    BaseModelConfig,
    ChatConfig,
    CheckpointConfig,
    ConditionedConfig,
    CuratedConfig,
    FilteredConfig,
    LabelledConfig,
    MixtureConfig,
    PoolConfig,
    QuestionsConfig,
    RenderedConfig,
    SolverRowsConfig,
    SourceWeight,
)
from sweep.core.identity import Json
from sweep.core.stage import CodePolicy, FileInput, Input, Stage
from sweep.places import expanded

MODEL_FILES = (".json", ".safetensors", ".jinja", ".txt", ".model")


@dataclass(frozen=True)
class TrainingStages:
    """The checkpoint of a point, and the stages that lead to it."""

    checkpoint: Stage  # without fine-tuning, the base model
    curated: Stage | None = None  # the examples; None: no fine-tuning
    rendered: Stage | None = None  # the examples as token ids
    base: Stage | None = None  # the base model after pretraining; None: this sweep does not pretrain it
    solvers: tuple[EvaluationStages, ...] = ()  # evaluations that measure difficulty, one per solver


def training_stages_of(point: PointConfig) -> TrainingStages:
    """The model of a point: fine-tuned on its data, or the base model if it names no data or no recipe."""
    base = pretrained_of(point, point.model)
    pretrained = base if point.model.pretraining else None
    if point.data.pool is None or point.train is None:
        return TrainingStages(base, base=pretrained)
    curated, solvers = curated_of(point, point.data, point.model)
    examples = conditioned_of(point, curated, point.data.control)
    rendered = rendered_of(point.model, examples, point.train, point.data.control)
    checkpoint = sft_stage(point, base, rendered, point.train, f"{point.model.name} on {point.data.name}")
    return TrainingStages(checkpoint, curated, rendered, pretrained, solvers)


# ----------------------------------------------------------------------------------------------- the examples


def curated_of(point: PointConfig, data: Data, model: Model) -> tuple[Stage, tuple[EvaluationStages, ...]]:
    """Choose the training examples, step by step. Also returns the evaluations of the solvers, for their cost."""
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
    solver_rows, solvers = _solver_evaluations(point, candidates, data.difficulty, data.grader)
    curated = Stage(
        name="curated",
        version=2,
        config=CuratedConfig(data.selection, data.grader, sorted(data.difficulty.solvers) if data.difficulty else []),
        run="s1.data.curate:curate",
        inputs={
            "rows": (rows,),
            "model": (base_model_of(model),),
            "solver_rows": solver_rows,
            "scores": tuple(solver.scores for solver in solvers),
        },
        label=data.name,
        code=CodePolicy.UPSTREAM,
    )
    return curated, solvers


def pool_of(pool: Pool) -> Stage:
    """The candidates for training: the rows of one source, or of several in proportion to their weights."""
    if pool.kind is not PoolKind.MIXTURE:
        return _source_of("data.pool", pool)
    weights = [SourceWeight(name, source.weight) for name, source in pool.sources.items()]
    return Stage(
        name="mixture",
        version=1,
        config=MixtureConfig(weights, pool.rows if any(each.weight for each in weights) else 0, pool.seed),
        run="s1.data.mixture:mixed_rows",
        inputs={"pools": tuple(_source_of(field, source) for field, source in pool.places.items())},
        label=pool.name,
        code=CodePolicy.UPSTREAM,
    )


def _source_of(field: str, pool: PoolSource) -> Stage:
    """The rows of one source.

    A local file enters the key by content, not by path. The number of rows enters it only for kind `dial`, which makes
    that many; other kinds use it for estimates alone, as all kinds use the length of the longest.
    """
    files = (local_file(f"{field}.file", pool.file or ""),) if pool.kind is PoolKind.FILE else ()
    if pool.kind is PoolKind.FILE:
        check_pool_rows(pool, expanded(f"{field}.file", pool.file or ""))
    rows = pool.rows if pool.kind is PoolKind.DIAL else 0
    return Stage(
        name="pool",
        version=1,
        config=PoolConfig(replace(pool, rows=rows, file=None, longest_tokens=None)),
        run="s1.data.pool:pool_rows",
        inputs={"file": files} if files else {},
        label=pool.name,
        code=CodePolicy.UPSTREAM,
        is_remote=pool.kind is PoolKind.HUB,
    )


def distilled_of(rows: Stage, teacher: Teacher) -> Stage:
    """The questions of `rows`, with traces written by a teacher."""
    return Stage(
        name="distilled",
        version=1,
        config=_chat_config(teacher),
        run="s1.data.chat_requests:distil",
        inputs={"rows": (rows,)},
        settings=_endpoint(teacher),
        label=teacher.model,
        code=CodePolicy.EXPENSIVE,
    )


def labelled_of(rows: Stage, teacher: Teacher) -> Stage:
    """The same rows, with domains assigned by a model."""
    return Stage(
        name="labelled",
        version=1,
        config=LabelledConfig(_chat_config(teacher)),
        run="s1.data.chat_requests:labelled_rows",
        inputs={"rows": (rows,)},
        settings=_endpoint(teacher),
        label=teacher.model,
        code=CodePolicy.EXPENSIVE,
    )


def _solver_evaluations(
    point: PointConfig, rows: Stage, difficulty: Difficulty | None, grader: GraderKind
) -> tuple[tuple[Stage, ...], tuple[EvaluationStages, ...]]:
    """The rows and questions that the solvers get, and one evaluation per solver, sorted by name."""
    if difficulty is None:
        return (), ()
    solver_rows = Stage(
        name="solver_rows",
        version=1,
        config=SolverRowsConfig(grader),
        run="s1.data.difficulty:solver_rows",
        inputs={"rows": (rows,)},
        label="the pool's questions",
        code=CodePolicy.UPSTREAM,
    )
    questions = questions_from(
        (solver_rows,), QuestionsConfig(difficulty.task, hub=None, limit=None, wording=wording(difficulty.task))
    )
    generate = Generate(samples=1, temperature=difficulty.temperature, top_p=1.0, seed=difficulty.seed, share=True)
    resources = resources_of(JobKind.GENERATE, point.machine)
    evaluations = []
    for name, solver in sorted(difficulty.solvers.items()):
        spec = GenerationSpec(
            budget=Budget(Forcing.NONE, None, 0, 0, "", answer_tokens=None),
            generate=generate,
            engine=point.engine,
            settings=settings_of(point.machine, point.cost, resources),
            label=f"solver {name}",
            resources=resources,
            shards=point.machine.shards,
            scores=CodePolicy.UPSTREAM,
        )
        evaluations.append(evaluation_stages(solver, pretrained_of(point, solver), difficulty.task, questions, spec))
    return (solver_rows, questions), tuple(evaluations)


def conditioned_of(point: PointConfig, curated: Stage, control: Control) -> Stage:
    """The examples as they are, or with prompts that say how long to think."""
    if control is Control.NONE:
        return curated
    if control is Control.STEPS:
        step_start_of(point.model.thinking_format)  # raises ConfigError while planning if the format has no steps
    return Stage(
        name="conditioned",
        version=1,
        config=ConditionedConfig(control, of_training(point.model.thinking_format)),
        run="s1.data.conditional:conditioned_rows",
        inputs={"rows": (curated,), "model": (base_model_of(point.model),)},
        label=control.value,
        code=CodePolicy.UPSTREAM,
    )


# -------------------------------------------------------------------------------------------------- the models


def pretrained_of(point: PointConfig, model: Model) -> Stage:
    """A model before fine-tuning: the base model, after pretraining if it has one."""
    base, pretraining = base_model_of(model), model.pretraining
    if pretraining is None:
        return base
    corpus = Pool("corpus", PoolKind.DIAL, pretraining.examples, dial=pretraining.dial, seed=pretraining.seed)
    curated, _ = curated_of(point, Data("corpus", corpus, GraderKind.INTEGER), model)
    rendered = rendered_of(model, curated, pretraining.train, Control.NONE)
    return sft_stage(point, base, rendered, pretraining.train, f"{model.name}, pretraining")


def rendered_of(model: Model, examples: Stage, train: Train, control: Control) -> Stage:
    """Render examples to token ids and audit them."""
    return Stage(
        name="rendered",
        version=1,
        config=RenderedConfig(of_training(model.thinking_format), train.block_size, train.overlong, control),
        run="s1.train.render:render",
        inputs={"rows": (examples,), "model": (base_model_of(model),)},
        label=examples.label,
        code=CodePolicy.UPSTREAM,
    )


def sft_stage(point: PointConfig, model: Stage, rendered: Stage, train: Train, label: str) -> Stage:
    """Fine-tune one model on one rendered set."""
    resources = resources_of(JobKind.SFT, filled(point.machine, train.batch_size))
    return Stage(
        name="checkpoint",
        version=2,
        config=CheckpointConfig(train),
        run="s1.train.sft:train",
        inputs={"model": (model,), "data": (rendered,)},
        settings=settings_of(point.machine, point.cost, resources),
        resources=resources,
        label=label,
        code=CodePolicy.EXPENSIVE,
    )


def base_model_of(model: Model) -> Stage:
    """A model before this sweep trains it."""
    config = BaseModelConfig(
        kind=model.kind,
        repo=model.repo,
        revision=model.revision,
        file=model.file,
        architecture=model.architecture,
        dial=model.dial,
        seed=model.seed,
    )
    return weights_of(config, model.name)


def weights_of(config: BaseModelConfig, label: str) -> Stage:
    """Weights that exist or are drawn at random. A local directory enters the key by content, not by path."""
    files: dict[str, tuple[Input, ...]] = {}
    if config.kind is ModelKind.DIRECTORY:
        files = {"files": tuple(FileInput.of(path) for path in _model_files(Path(config.repo or "")))}
        config = replace(config, repo=None)
    return Stage(
        name="base_model",
        version=1,
        config=config,
        run="s1.models.location:materialise",
        inputs=files,
        label=label,
        code=CodePolicy.UPSTREAM,
        is_remote=config.kind in (ModelKind.HUB, ModelKind.DIRECTORY),
    )


def _model_files(directory: Path) -> list[Path]:
    """The files of a local model that decide what it computes. Raises ConfigError if it has no config.json."""
    files = sorted(path for path in directory.glob("*") if path.suffix in MODEL_FILES)
    if not any(path.name == "config.json" for path in files):
        raise ConfigError(
            f"model.repo {str(directory)!r}: no config.json there. Give a directory in Hugging Face layout."
        )
    return files


def _chat_config(teacher: Teacher) -> ChatConfig:
    return ChatConfig(
        teacher.model, teacher.max_tokens, teacher.temperature, teacher.top_p, teacher.seed, teacher.system
    )


def _endpoint(teacher: Teacher) -> dict[str, Json]:
    return dict(asdict(teacher.endpoint))
