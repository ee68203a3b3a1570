"""Stages that ask a model: rows -> questions -> answers -> scores. The points of a scan, and the solvers of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from s1.config.schema import Budget, ConfigError, EngineConfig, Generate, Model, Task
from s1.evaluate.task_files import check_rows, read_task, task_file
from s1.evaluate.task_identity import code_roots, own_file, scoring, wording
from s1.generate.engines import installed
from s1.generate.methods.method import normalised
from s1.generate.methods.registry import code_roots as method_roots
from s1.local_rows import check_task_rows
from s1.stages import ProblemsConfig, QuestionsConfig, ScoresConfig, TracesConfig, TracesShardConfig
from sweep.core.identity import Json, key_of
from sweep.core.stage import CodePolicy, FileInput, Input, Resources, Stage

GRADING = ("lm-eval", "math-verify", "latex2sympy2_extended", "sympy")  # whose versions may change a verdict
TRACES_VERSION = 1  # version of the answers stage, and of the tokens it leaves for others to continue


@dataclass(frozen=True)
class EvaluationStages:
    """The stages of one model, asked the questions of one task under one budget."""

    questions: Stage
    answers: Stage
    scores: Stage


@dataclass(frozen=True)
class GenerationSpec:
    """How a model is asked."""

    budget: Budget
    generate: Generate
    engine: EngineConfig
    settings: Mapping[str, Json]
    label: str
    resources: Resources  # of generation
    shards: int  # that the questions are divided into, each with such resources
    scores: CodePolicy  # FINAL for the points of a scan; UPSTREAM where a training set rests on them


def evaluation_stages(
    model: Model, weights: Stage, task: str, questions: Stage, manner: GenerationSpec
) -> EvaluationStages:
    """Answers of `weights`, which is a `model` or was trained from it, and their scores."""
    libraries = installed(manner.engine.kind)
    budget, engine, generate = manner.budget, manner.engine, manner.generate
    spoken = replace(model.thinking_format, answer_prefix=None)  # which concerns training alone
    whole = Stage(
        name="traces",
        version=TRACES_VERSION,
        config=TracesConfig(normalised(budget), spoken, engine, libraries, generate, model.context_tokens),
        run="s1.generate.traces:traces",
        inputs={"model": (weights,), "questions": (questions,)},
        settings={**manner.settings, "context_tokens": model.context_tokens},
        batch=key_of({"version": TRACES_VERSION, "model": weights.key, "engine": engine, "libraries": libraries}),
        resources=manner.resources,
        label=manner.label,
        code=CodePolicy.EXPENSIVE,
        code_roots=method_roots(),
    )
    answers = shard_stages(whole, manner.shards)
    graded = scoring(task)
    scores = Stage(
        name="scores",
        version=2,
        config=ScoresConfig(task=task, samples=generate.samples, scoring=graded),
        run="s1.evaluate.score:scores",
        inputs={"traces": (answers,), "questions": (questions,)},
        settings=_place_of(task),
        batch=key_of([questions.key, weights.key]),
        label=manner.label,
        code=manner.scores,
        code_roots=code_roots(graded),
        packages=GRADING,
    )
    return EvaluationStages(questions, answers, scores)


def shard_stages(answers: Stage, count: int) -> Stage:
    """The same answers, put together from so many shards, which are generated side by side (s1/generate/shards.py)."""
    if count == 1:
        return answers
    shards = (
        replace(
            answers,
            name="traces_shard",
            config=TracesShardConfig(answers.config, index, count),
            run="s1.generate.traces:traces_shard",
            worker=index,
            label=f"{answers.label} (shard {index + 1} of {count})",
        )
        for index in range(count)
    )
    return replace(answers, run="s1.generate.shards:join", shards=tuple(shards), settings={}, resources=Resources())


def questions_stage(task: Task) -> Stage:
    """What a task asks. Raises ConfigError for one that cannot be asked, or whose answers could not be judged."""
    rows = rows_of(task)
    hub = task.hub if not rows else None
    return questions_from(rows, QuestionsConfig(task.name, hub, task.limit, task.instruction, wording(task.name)))


def questions_from(rows: tuple[Input, ...], config: QuestionsConfig) -> Stage:
    """The words of a task around rows from elsewhere; without any, around those that its YAML names."""
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
        settings=_place_of(config.task),
        label=config.task,
        code=CodePolicy.UPSTREAM,
        code_roots=(*code_roots(config.wording), "-s1.evaluate.questions:_check_grading"),  # it refuses, no more
        is_remote=not rows,
    )


def rows_of(task: Task) -> tuple[Input, ...]:
    """Where a task's rows come from: a local file, a rule, or (none here) the hub or its YAML."""
    if task.data_file is not None:
        file = local_file("task.data_file", task.data_file)
        check_task_rows(task.name, Path(task.data_file).expanduser())
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


def _place_of(task: str) -> dict[str, Json]:
    """Where a worker finds the YAML of a user's own task; its content is in the config."""
    path = own_file(task)
    return {} if path is None else {"task": path}


def local_file(field: str, name: str) -> FileInput:
    """A file that a field names. Raises ConfigError if it is not there."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"{field} {name!r}: no such file. Give the path of one that is there.")
    return FileInput.of(path)
