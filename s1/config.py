"""The groups of `conf/`, typed: one frozen dataclass per Hydra group.

All of it can be identity: the pipeline hands these dataclasses, or parts of them, to stages. The group `data` is in
s1/recipe.py; what says where and how to run, and reaches no key, is in s1/resources.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Le, MinLen

from sweep.errors import InputError
from sweep.ranges import (
    Count,
    FreeText,
    InsideZeroToOne,
    Natural,
    NotNegative,
    Positive,
    Seed,
    Share,
    ShareAboveZero,
    ShareBelowOne,
    Text,
    WholeNumber,
)

Device: TypeAlias = Literal["cpu", "cuda"]
Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]  # of generation, by any engine
TrainingPrecision: TypeAlias = Literal["float32", "bfloat16"]
TemplateArgument: TypeAlias = bool | WholeNumber | FreeText
Scheduler: TypeAlias = Literal[  # of transformers: those that need nothing but the steps and the warm-up
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
]


class ConfigError(InputError):
    """A field that no run could honour."""


# ------------------------------------------------------------------------------------------ the laptop's task


DIAL_PEOPLE = 12  # s1/data/dial.py names so many


@dataclass(frozen=True)
class Dial:
    """A family of dial problems: `positions` marks, `turns_min..turns_max` turns of 1..`turn_max` (s1/data/dial.py)."""

    positions: Annotated[int, Ge(2)] = 20
    turn_max: Count = 9
    turns_min: Count = 2
    turns_max: Annotated[int, Ge(1), Le(DIAL_PEOPLE)] = 6
    careful_turns: Natural = 2  # how many more of the turns each further Wait redoes carefully
    practised_turn_max: Count = 5  # turns up to this size are always practised
    gap_share: ShareBelowOne = 0.25  # share of the larger (position, turn) facts that training never shows
    gap_seed: Seed = 1
    slip_probability: Share = 0.05
    wait_probability: Share = 0.46
    waits_max: Natural = 4

    def __post_init__(self) -> None:
        if not self.turns_min <= self.turns_max:
            raise ConfigError(f"dial.turns_min {self.turns_min}: not from 1 to turns_max {self.turns_max}. Lower it.")
        if self.turn_max > 2 * self.practised_turn_max:
            raise ConfigError(
                f"dial.practised_turn_max {self.practised_turn_max}: two such turns do not make {self.turn_max}."
                " Raise it."
            )


# ----------------------------------------------------------------------------------------------- fine-tuning


class Method(Enum):
    FULL = "full"  # all weights, as in the paper
    LORA = "lora"  # low-rank updates of frozen weights
    QLORA = "qlora"  # the same over weights in four bits


class Overlong(Enum):
    """What becomes of a training example of more than `block_size` tokens."""

    REFUSE = "refuse"
    DROP = "drop"
    CUT = "cut"  # its end is lost, and with it the answer: the paper's Table 7 shows what that does


@dataclass(frozen=True)
class Lora:
    rank: Count
    alpha: Count
    dropout: ShareBelowOne
    targets: Annotated[
        list[Text], MinLen(1)
    ]  # modules, by the end of their names; ["all-linear"]: every linear layer but the head


@dataclass(frozen=True)
class Train:
    """A fine-tuning recipe. The global batch is identity; how it is split over devices is the machine's business."""

    method: Method
    epochs: Count | None  # null: by steps
    steps: Count | None  # null: by epochs
    batch_size: Count
    learning_rate: Positive
    warmup_share: ShareBelowOne  # of the steps
    scheduler: Scheduler
    adam_beta1: ShareBelowOne
    adam_beta2: ShareBelowOne
    weight_decay: NotNegative
    max_grad_norm: NotNegative  # 0: gradients are not clipped
    block_size: Count  # tokens
    overlong: Overlong
    length_window: Count  # batches among which rows are sorted by length; 1: batches at random, as in the paper
    dtype: TrainingPrecision  # of the forward and backward pass, and of the weights that are saved
    weights_dtype: TrainingPrecision  # of the weights that the optimiser updates
    lora: Lora | None = None
    seed: Seed = 0


# ---------------------------------------------------------------------------------------------------- model


class ModelKind(Enum):
    FRESH = "fresh"  # random weights of a small architecture, own tokenizer: the laptop model
    GGUF = "gguf"  # a GGUF file inside an installed Python package, dequantised
    HUB = "hub"  # a Hugging Face repository at a pinned revision
    DIRECTORY = "directory"  # a local directory in Hugging Face layout


@dataclass(frozen=True)
class Architecture:
    """A small Llama with biased attention; only for `kind: fresh`."""

    hidden_size: Count
    layers: Count
    heads: Count
    feed_forward_size: Count
    rope_theta: Positive
    initializer_range: Positive


