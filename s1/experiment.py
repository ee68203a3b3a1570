"""One point of an experiment: the composition of all groups, and what makes a point impossible.

A value that no run could honour is refused at composition, for every point before anything runs, in one line that names
the field, the value and the mend.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from s1.config import (
    Budget,
    Compare,
    ConfigError,
    Dial,
    Dialect,
    EngineConfig,
    EngineKind,
    Generate,
    Model,
    ModelKind,
    Statistics,
    Task,
    Train,
)
from s1.generate.methods.method import ComputeRequest
from s1.generate.methods.registry import method_of
from s1.impossible import check_data, check_model, check_task, check_training
from s1.own_model import described
from s1.recipe import Data
from s1.resources import Cost, Kind, Machine, Track
from sweep.contract import Launch, check_name
from sweep.ranges import FreeText, Seed, Text

LEAST_TEMPERATURE = 0.01  # vLLM samples at this where it is given less


class Goal(Enum):
    """Where a command ends."""

    CURVE = "curve"  # models are asked, and their scores reported
    DATA = "data"  # training examples are chosen, and the choice reported
    CHECKPOINT = "checkpoint"  # models are trained, and the training reported


@dataclass(frozen=True)
class Experiment:
    """One point: the composition of all groups."""

    name: Text  # names results/NAME/KEY and the W&B group
    goal: Goal  # which results the command makes
    claim: FreeText  # one sentence that the report compares with the numbers; empty: none
    seed: Seed  # seed of model, training, sampling and task, unless a group sets its own
    # an axis and its reference: points along it are compared in pairs; null: no such comparison
    compare: Compare | None
    dial: Dial  # the laptop's family of problems
    model: Model  # the model that is trained or evaluated
    data: Data  # the training examples
    train: Train | None  # the fine-tuning recipe; null: none
    budget: Budget  # how much the model may, or must, think
    task: Task  # the questions that are asked
    engine: EngineConfig  # what generates tokens
    generate: Generate  # how tokens are sampled
    statistics: Statistics  # intervals and comparisons
    cost: Cost  # rates for estimates and prices; never part of what is computed
    track: Track  # the mirror on W&B; never part of what is computed
    machine: Machine  # the hardware; never part of what is computed
    launch: Launch  # who runs the stages; never part of what is computed

    @property
    def request(self) -> ComputeRequest:
        """What it asks of test-time compute."""
        return ComputeRequest(self.budget, self.task.instruction)

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "model", described("model", self.model))
        object.__setattr__(self, "data", _with_described_solvers(self.data))
        for check in (
            _check_model,
            _check_data,
            _check_budget,
            _check_task,
            _check_generate,
            _check_engine,
            _check_launch,
        ):
            check(self)


def _with_described_solvers(data: Data) -> Data:
    if data.difficulty is None:
        return data
    solvers = {
        name: described(f"data.difficulty.solvers.{name}", solver) for name, solver in data.difficulty.solvers.items()
    }
    return replace(data, difficulty=replace(data.difficulty, solvers=solvers))


def _check_model(x: Experiment) -> None:
    check_model("model", x.model)
    if x.model.kind is ModelKind.FRESH and x.data.pool is None and x.model.pretraining is None:
        raise ConfigError(
            "data none: a fresh model knows nothing before training. Choose data=dial_1k or another model."
        )
    _check_continuation(x.budget.continuation, x.model.dialect)


def _check_continuation(continuation: str, dialect: Dialect) -> None:
    for typed, meant in (("\\n", "a new line"), ("\\t", "a tab")):
        if typed in continuation:
            raise ConfigError(
                f"budget.continuation {continuation!r}: holds a backslash and {typed[1]!r}. If {meant} is meant, write"
                f" {typed} in double quotes, such as 'budget.continuation=\"{typed}Wait\"'; if the two characters are,"
                " choose other words."
            )
    markers = (dialect.thinking_start, *dialect.thinking_stops, dialect.thinking_end, *dialect.answer_stops)
    for marker in filter(None, (each.strip() for each in markers)):
        if marker in continuation:
            raise ConfigError(
                f"budget.continuation {continuation!r}: holds the delimiter {marker!r} and would not be thinking."
                " Choose other words."
            )


def _check_data(x: Experiment) -> None:
    check_data(x.data)
    if x.data.pool is None or x.goal is Goal.DATA:
        return
    if x.train is None:
        raise ConfigError(f"train null: data={x.data.name} is to be trained on. Choose train=laptop, or data=none.")
    check_training(x.train, x.machine, x.model.dialect)


def _check_budget(x: Experiment) -> None:
    method_of(x.request).check(x.request, x.model.context_tokens)


def _check_task(x: Experiment) -> None:
    check_task("task", x.task)


def _check_generate(x: Experiment) -> None:
    if 0 < x.generate.temperature < LEAST_TEMPERATURE:
        raise ConfigError(
            f"generate.temperature {x.generate.temperature}: below {LEAST_TEMPERATURE}, where engines differ. Use 0 for"
            " greedy decoding."
        )
    if x.generate.samples > 1 and x.generate.temperature == 0:
        raise ConfigError(
            f"generate.samples {x.generate.samples}: greedy samples are all equal. Set generate.temperature above 0."
        )


def _check_launch(x: Experiment) -> None:
    known = [kind.value for kind in Kind]
    for script in x.launch.minutes:
        if script not in known:
            raise ConfigError(f"launch.minutes.{script}: no such script. Known: {', '.join(known)}.")


def _check_engine(x: Experiment) -> None:
    machine, engine = x.machine, x.engine
    if machine.cache_gib is None and engine.device == "cpu":
        raise ConfigError(
            "machine.cache_gib null: on a CPU nothing tells how much is yours. Give a number of GiB, 4 say."
        )
    if engine.kind is EngineKind.TRANSFORMERS and engine.tensor_parallel > 1:
        raise ConfigError(
            f"machine.tensor_parallel {engine.tensor_parallel}: engine=transformers keeps a model on one device."
            " Choose engine=vllm, or machine.tensor_parallel=1."
        )
    devices = engine.tensor_parallel * machine.data_parallel
    if engine.device == "cuda" and devices > machine.gpus:
        raise ConfigError(
            f"machine.gpus {machine.gpus}: tensor_parallel {engine.tensor_parallel} x data_parallel"
            f" {machine.data_parallel} need {devices}. Lower one of them."
        )
