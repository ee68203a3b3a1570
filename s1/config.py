"""The groups of `conf/`, typed: one frozen dataclass per Hydra group.

MODEL to STATISTICS can be identity: the pipeline hands these dataclasses, or parts of them, to stages. TRACK, MACHINE
and LAUNCH say where and how to run and never reach a key. COST does so only in the report, which prices its points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from sweep.errors import InputError


class ConfigError(InputError):
    """A field that no run could honour."""


# ---------------------------------------------------------------------------------------------------- model


class ModelKind(Enum):
    FRESH = "fresh"  # random weights of a small architecture, own tokenizer: the laptop model
    GGUF = "gguf"  # a GGUF file inside an installed Python package, dequantised
    HUB = "hub"  # a Hugging Face repository at a pinned revision
    DIRECTORY = "directory"  # a local directory in Hugging Face layout


@dataclass(frozen=True)
class Architecture:
    """A small Llama with biased attention; only for `kind: fresh`."""

    hidden_size: int
    layers: int
    heads: int
    feed_forward_size: int
    rope_theta: float
    initializer_range: float


@dataclass(frozen=True)
class Dialect:
    """The strings by which a model separates question, thinking and answer (paper, section 3.1; s1 training text)."""

    prompt: str | None  # a template with {question}; null: the tokenizer's own chat template
    thinking_start: str  # opens the thinking; appended to the prompt unless the template ends in it; empty: no opening
    thinking_stops: list[str]  # any of them, sampled, ends the thinking
    thinking_end: str  # appended when the model ended its thinking itself
    forced_end: str  # appended when the budget ended it
    answer_stops: list[str]
    newline_before_end: bool  # put a newline before an end marker unless the thinking already ends in one
    system: str | None = field(default=None, metadata={"omit_if": None})  # system prompt of the chat template


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
    slip_probability: float = 0.05
    wait_probability: float = 0.46
    waits_max: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.turns_min <= self.turns_max:
            raise ConfigError(f"dial.turns_min {self.turns_min}: not from 1 to turns_max {self.turns_max}. Lower it.")
        if self.turns_max > DIAL_PEOPLE:
            raise ConfigError(f"dial.turns_max {self.turns_max}: above the {DIAL_PEOPLE} people there are. Lower it.")
        if self.turn_max > 2 * self.practised_turn_max:
            raise ConfigError(
                f"dial.practised_turn_max {self.practised_turn_max}: two such turns do not make {self.turn_max}."
                " Raise it."
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
    problems: int = 0  # how many rows there are
    seed: int = 0
    answer_tokens: int = 256  # that an answer may need; the default of budget.answer_tokens


class EngineKind(Enum):
    TRANSFORMERS = "transformers"
    VLLM = "vllm"


@dataclass(frozen=True)
class EngineConfig:
    """What decides an engine's tokens; all but the kind are set by the machine (s1/generate/engines.py)."""

    kind: EngineKind
    dtype: str
    device: str  # cpu or cuda
    tensor_parallel: int  # devices that share the sums of one model


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
    device: str
    dtype: str  # of generation
    gpus: int
    tensor_parallel: int  # GPUs of one copy of the model
    data_parallel: int  # copies of the model, each in a process of its own
    workers: int  # stages that run at the same time
    threads: int  # CPU threads of one worker
    micro_batch: int  # training rows per device and forward pass
    checkpoint_every_steps: int  # how much training an interruption may cost
    slots: int  # traces that one copy decodes at the same time
    cache_gib: float | None  # memory for their keys and values on each device; null: what the weights leave of the GPU
    prefix_caching: bool  # vLLM: find what it has read before; false only to measure what that is worth


@dataclass(frozen=True)
class Launch:
    name: str