@dataclass(frozen=True)
class Dialect:
    """The strings by which a model separates question, thinking and answer (paper, section 3.1; s1 training text)."""

    prompt: Text | None  # a template with {question}; null: the tokenizer's own chat template
    thinking_start: (
        FreeText  # opens the thinking; appended to the prompt unless the template ends in it; empty: no opening
    )
    thinking_stops: list[FreeText]  # any of them, sampled, ends the thinking
    thinking_end: FreeText  # appended when the model ended its thinking itself
    forced_end: FreeText  # appended when the budget ended it
    answer_stops: list[FreeText]
    newline_before_end: bool  # put a newline before an end marker unless the thinking already ends in one
    system: FreeText | None = field(default=None, metadata={"omit_if": None})  # system prompt of the chat template
    # Training only: what an answer opens with unless it holds it already. Null: answers stay as they are.
    answer_prefix: FreeText | None = field(default=None, metadata={"omit_if": None})
    # What the chat template is given beside the question: {enable_thinking: false}. Null: nothing.
    template_arguments: Mapping[Text, bool | WholeNumber | FreeText] | None = field(
        default=None, metadata={"omit_if": None}
    )


@dataclass(frozen=True)
class Pretraining:
    """What a fresh model learned before it is a base model: the laptop's stand-in for a pretrained one."""

    dial: Dial
    examples: Count
    train: Train
    seed: Seed = 0


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder, for estimates of memory and time."""

    parameters: Positive
    layers: Count
    hidden_size: Count
    heads: Count
    kv_heads: Count
    feed_forward_size: Count
    vocabulary: Count
    head_size: Count = 128


@dataclass(frozen=True)
class Model:
    name: Text
    kind: ModelKind
    context_tokens: Natural  # 0: what the config.json of a directory says
    dialect: Dialect
    repo: Text | None = None  # hub repository, Python package of a GGUF file, or directory
    revision: Text | None = None  # hub: a 40-hex commit
    file: Text | None = None  # gguf: the file inside the package
    architecture: Architecture | None = None  # fresh
    dial: Dial | None = None  # fresh: the family whose words make its tokenizer
    pretraining: Pretraining | None = None  # fresh: null: random weights
    shape: Shape | None = None  # for estimates before anything is loaded
    seed: Seed = 0  # fresh: of the initial weights


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
    max_thinking_tokens: Count | None  # null: as far as the context allows
    min_thinking_tokens: Natural  # the end is suppressed before this many
    waits: Natural  # how many ends to suppress
    continuation: FreeText  # appended at each suppressed end; empty: only the end is suppressed
    answer_tokens: Count | None  # an explicit cap of the answer; null: what the context leaves
    # Tokens of the context that thinking leaves to the answer; null: the method's choice (1,024, or a quarter).
    answer_reserve: Count | None = None
    compat: Compat = Compat.CORRECTED


@dataclass(frozen=True)
class Hub:
    """A dataset on the Hugging Face hub."""

    repo: Text
    revision: Text | None  # a 40-hex commit
    split: Text
    subset: Text | None = None


@dataclass(frozen=True)
class Task:
    """An lm-eval task of tasks/ or s1/evaluate/tasks/, and where its rows come from: a file, the hub, a rule, or what
    its own YAML says."""

    name: Text
    limit: Count | None = None  # the first rows only
    data_file: Text | None = None  # JSON lines with the columns of the hub dataset
    hub: Hub | None = None
    dial: Dial | None = None  # made by rule, `problems` of them
    problems: Natural = 0  # how many rows there are
    seed: Seed = 0
    instruction: Text | None = None  # after the question, a blank line between: "Think for up to 1024 tokens."


class EngineKind(Enum):
    TRANSFORMERS = "transformers"
    VLLM = "vllm"


@dataclass(frozen=True)
class EngineConfig:
    """What decides an engine's tokens; all but the kind are set by the machine (s1/generate/engines.py)."""

    kind: EngineKind
    dtype: Precision
    device: Device
    tensor_parallel: Count  # devices that share the sums of one model


@dataclass(frozen=True)
class Generate:
    samples: Count  # per question
    temperature: NotNegative  # 0: greedy
    top_p: ShareAboveZero
    seed: Seed
    share: bool  # serve all points from one continuation store; false: every point from scratch, as a control


@dataclass(frozen=True)
class Statistics:
    level: InsideZeroToOne = 0.95
    resamples: Count = 10_000
    seed: Seed = 0
    power: InsideZeroToOne = 0.8  # of the smallest detectable difference
    pool_seeds: bool = True  # points that differ in `seed` alone are one, its mean over seeds; false: a series each


@dataclass(frozen=True)
class Compare:
    """Points that agree in all but one axis are compared in pairs: each against the one with this value."""

    axis: Text  # "data"
    reference: Text
