"""Evaluation stages, for the points of a scan and for the solvers of a pool.

    rows -> questions -> traces -------------> scores
                            +--> [rewards] -----^
    [weights of the reward model] ---^

Stages in brackets exist only if the point has a reward model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from s1.config.reward import RewardScoring
from s1.config.schema import (
    Budget,
    ComputeRequest,
    ConfigError,
    EngineConfig,
    Generate,
    Hub,
    Model,
    Precision,
    Task,
    ThinkingFormat,
)
from s1.evaluate.task_files import check_rows, read_task, task_file
from s1.evaluate.task_identity import code_roots, own_file, scoring, wording
from s1.generate.engines import installed
from s1.generate.methods.registry import code_roots as method_roots
from s1.generate.methods.registry import inserts_warning, method_of
from s1.local_rows import check_task_rows
from s1.stages import (
    ProblemsConfig,
    QuestionsConfig,
    RewardsConfig,
    ScoresConfig,
    TracesConfig,
    TracesShardConfig,
)
from sweep.core.identity import Json, canonical, key_of
from sweep.core.stage import CodePolicy, FileInput, Input, Resources, Stage
from sweep.places import expanded

GRADING = ("lm-eval", "math-verify", "latex2sympy2_extended", "sympy")  # a new version of one may change a verdict
TRACES_VERSION = 1  # of the traces stage, and of the continuation store that stages of one batch share


@dataclass(frozen=True)
class EvaluationStages:
    """One model evaluated on one task under one budget."""

    questions: Stage
    traces: Stage
    scores: Stage
    rewards: Stage | None = None  # None: without a reward model


@dataclass(frozen=True)
class RewardSpec:
    """A reward model: its weights, and how and where it reads traces."""

    weights: Stage
    scoring: RewardScoring
    dtype: Precision
    libraries: Mapping[str, str | None]
    settings: Mapping[str, Json]
    resources: Resources
    label: str


@dataclass(frozen=True)
class GenerationSpec:
    """Budget, sampling, engine and resources of one generation."""

    budget: Budget
    generate: Generate
    engine: EngineConfig
    settings: Mapping[str, Json]
    label: str
    resources: Resources  # of each shard
    shards: int  # how many parts the questions are divided into
    scores: CodePolicy  # FINAL for the points of a scan; UPSTREAM where a training set depends on the scores
    reward: RewardSpec | None = None  # None: the answers get no rewards


def evaluation_stages(
    model: Model, weights: Stage, task: str, questions: Stage, spec: GenerationSpec
) -> EvaluationStages:
    """Generate traces with `weights` and score them; `weights` is `model` itself or was trained from it."""
    libraries = installed(spec.engine.kind)
    request, engine, generate = ComputeRequest(spec.budget), spec.engine, spec.generate
    method = method_of(request)
    budget = method.effective_budget(request)
    asked = spec.reward if method.reward_form(request) else None
    thinking_format = _of_generation(model.thinking_format, budget)
    whole = Stage(
        name="traces",
        version=TRACES_VERSION,
        config=TracesConfig(
            budget, thinking_format, engine, libraries, generate, model.context_tokens, asked.scoring if asked else None
        ),
        run="s1.generate.traces:traces",
        inputs={"model": (weights,), "questions": (questions,), **({"reward": (asked.weights,)} if asked else {})},
        settings={**spec.settings, "context_tokens": model.context_tokens},
        batch=key_of({"version": TRACES_VERSION, "model": weights.key, "engine": engine, "libraries": libraries}),
        resources=spec.resources,
        label=spec.label,
        code=CodePolicy.EXPENSIVE,
        code_roots=method_roots(),
    )
    traces = shard_stages(whole, spec.shards)
    rewards = _rewards_stage(traces, questions, spec.reward) if spec.reward else None
    graded = scoring(task)
    scores = Stage(
        name="scores",
        version=2,
        config=ScoresConfig(task=task, samples=generate.samples, scoring=graded),
        run="s1.evaluate.score:scores",
        inputs={"traces": (traces,), "questions": (questions,), **({"rewards": (rewards,)} if rewards else {})},
        settings=_task_path(task),
        batch=key_of([questions.key, weights.key]),
        label=spec.label,
        code=spec.scores,
        code_roots=code_roots(graded),
        packages=GRADING,
    )
    return EvaluationStages(questions, traces, scores, rewards)


def _rewards_stage(traces: Stage, questions: Stage, reward: RewardSpec) -> Stage:
    """What the reward model gives each trace; all stages of one reward model run in one process."""
    config = RewardsConfig(reward.scoring, reward.dtype, dict(reward.libraries))
    return Stage(
        name="rewards",
        version=1,
        config=config,
        run="s1.generate.rewards:rewards",
        inputs={"reward": (reward.weights,), "traces": (traces,), "questions": (questions,)},
        settings=reward.settings,
        batch=key_of({"reward": reward.weights.key, "config": canonical(config)}),
        resources=reward.resources,
        label=f"{reward.label}, {traces.label}",
        code=CodePolicy.EXPENSIVE,
    )


def _of_generation(thinking_format: ThinkingFormat, budget: Budget) -> ThinkingFormat:
    """Without the prefix of training answers, and without a warning that this budget never inserts."""
    inserted = (
        thinking_format if inserts_warning(budget) else replace(thinking_format, warning=None, warning_share=None)
    )
    return replace(inserted, answer_prefix=None)


def shard_stages(traces: Stage, count: int) -> Stage:
    """Split generation into `count` stages that run in parallel, and join their traces (s1/generate/shards.py)."""
    if count == 1:
        return traces
    shards = (
        replace(
            traces,
            name="traces_shard",
            config=TracesShardConfig(traces.config, index, count),
            run="s1.generate.traces:traces_shard",
            worker=index,
            label=f"{traces.label} (shard {index + 1} of {count})",
        )
        for index in range(count)
    )
    return replace(traces, run="s1.generate.shards:join", shards=tuple(shards), settings={}, resources=Resources())


def questions_stage(task: Task) -> Stage:
    """The prompts of a task. Raises ConfigError for a task that has no rows or cannot be graded."""
    rows = rows_of(task)
    hub = task.hub if not rows else None
    return questions_from(rows, _questions_config(task, hub))


def _questions_config(task: Task, hub: Hub | None) -> QuestionsConfig:
    return QuestionsConfig(task.name, hub, task.limit, task.instruction, wording(task.name), task.draw_seed)


def questions_from(rows: tuple[Input, ...], config: QuestionsConfig) -> Stage:
    """Prompts that the task words around `rows`, or around the rows that its YAML names if `rows` is empty."""
    task = read_task(config.task, task_file(config.task))
    given = "task.data_file" if rows else "task.hub" if config.hub else None
    check_rows(task, given)
    data = task.data_files() if given is None else ()
    return Stage(
        name="questions",
        version=2,
        config=config,
        run="s1.evaluate.questions:questions",
        inputs={"rows": rows, **({"data": tuple(map(FileInput.of, data))} if data else {})},
        settings=_task_path(config.task),
        label=config.task,
        code=CodePolicy.UPSTREAM,
        code_roots=(
            *code_roots(config.wording),
            "-s1.evaluate.questions:_check_grading",
        ),  # only raises errors, so it cannot change an output
        is_remote=not rows,
    )


def rows_of(task: Task) -> tuple[Input, ...]:
    """The rows of a task from a local file or a rule; empty if they come from the hub or its YAML."""
    if task.data_file is not None:
        file = local_file("task.data_file", task.data_file)
        check_task_rows(task.name, expanded("task.data_file", task.data_file))
        return (file,)
    if task.dial is None:
        return ()
    problems = ProblemsConfig(dial=task.dial, problems=task.problems, seed=task.seed)
    return (
        Stage(
            name="problems",
            version=1,
            config=problems,
            run="s1.evaluate.problems:dial_problems",
            label=f"{task.problems} dial",
            code=CodePolicy.UPSTREAM,
        ),
    )


def _task_path(task: str) -> dict[str, Json]:
    """The path of a user's task YAML, for the worker; the config holds its content, so the path enters no key."""
    path = own_file(task)
    return {} if path is None else {"task": path}


def local_file(field: str, name: str) -> FileInput:
    """The file that a field names. Raises ConfigError if it does not exist."""
    path = expanded(field, name)
    if not path.is_file():
        raise ConfigError(f"{field} {name!r}: no such file. Give the path of an existing file.")
    return FileInput.of(path)
