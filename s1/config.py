"""One point of an experiment, typed: the schema of `conf/`, one frozen dataclass per Hydra group.

Everything under MODEL, DATA, TRAIN, BUDGET, TASK, ENGINE, GENERATE and STATISTICS can be identity: the pipeline hands
these very dataclasses to stages. COST, TRACK, MACHINE and LAUNCH say where and how to run, and never reach a key.
A value that no run could honour is refused here, at composition, with the field, the value and the mend.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum


class ConfigError(ValueError):
    """`<field> <value>: <what is wrong>. <what to do>.`"""


# ---------------------------------------------------------------------------------------------------- model


class ModelKind(Enum):
    FRESH = "fresh"  # random weights of a small architecture, own tokenizer: the laptop model
    GGUF = "gguf"  # a GGUF file inside an installed Python package, dequantised
    HUB = "hub"  # a Hugging Face repository at a pinned revision
    DIRECTORY = "directory"  # a local directory in Hugging Face layout


@dataclass(frozen=True)
class Architecture:
    """A small Qwen2; only for `kind: fresh`."""

    hidden_size: int
    layers: int
    heads: int
    feed_forward_size: int
    rope_theta: float
    initializer_range: float


@dataclass(frozen=True)
class Dialect:
    """The strings by which a model separates question, thinking and answer (paper, section 3.1; s1 training text)."""

    name: str
    prompt: str | None  # a template with {question}; null: the tokenizer's own chat template
    thinking_start: str  # opens the thinking, appended to the prompt
    thinking_stops: list[str]  # any of them, sampled, ends the thinking
    thinking_end: str  # appended when the model ended its thinking itself
    forced_end: str  # appended when the budget ended it
    answer_stops: list[str]
    newline_before_end: bool  # put a newline before an end marker unless the thinking already ends in one


@dataclass(frozen=True)
class Model:
    name: str
    kind: ModelKind
    context_tokens: int
    dialect: Dialect
    repo: str | None = None  # hub repository, Python package of a GGUF file, or directory
    revision: str | None = None  # hub: a 40-hex commit
    file: str | None = None  # gguf: the file inside the package
    architecture: Architecture | None = None
    seed: int = 0  # fresh: of the initial weights


# ----------------------------------------------------------------------------------------------------- data


class DataKind(Enum):
    NONE = "none"  # no fine-tuning: the model as it is
    DIAL = "dial"  # the laptop problems, with reasoning traces made by rule


DIAL_PEOPLE = 12  # s1/data/dial.py names so many


@dataclass(frozen=True)
class Dial:
    """A family of dial problems: `positions` marks, `turns_min..turns_max` turns of 1..`turn_max` (s1/data/dial.py)."""

    positions: int = 20
    turn_max: int = 9
    turns_min: int = 2
    turns_max: int = 6
    careful_turns: int = 2  # how many more of the turns each further Wait redoes carefully
    practised_turn_max: int = 5  # turns up to this size are always practised
    gap_share: float = 0.25  # share of the larger (position, turn) facts that training never shows
    gap_seed: int = 1
    slip_probability: float = 0.10
    wait_probability: float = 0.46
    waits_max: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.turns_min <= self.turns_max:
            raise ConfigError(f"dial.turns_min {self.turns_min}: not from 1 to turns_max {self.turns_max}. Lower it.")
        if self.turns_max > DIAL_PEOPLE:
            raise ConfigError(f"dial.turns_max {self.turns_max}: above the {DIAL_PEOPLE} people there are. Lower it.")
        if self.turn_max > 2 * self.practised_turn_max:
            raise ConfigError(
                f"dial.practised_turn_max {self.practised_turn_max}: two such turns do not make {self.turn_max}. Raise it."
            )
        if not 0 <= self.gap_share < 1:
            raise ConfigError(f"dial.gap_share {self.gap_share}: not from 0 to below 1. Give a share, such as 0.25.")


@dataclass(frozen=True)
class Data:
    name: str
    kind: DataKind
    examples: int = 0
    seed: int = 0
    dial: Dial = field(default_factory=Dial)


@dataclass(frozen=True)
class Train:
    """A fine-tuning recipe. The global batch is identity; how it is split over devices is the machine's business."""

    name: str
    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    scheduler: str  # a transformers scheduler: "linear", "cosine"
    adam_beta1: float
    adam_beta2: float
    weight_decay: float
    max_grad_norm: float
    block_size: int  # tokens; a longer example is refused, never cut
    length_window: int  # batches among which rows are sorted by length; 1: batches at random, as in the paper
    dtype: str
    checkpoint_every_steps: int
    seed: int = 0


