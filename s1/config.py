"""The groups of `conf/`, typed: one frozen dataclass per Hydra group.

All of it can be identity: the pipeline hands these dataclasses, or parts of them, to stages. The group `data` is in
s1/recipe.py; what says where and how to run, and reaches no key, is in s1/resources.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from sweep.errors import InputError


class ConfigError(InputError):
    """A field that no run could honour."""


# ------------------------------------------------------------------------------------------ the laptop's task


DIAL_PEOPLE = 12  # s1/data/dial.py names so many


@dataclass(frozen=True)
class Dial:
    """A family of dial problems: `positions` marks, `turns_min..turns_max` turns of 1..`turn_max` (s1/data/dial.py)."""

    positions: int = 20  # marks on the dial
    turn_max: int = 9  # the largest turn
    turns_min: int = 2  # fewest turns of a problem
    turns_max: int = 6  # most turns of a problem; each turn is made by another person
    careful_turns: int = 2  # how many more of the turns each further Wait redoes carefully
    practised_turn_max: int = 5  # turns up to this size are always practised in training
    gap_share: float = 0.25  # share of the larger (position, turn) facts that training never shows
    gap_seed: int = 1  # seed of the choice of those facts
    slip_probability: float = 0.05  # probability that a turn of the quick first pass of a training trace is wrong
    wait_probability: float = 0.46  # probability that a training trace goes on with a further Wait
    waits_max: int = 4  # most Waits in a training trace

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


# ----------------------------------------------------------------------------------------------- fine-tuning


class Method(Enum):
    FULL = "full"  # all weights, as in the paper
    LORA = "lora"  # low-rank updates of frozen weights
    QLORA = "qlora"  # the same over weights in four bits


class Overlong(Enum):
    """What becomes of a training example of more than `block_size` tokens."""

    REFUSE = "refuse"  # stop before training and name the rows
    DROP = "drop"  # leave the row out
    CUT = "cut"  # cut off its end, and the answer with it; the paper's Table 7 shows what that does


@dataclass(frozen=True)
class Lora:
    rank: int  # rank of the low-rank updates
    alpha: int  # the updates are scaled by alpha / rank
    dropout: float  # dropout on the input of the updates
    targets: list[str]  # modules, by the end of their names; [all-linear]: every linear layer but the head


@dataclass(frozen=True)
class Train:
    """A fine-tuning recipe. The global batch is identity; how it is split over devices is the machine's business."""

    method: Method  # which weights are trained
    epochs: int | None  # passes over the training set; null: train for `steps`
    steps: int | None  # optimiser steps; null: train for `epochs`
    batch_size: int  # rows of one optimiser step, over all devices
    learning_rate: float  # peak learning rate
    warmup_share: float  # share of the steps in which the learning rate rises to its peak
    scheduler: str  # name of a transformers scheduler, such as linear or cosine
    adam_beta1: float  # decay of AdamW's mean of gradients
    adam_beta2: float  # decay of AdamW's mean of squared gradients
    weight_decay: float  # AdamW's weight decay
    max_grad_norm: float  # gradients with a larger norm are scaled down to it
    block_size: int  # longest training row, in tokens
    overlong: Overlong  # what to do with a longer row
    length_window: int  # batches among which rows are sorted by length; 1: batches at random, as in the paper
    dtype: str  # of the forward and backward pass, and of the weights that are saved
    weights_dtype: str  # of the weights that the optimiser updates
    lora: Lora | None = None  # the adapters, for method lora and qlora; null: none
    seed: int = 0  # seed of the order of rows and of dropout


# ---------------------------------------------------------------------------------------------------- model


class ModelKind(Enum):
    FRESH = "fresh"  # random weights of a small architecture, own tokenizer: the laptop model
    GGUF = "gguf"  # a GGUF file inside an installed Python package, dequantised
    HUB = "hub"  # a Hugging Face repository at a pinned revision
    DIRECTORY = "directory"  # a local directory in Hugging Face layout


@dataclass(frozen=True)
class Architecture:
    """A small Llama with biased attention; only for `kind: fresh`."""

    hidden_size: int  # width of the residual stream
    layers: int  # decoder layers
    heads: int  # attention heads
    feed_forward_size: int  # width of the feed-forward layers
    rope_theta: float  # base of the rotary position embedding
    initializer_range: float  # standard deviation of the random initial weights


@dataclass(frozen=True)
class Dialect:
    """The strings by which a model separates question, thinking and answer (paper, section 3.1; s1 training text)."""

    prompt: str | None  # a template with {question}; null: the tokenizer's own chat template
    thinking_start: str  # opens the thinking; appended to the prompt unless the template ends in it; empty: no opening
    thinking_stops: list[str]  # any of them, sampled, ends the thinking
    thinking_end: str  # appended when the model ended its thinking itself
    forced_end: str  # appended when the budget ended it
    answer_stops: list[str]  # any of them, sampled, ends the answer
    newline_before_end: bool  # put a newline before an end marker unless the thinking already ends in one
    # system prompt of the chat template; null: none of ours
    system: str | None = field(default=None, metadata={"omit_if": None})
    # training only: what an answer begins with unless it contains it already; null: answers stay as they are
    answer_prefix: str | None = field(default=None, metadata={"omit_if": None})


