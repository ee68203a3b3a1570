"""What the stages of a plan are expected to cost, by their addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from s1 import cost
from s1.config.data import Endpoint
from s1.config.schema import Task
from s1.evaluate.task_files import TASKS, read_task, remarks, task_file
from s1.evaluation_stages import EvaluationStages
from s1.point import Goal, PointConfig
from s1.stages import ChatConfig, LabelledConfig
from s1.training_stages import TrainingStages
from sweep.core.identity import key_of
from sweep.core.pipeline import CostEstimate
from sweep.core.stage import Stage
from sweep.core.typed import typed

QUESTION_TOKENS = 200  # a long one
LABEL_PROMPT_TOKENS = 900  # the list of classes, and a question
LABEL_TOKENS = 100  # a sentence or two, and a code
WORTH_A_WORD_GIB = 4  # of memory: less, every device has


class PlannedPoint(Protocol):
    """The stages of one point."""

    @property
    def lesson(self) -> TrainingStages: ...
    @property
    def asked(self) -> EvaluationStages: ...


def estimates_of(points: Sequence[PointConfig], built: Sequence[PlannedPoint]) -> dict[str, CostEstimate]:
    """Stages that share a batch share its thinking; those not named here cost nothing worth naming."""
    estimates: dict[str, CostEstimate] = {}
    batches: dict[str, list[tuple[PointConfig, EvaluationStages]]] = {}
    for x, stages in zip(points, built, strict=True):
        lesson, asked = stages.lesson, stages.asked
        if lesson.curated is not None and x.goal is not Goal.DATA:
            estimates[lesson.checkpoint.address] = cost.training_estimate(x)
        if lesson.base is not None:
            estimates[lesson.base.address] = cost.pretraining(x)
        for solved in lesson.solved:
            estimates |= _generating(solved.answers, cost.solver_generation(x), x)
        estimates |= _endpoints(x, lesson)
        shared = key_of([asked.answers.batch, asked.questions.key, x.generate, x.model.thinking_format])
        batches.setdefault(shared, []).append((x, asked))
    for members in batches.values():
        xs = [x for x, _ in members]
        for (x, asked), estimate in zip(members, cost.generation(xs, question_count(xs[0].task)), strict=True):
            estimates |= _generating(asked.answers, estimate, x)
    return estimates


def _generating(answers: Stage, estimate: CostEstimate, x: PointConfig) -> dict[str, CostEstimate]:
    """Of the answers as a whole, or of each of their shards."""
    if not answers.shards:
        return {answers.address: estimate}
    estimates = cost.shard_estimates(estimate, len(answers.shards), x.cost)
    return {shard.address: each for shard, each in zip(answers.shards, estimates, strict=True)}


def _endpoints(x: PointConfig, lesson: TrainingStages) -> dict[str, CostEstimate]:
    """What models behind endpoints are paid for: a teacher's traces are as long as examples, a label is short."""
    if lesson.curated is None or x.data.pool is None:
        return {}
    asked: dict[str, CostEstimate] = {}
    for stage in _before(lesson.curated):
        if isinstance(stage.config, ChatConfig):
            tokens = (QUESTION_TOKENS, x.cost.tokens_per_example)
        elif isinstance(stage.config, LabelledConfig):
            tokens = (LABEL_PROMPT_TOKENS, LABEL_TOKENS)
        else:
            continue
        asked[stage.address] = cost.chat_requests(typed(Endpoint, stage.settings), x.data.pool.rows, *tokens)
    return asked


def _before(stage: Stage) -> Iterator[Stage]:
    """Everything that a stage rests on."""
    for each in stage.rests_on():
        yield each
        yield from _before(each)


def memory_notes(points: Sequence[PointConfig]) -> list[str]:
    """What fine-tuning takes on each device, a line for each model whose sizes are known and worth a word."""
    needs = [(x.model.name, cost.training_memory(x)) for x in points]
    large = [(name, need) for name, need in needs if need and need.parts.gib > WORTH_A_WORD_GIB]
    return list(dict.fromkeys(f"memory of fine-tuning {name}: {need.remark()}" for name, need in large))


def contamination_notes(points: Sequence[PointConfig]) -> list[str]:
    """Tasks that are asked of models whose examples were not held against them, a line each."""
    lines = [
        f"task {x.task.name}: data {x.data.name} was not decontaminated against it."
        f" Add it: +task@data.evaluations.{x.task.name}={x.task.name}"
        for x in points
        if x.data.filters and x.goal is Goal.CURVE and x.task.name not in x.data.evaluations
    ]
    return list(dict.fromkeys(lines))


def task_notes(points: Sequence[PointConfig]) -> list[str]:
    """What of the tasks' own settings is not used, a line each; shipped ones have nothing to say."""
    files = {x.task.name: task_file(x.task.name) for x in points}
    own = [read_task(name, path) for name, path in files.items() if path.parent != TASKS]
    return [line for task in own for line in remarks(task)]


def shards_of(x: PointConfig) -> int:
    """Shards that a point's questions are divided into: as the machine says, but none without a question."""
    return 1 if x.machine.shards == 1 else max(1, min(x.machine.shards, question_count(x.task)))


def question_count(task: Task) -> int:
    """How many questions a task is expected to ask."""
    if task.data_file is not None:
        with Path(task.data_file).expanduser().open("rb") as file:
            count = sum(1 for line in file if line.strip())
    else:
        count = task.problems
    return min(count, task.limit) if task.limit else count