# -------------------------------------------------------------------------------------- budget, task, engine


class Forcing(Enum):
    NONE = "none"  # plain generation: the model opens and closes its thinking itself
    BUDGET = "budget"  # budget forcing: cut at a maximum, or suppress the end (paper, section 3.1)


class Compat(Enum):
    CORRECTED = "corrected"
    S1 = "s1"  # the decoding rules of the original code, traps included


@dataclass(frozen=True)
class Budget:
    """How much to think. Thinking tokens include appended continuation strings, exclude delimiters."""

    name: str
    forcing: Forcing
    max_thinking_tokens: int | None  # null: as far as the context allows
    min_thinking_tokens: int  # the end is suppressed before this many
    waits: int  # how many ends to suppress
    continuation: str  # appended at each suppressed end; empty: only the end is suppressed
    answer_tokens: int
    compat: Compat = Compat.CORRECTED


@dataclass(frozen=True)
class Hub:
    """A dataset on the Hugging Face hub."""

    repo: str
    revision: str  # a 40-hex commit
    split: str
    subset: str | None = None


@dataclass(frozen=True)
class Task:
    """An lm-eval task of s1/evaluate/tasks/, and where its rows come from: a file, the hub, or made by rule."""

    name: str
    limit: int | None = None  # the first rows only
    data_file: str | None = None  # JSON lines with the columns of the hub dataset
    hub: Hub | None = None
    dial: Dial | None = None  # made by rule, `problems` of them
    problems: int = 0
    seed: int = 0


class EngineKind(Enum):
    TRANSFORMERS = "transformers"


@dataclass(frozen=True)
class EngineConfig:
    """What decides an engine's outputs: traces of different numerics never mix."""

    kind: EngineKind
    dtype: str


@dataclass(frozen=True)
class Generate:
    samples: int  # per question
    temperature: float
    top_p: float
    seed: int
    share: bool  # serve all points from one continuation store; false: every point from scratch, as a control


@dataclass(frozen=True)
class Statistics:
    level: float = 0.95
    resamples: int = 10_000
    seed: int = 0
    power: float = 0.8  # of the smallest detectable difference


# ---------------------------------------------------------------------------------------------- where and how


@dataclass(frozen=True)
class Cost:
    """Rates for the estimate before and the price after; `source` says where they come from."""

    name: str
    usd_per_device_hour: float
    train_tokens_per_second: float
    generate_tokens_per_second: float
    seconds_per_stage: float  # start-up of a worker
    tokens_per_example: int  # expected, of a training example
    natural_thinking_tokens: int  # expected, of a trace that is neither cut nor extended
    natural_answer_tokens: int
    source: str


@dataclass(frozen=True)
class Track:
    wandb: bool
    project: str
    entity: str | None


@dataclass(frozen=True)
class Machine:
    name: str
    device: str
    gpus: int
    workers: int  # stages that run at the same time
    threads: int  # CPU threads of one worker
    micro_batch: int  # training rows per device and forward pass
    slots: int  # traces that an engine decodes at the same time


@dataclass(frozen=True)
class Launch:
    name: str


@dataclass(frozen=True)
class Experiment:
    """One point: the composition of all groups."""

    name: str
    claim: str
    seed: int
    model: Model
    data: Data
    train: Train | None
    budget: Budget
    task: Task
    engine: EngineConfig
    generate: Generate
    statistics: Statistics
    cost: Cost
    track: Track
    machine: Machine
    launch: Launch

    def __post_init__(self) -> None:
        for check in (_check_model, _check_data, _check_budget, _check_task, _check_generate):
            check(self)


