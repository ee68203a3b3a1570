"""Stages that ask a model: rows -> questions -> answers -> scores. The points of a scan, and the solvers of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from s1.config import Budget, ConfigError, EngineConfig, Generate, Model, Task
from s1.generate.engines import installed
from s1.generate.methods.method import normalised
from s1.stages import Answering, AnsweringShard, Problems, Questions, Scoring
from sweep.identity import Json, key_of
from sweep.stage import FileInput, Input, Resources, Stage

TASKS = Path(__file__).parent / "evaluate" / "tasks"
ANSWERS = 1  # version of the answers stage, and of the tokens it leaves for others to continue


@dataclass(frozen=True)
class Asked:
    """The stages of one model, asked the questions of one task under one budget."""

    questions: Stage
    answers: Stage
    scores: Stage


@dataclass(frozen=True)
class Manner:
    """How a model is asked."""

    budget: Budget
    generate: Generate
    engine: EngineConfig
    settings: Mapping[str, Json]
    label: str
    resources: Resources  # of generation
    shards: int  # that the questions are divided into, each with such resources


def ask(model: Model, weights: Stage, task: str, questions: Stage, manner: Manner) -> Asked:
    """Answers of `weights`, which is a `model` or was trained from it, and their scores."""
    libraries = installed(manner.engine.kind)
    budget, engine, generate = manner.budget, manner.engine, manner.generate
    spoken = replace(model.dialect, answer_prefix=None)  # which concerns training alone
    whole = Stage(
        name="answers",
        version=ANSWERS,
        config=Answering(normalised(budget), spoken, engine, libraries, generate, model.context_tokens),
        run="s1.generate.answers:answer",
        inputs={"model": (weights,), "questions": (questions,)},
        settings={**manner.settings, "context_tokens": model.context_tokens},
        batch=key_of({"version": ANSWERS, "model": weights.key, "engine": engine, "libraries": libraries}),
        resources=manner.resources,
        label=manner.label,
    )
    answers = in_shards(whole, manner.shards)
    scores = Stage(
        name="scores",
        version=1,
        config=Scoring(task=task, samples=generate.samples),
        run="s1.evaluate.score:score",
        inputs={"answers": (answers,), "questions": (questions,), "task": wording_of(task)},
        batch=key_of([questions.key, weights.key]),
        label=manner.label,
    )
    return Asked(questions, answers, scores)


def in_shards(answers: Stage, count: int) -> Stage:
    """The same answers, put together from so many shards, which are generated side by side (s1/generate/shards.py)."""
    if count == 1:
        return answers
    shards = (
        replace(
            answers,
            name="answers_shard",
            config=AnsweringShard(answers.config, index, count),
            run="s1.generate.answers:answer_shard",
            worker=index,
            label=f"{answers.label} (shard {index + 1} of {count})",
        )
        for index in range(count)
    )
    return replace(answers, run="s1.generate.shards:join", shards=tuple(shards), settings={}, resources=Resources())


def questions_of(task: Task) -> Stage:
    """What a task asks."""
    rows = rows_of(task)
    return questions_from(rows, Questions(task.name, task.hub if not rows else None, task.limit, task.instruction))


def questions_from(rows: tuple[Input, ...], config: Questions) -> Stage:
    """The words of a task around rows from elsewhere."""
    return Stage(
        name="questions",
        version=1,
        config=config,
        run="s1.evaluate.questions:questions",
        inputs={"rows": rows, "task": wording_of(config.task)},
        label=config.task,
    )


def rows_of(task: Task) -> tuple[Input, ...]:
    """Where a task's rows come from: a local file, a rule, or (none here) the hub."""
    if task.data_file is not None:
        return (local_file("task.data_file", task.data_file),)
    if task.dial is None:
        return ()
    problems = Problems(dial=task.dial, problems=task.problems, seed=task.seed)
    return (
        Stage(name="problems", version=1, config=problems, run="s1.data.rows:problems", label=f"{task.problems} dial"),
    )


def wording_of(task: str) -> tuple[Input, ...]:
    """A task's YAML files: what they say is part of what is asked and how it is graded."""
    files = (TASKS / f"{task}.yaml", TASKS / "_shared.yaml")
    if not files[0].is_file():
        known = ", ".join(sorted(path.stem for path in TASKS.glob("[a-z]*.yaml")))
        raise ConfigError(f"task.name {task!r}: no such task. Known: {known}.")
    return tuple(map(FileInput.of, files))


def local_file(field: str, name: str) -> FileInput:
    """A file that a field names. Raises ConfigError if it is not there."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"{field} {name!r}: no such file. Give the path of one that is there.")
    return FileInput.of(path)