@dataclass(frozen=True)
class Pretraining:
    """What a fresh model learned before it is a base model: the laptop's stand-in for a pretrained one."""

    dial: Dial  # the family of problems that the base model learns
    examples: int  # training examples to make
    train: Train  # the recipe of the pretraining
    seed: int = 0  # seed of the examples


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder, for estimates of memory and time."""

    parameters: float  # number of parameters
    layers: int  # decoder layers
    hidden_size: int  # width of the residual stream
    heads: int  # attention heads
    kv_heads: int  # heads of keys and values; fewer than `heads` with grouped-query attention
    feed_forward_size: int  # width of the feed-forward layers
    vocabulary: int  # tokens of the vocabulary
    head_size: int = 128  # width of one attention head


@dataclass(frozen=True)
class Model:
    name: str  # name in reports and on W&B
    kind: ModelKind  # where the weights come from
    context_tokens: int  # longest sequence that the model is used with, prompt and answer included
    dialect: Dialect  # how the model marks its thinking
    repo: str | None = None  # hub repository, Python package of a GGUF file, or directory
    revision: str | None = None  # hub only: a 40-hex commit; null: the one in pins.lock
    file: str | None = None  # gguf only: the file inside the package
    architecture: Architecture | None = None  # fresh only: the sizes of the model
    dial: Dial | None = None  # fresh only: the family of problems whose words make its tokenizer
    pretraining: Pretraining | None = None  # fresh only: what it learns before fine-tuning; null: random weights
    shape: Shape | None = None  # sizes for estimates before anything is loaded; null: no estimate of memory and FLOPs
    seed: int = 0  # fresh only: seed of the initial weights


# -------------------------------------------------------------------------------------- budget, task, engine


class Forcing(Enum):
    NONE = "none"  # plain generation: the model opens and closes its thinking itself
    BUDGET = "budget"  # budget forcing: cut at a maximum, or suppress the end (paper, section 3.1)


class Compat(Enum):
    CORRECTED = "corrected"  # the rules of the paper, with the faults of the original code corrected
    S1 = "s1"  # the decoding rules of the original code, traps included


@dataclass(frozen=True)
class Budget:
    """How much to think. Thinking tokens include appended continuation strings, exclude delimiters."""

    forcing: Forcing  # whether to force a budget at all
    max_thinking_tokens: int | None  # the thinking is ended at this many tokens; null: as far as the context allows
    min_thinking_tokens: int  # an end of the thinking before this many tokens is suppressed
    waits: int  # how many ends of the thinking to suppress
    continuation: str  # text appended at each suppressed end; empty: only the end is suppressed
    answer_tokens: int | None  # an explicit cap of the answer; null: what the context leaves
    # tokens of the context that thinking leaves to the answer; null: the method's choice (1,024, or a quarter)
    answer_reserve: int | None = None
    compat: Compat = Compat.CORRECTED  # which rules of decoding apply


@dataclass(frozen=True)
class Hub:
    """A dataset on the Hugging Face hub."""

    repo: str  # owner/name of the dataset
    revision: str | None  # a 40-hex commit; null: the one in pins.lock
    split: str  # split of the dataset, such as train
    subset: str | None = None  # configuration of the dataset; null: its only one


@dataclass(frozen=True)
class Task:
    """An lm-eval task of tasks/ or s1/evaluate/tasks/, and where its rows come from: a file, the hub, a rule, or what
    its own YAML says."""

    name: str  # name of the lm-eval task: a file in tasks/, or one that ships with the package
    limit: int | None = None  # use only the first rows; null: all
    # JSON lines with the columns of the hub dataset; null: rows come from `hub`, `dial` or the task's own YAML
    data_file: str | None = None
    hub: Hub | None = None  # the dataset that holds the rows
    dial: Dial | None = None  # make the rows by rule, `problems` of them, of this family
    problems: int = 0  # how many rows there are
    seed: int = 0  # seed of rows that are made by rule
    # text after the question, separated by a blank line, such as "Think for up to 1024 tokens."
    instruction: str | None = None


class EngineKind(Enum):
    TRANSFORMERS = "transformers"  # continuous batching on transformers; runs on a CPU and on one GPU
    VLLM = "vllm"  # vLLM; the engine for GPUs


@dataclass(frozen=True)
class EngineConfig:
    """What decides an engine's tokens; all but the kind are set by the machine (s1/generate/engines.py)."""

    kind: EngineKind  # which engine generates
    dtype: str  # of weights and computation; set by the machine
    device: str  # cpu or cuda; set by the machine
    tensor_parallel: int  # devices that compute one model together; set by the machine


@dataclass(frozen=True)
class Generate:
    samples: int  # answers per question
    temperature: float  # sampling temperature; 0: greedy
    top_p: float  # sample from the smallest set of tokens with this total probability; 1: all tokens
    seed: int  # seed of sampling
    share: bool  # serve all points from one store of continuations; false: every point from scratch, as a control


@dataclass(frozen=True)
class Statistics:
    level: float = 0.95  # confidence level of intervals
    resamples: int = 10_000  # bootstrap resamples
    seed: int = 0  # seed of the bootstrap
    power: float = 0.8  # power for which the smallest detectable difference is given
    # points that differ in `seed` alone become one, their mean over seeds; false: a series for each seed
    pool_seeds: bool = True


@dataclass(frozen=True)
class Compare:
    """Points that agree in all but one axis are compared in pairs: each against the one with this value."""

    axis: str  # the axis along which points are compared in pairs, such as data
    reference: str  # the value of that axis which the others are compared with