def _check_model(x: Experiment) -> None:
    model = x.model
    if model.kind is ModelKind.HUB:
        _require_commit("model.revision", model.revision, f"https://huggingface.co/{model.repo}")
    if model.kind is ModelKind.FRESH and model.architecture is None:
        raise ConfigError("model.architecture null: a fresh model needs one. Copy it from conf/model/laptop.yaml.")
    if model.kind is not ModelKind.FRESH and not model.repo:
        raise ConfigError("model.repo null: nothing to load. Name a hub repository, a package or a directory.")
    if model.kind is ModelKind.FRESH and x.data.kind is DataKind.NONE:
        raise ConfigError(
            "data none: a fresh model knows nothing before training. Choose data=dial_1k or another model."
        )


def _check_data(x: Experiment) -> None:
    if x.data.kind is DataKind.NONE:
        return
    _require_positive("data.examples", x.data.examples)
    if x.train is None:
        raise ConfigError(f"train null: data={x.data.name} is to be trained on. Choose train=laptop, or data=none.")
    _require_positive("train.steps", x.train.steps)
    _require_positive("train.batch_size", x.train.batch_size)


def _check_budget(x: Experiment) -> None:
    budget, context = x.budget, x.model.context_tokens
    _require_positive("budget.answer_tokens", budget.answer_tokens)
    if budget.waits < 0:
        raise ConfigError(f"budget.waits {budget.waits}: negative. Use 0 for none.")
    if budget.min_thinking_tokens < 0:
        raise ConfigError(f"budget.min_thinking_tokens {budget.min_thinking_tokens}: negative. Use 0 for none.")
    if budget.max_thinking_tokens is None:
        return
    _require_positive("budget.max_thinking_tokens", budget.max_thinking_tokens)
    if budget.max_thinking_tokens + budget.answer_tokens >= context:
        raise ConfigError(
            f"budget.max_thinking_tokens {budget.max_thinking_tokens}: with {budget.answer_tokens} answer tokens it does"
            f" not fit the context of {context}. Lower it, or choose a model with a longer context."
        )
    if budget.min_thinking_tokens > budget.max_thinking_tokens:
        raise ConfigError(
            f"budget.min_thinking_tokens {budget.min_thinking_tokens}: above max_thinking_tokens"
            f" {budget.max_thinking_tokens}. Lower one or raise the other."
        )
    if budget.forcing is Forcing.NONE:
        raise ConfigError(
            f"budget.max_thinking_tokens {budget.max_thinking_tokens}: budget=none forces nothing. Choose budget=max."
        )


def _check_task(x: Experiment) -> None:
    task = x.task
    if task.limit is not None:
        _require_positive("task.limit", task.limit)
    if task.data_file is not None or task.dial is not None:
        return
    if task.hub is None:
        raise ConfigError(
            f"task.data_file null: task {task.name} has no rows. Name a JSON-lines file, or a hub dataset."
        )
    _require_commit("task.hub.revision", task.hub.revision, f"https://huggingface.co/datasets/{task.hub.repo}")


def _check_generate(x: Experiment) -> None:
    _require_positive("generate.samples", x.generate.samples)
    if x.generate.temperature < 0:
        raise ConfigError(f"generate.temperature {x.generate.temperature}: negative. Use 0 for greedy decoding.")
    if x.generate.samples > 1 and x.generate.temperature == 0:
        raise ConfigError(
            f"generate.samples {x.generate.samples}: greedy samples are all equal. Set generate.temperature above 0."
        )


def _require_positive(field_name: str, value: int) -> None:
    if value <= 0:
        raise ConfigError(f"{field_name} {value}: not positive. Give at least 1.")


def _require_commit(field_name: str, revision: str | None, url: str) -> None:
    if revision is None or not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ConfigError(f"{field_name} {revision!r}: not a 40-hex commit. Pin it: git ls-remote {url} HEAD.")
