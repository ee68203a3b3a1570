"""Schema of the groups in `conf/`: one frozen dataclass per Hydra group.

All of it can enter stage keys: the pipeline passes these dataclasses, or parts of them, to stages. The group `data` is
in s1/config/data.py. Groups that say where and how to run, and enter no key, are in s1/config/resources.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Le, MinLen

from sweep.core.ranges import (
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
from sweep.errors import InputError

Device: TypeAlias = Literal["cpu", "cuda"]
Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]  # of generation, by any engine
# of the KV cache in vLLM; auto: the dtype of generation
KvCachePrecision: TypeAlias = Literal["auto", "fp8_e4m3", "fp8_e5m2"]
TrainingPrecision: TypeAlias = Literal["float32", "bfloat16"]
TemplateArgument: TypeAlias = bool | WholeNumber | FreeText
Scheduler: TypeAlias = Literal[  # schedulers of transformers that need only the number of steps and the warm-up
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
]


class ConfigError(InputError):
    """A configuration that no run can carry out."""


# ------------------------------------------------------------------------------------------ the laptop's task


LOOKS = 3  # rounds of a scan with a target
MOST_GROWTH = 4.0  # of questions or samples from one of these rounds to the next
SAMPLES_MAX = 64
DIAL_PEOPLE = 12  # as many as s1/dial.py has names for


@dataclass(frozen=True)
class Dial:
    """A family of dial problems: `positions` marks, `turns_min..turns_max` turns of 1..`turn_max` (s1/dial.py)."""

    positions: Annotated[int, Ge(2)] = 20  # marks on the dial
    turn_max: Count = 9  # the largest turn
    turns_min: Count = 2  # fewest turns of a problem
    # most turns of a problem; a different person makes each turn
    turns_max: Annotated[int, Ge(1), Le(DIAL_PEOPLE)] = 6
    careful_turns: Natural = 2  # how many more turns each Wait redoes carefully
    practised_turn_max: Count = 5  # turns up to this size are always practised in training
    gap_share: ShareBelowOne = 0.25  # share of the larger (position, turn) facts that training never shows
    gap_seed: Seed = 1  # seed of the choice of those facts
    slip_probability: Share = 0.05  # probability that a turn of the quick first pass of a training trace is wrong
    wait_probability: Share = 0.46  # probability that a training trace continues with another Wait
    waits_max: Natural = 4  # most Waits in a training trace
    # put a blank line between the passes of a training trace: each is then a step of data.control=steps
    blank_lines: bool = field(default=False, metadata={"omit_if": False})

    def __post_init__(self) -> None:
        if not self.turns_min <= self.turns_max:
            raise ConfigError(f"dial.turns_min {self.turns_min}: not from 1 to turns_max {self.turns_max}. Lower it.")
        if self.turn_max > 2 * self.practised_turn_max:
            raise ConfigError(
                f"dial.practised_turn_max {self.practised_turn_max}: two such turns are less than dial.turn_max"
                f" {self.turn_max}. Raise dial.practised_turn_max."
            )


# ----------------------------------------------------------------------------------------------- fine-tuning


class TrainMethod(Enum):
    FULL = "full"  # all weights, as in the paper
    LORA = "lora"  # low-rank updates of frozen weights
    QLORA = "qlora"  # the same over four-bit weights


class Overlong(Enum):
    """What to do with a training example of more than `block_size` tokens."""

    REFUSE = "refuse"  # stop before training and name the rows
    DROP = "drop"  # leave the row out
    CUT = "cut"  # cut off its end, answer included; the paper's Table 7 shows the effect


@dataclass(frozen=True)
class Lora:
    rank: Count  # rank of the low-rank updates
    alpha: Count  # the updates are scaled by alpha / rank
    dropout: ShareBelowOne  # dropout on the input of the updates
    # modules, by the end of their names; [all-linear]: every linear layer but the head
    targets: Annotated[list[Text], MinLen(1)]


@dataclass(frozen=True)
class Train:
    """A fine-tuning recipe. The global batch size enters the key; the machine decides how devices share it."""

    method: TrainMethod  # which weights are trained
    epochs: Count | None  # passes over the training set; null: train for `steps`
    steps: Count | None  # optimiser steps; null: train for `epochs`
    batch_size: Count  # rows of one optimiser step, over all devices
    learning_rate: Positive  # peak learning rate
    warmup_share: ShareBelowOne  # share of the steps in which the learning rate rises to its peak
    scheduler: Scheduler  # name of a transformers scheduler, such as linear or cosine
    adam_beta1: ShareBelowOne  # decay of AdamW's mean of gradients
    adam_beta2: ShareBelowOne  # decay of AdamW's mean of squared gradients
    weight_decay: NotNegative  # AdamW's weight decay
    max_grad_norm: NotNegative  # scale down gradients with a larger norm
    block_size: Count  # longest training row, in tokens
    overlong: Overlong  # what to do with a longer row
    length_window: Count  # sort rows by length within this many batches; 1: random batches, as in the paper
    dtype: TrainingPrecision  # dtype of the forward and backward pass, and of the saved weights
    weights_dtype: TrainingPrecision  # dtype of the weights that the optimiser updates
    lora: Lora | None = None  # the adapters, for method lora and qlora; null: none
    seed: Seed = 0  # seed of the order of rows and of dropout


# ---------------------------------------------------------------------------------------------------- model


class ModelKind(Enum):
    FRESH = "fresh"  # random weights of a small architecture, with its own tokenizer: the laptop model
    GGUF = "gguf"  # a GGUF file inside an installed Python package, dequantised
    HUB = "hub"  # a Hugging Face repository at a pinned revision
    DIRECTORY = "directory"  # a local directory in Hugging Face layout


@dataclass(frozen=True)
class Architecture:
    """Sizes of a small Llama with attention biases, for `kind: fresh` only."""

    hidden_size: Count  # width of the residual stream
    layers: Count  # decoder layers
    heads: Count  # attention heads
    feed_forward_size: Count  # width of the feed-forward layers
    rope_theta: Positive  # base of the rotary position embedding
    initializer_range: Positive  # standard deviation of the random initial weights


@dataclass(frozen=True)
class ThinkingFormat:
    """The strings by which a model separates question, thinking and answer (paper, section 3.1; s1 training text)."""

    prompt: Text | None  # a template with {question}; null: the tokenizer's own chat template
    # opens the thinking; appended to the prompt unless the prompt ends in it already; empty: none
    thinking_start: FreeText
    thinking_stops: list[FreeText]  # sampling any of these ends the thinking
    thinking_end: FreeText  # appended when the model ends its thinking
    forced_end: FreeText  # appended when the budget ends the thinking
    answer_stops: list[FreeText]  # sampling any of these ends the answer
    newline_before_end: bool  # put a newline before an end marker unless the thinking already ends in one
    # more stops, in generation alone: sampling any of these ends the thinking as a budget would
    forced_stops: list[FreeText] = field(default_factory=list, metadata={"omit_if": []})
    # system prompt of the chat template; null: the template's default
    system: FreeText | None = field(default=None, metadata={"omit_if": None})
    # training only: put before an answer that does not contain it; null: leave answers unchanged
    answer_prefix: FreeText | None = field(default=None, metadata={"omit_if": None})
    # text that budget forcing inserts into the thinking, once, before the maximum; null: none
    warning: Text | None = field(default=None, metadata={"omit_if": None})
    # share of max_thinking_tokens after which it inserts the warning
    warning_share: InsideZeroToOne | None = field(default=None, metadata={"omit_if": None})
    # arguments of the chat template, such as {enable_thinking: false}; null: none
    template_arguments: Mapping[Text, bool | WholeNumber | FreeText] | None = field(
        default=None, metadata={"omit_if": None}
    )


@dataclass(frozen=True)
class Pretraining:
    """Pretraining of a fresh model: the laptop's stand-in for a pretrained base model."""

    dial: Dial  # the family of problems that the base model learns
    examples: Count  # how many training examples to make
    train: Train  # the recipe of the pretraining
    seed: Seed = 0  # seed of the examples


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of a decoder, for estimates of memory and time."""

    parameters: Positive  # number of parameters
    layers: Count  # decoder layers
    hidden_size: Count  # width of the residual stream
    heads: Count  # attention heads
    kv_heads: Count  # heads of keys and values; fewer than `heads` with grouped-query attention
    feed_forward_size: Count  # width of the feed-forward layers
    vocabulary: Count  # tokens of the vocabulary
    head_size: Count = 128  # width of one attention head


@dataclass(frozen=True)
class Model:
    name: Text  # name in reports and on W&B
    kind: ModelKind  # where the weights come from
    context_tokens: Natural  # longest sequence to use the model with, prompt and answer included
    thinking_format: ThinkingFormat  # how the model marks its thinking
    repo: Text | None = None  # hub repository, Python package of a GGUF file, or directory
    revision: Text | None = None  # hub only: a 40-hex commit; null: the one in pins.lock
    file: Text | None = None  # gguf only: the file inside the package
    architecture: Architecture | None = None  # fresh only: the sizes of the model
    dial: Dial | None = None  # fresh only: the family of problems whose words make its tokenizer
    pretraining: Pretraining | None = None  # fresh only: training before fine-tuning; null: random weights
    # sizes for estimates before anything is loaded; null: no estimate of memory and FLOPs
    shape: DecoderShape | None = None
    seed: Seed = 0  # fresh only: seed of the initial weights


# -------------------------------------------------------------------------------------- budget, task, engine


class Forcing(Enum):
    NONE = "none"  # plain generation: the model opens and closes its thinking itself
    BUDGET = "budget"  # budget forcing: cut at a maximum, or suppress the end (paper, section 3.1)
    REJECTION = "rejection"  # sample until the thinking ends by itself within a limit (paper, section 5.2)
    REBASE = "rebase"  # tree search over steps with a process reward model (paper, section 5.3)


class Compat(Enum):
    CORRECTED = "corrected"  # the rules of the paper, without the bugs of the original code
    S1 = "s1"  # the decoding rules of the original code, bugs included


class Aggregation(Enum):
    NONE = "none"  # every sample is an answer of its own
    MAJORITY_VOTE = "majority_vote"  # the most common answer
    WEIGHTED_VOTE = "weighted_vote"  # the answer whose samples have the largest sum of rewards
    BEST_OF_N = "best_of_n"  # the answer of the sample with the highest reward


class RebaseVote(Enum):
    MAJORITY = "majority"  # every branch has one vote
    WEIGHTED = "weighted"  # a branch votes with its reward


@dataclass(frozen=True)
class Rebase:
    """Tree search over steps (s1/generate/methods/rebase.py)."""

    width: Count  # branches at the same time, those that have ended included
    temperature: Positive  # of the softmax over rewards, by which open branches share the width
    steps_max: Count  # end the thinking of a branch after this many steps
    step_ends: Annotated[list[FreeText], MinLen(1)]  # texts that end a step
    vote: RebaseVote  # how the answers of all branches become one


@dataclass(frozen=True)
class Budget:
    """How much to think. Thinking tokens include appended continuation strings and exclude delimiters."""

    forcing: Forcing  # whether to force a budget
    max_thinking_tokens: Count | None  # end the thinking at this many tokens; null: only where the context ends
    min_thinking_tokens: Natural  # suppress an end of the thinking before this many tokens
    waits: Natural  # how many ends of the thinking to suppress
    continuation: FreeText  # text to append at each suppressed end; empty: suppress the end only
    answer_tokens: Count | None  # limit of the answer; null: the rest of the context
    # tokens of the context to reserve for the answer; null: the method decides (1,024, or a quarter)
    answer_reserve: Count | None = None
    compat: Compat = Compat.CORRECTED  # decoding rules
    # rejection only: most tries for an answer
    tries: Count | None = field(default=None, metadata={"omit_if": None})
    # how several samples of a question become one answer
    aggregation: Aggregation = field(default=Aggregation.NONE, metadata={"omit_if": Aggregation.NONE})
    # how many samples to aggregate, averaged over all choices; null: all of generate.samples
    votes: Count | None = field(default=None, metadata={"omit_if": None})
    # the search, for forcing rebase only
    rebase: Rebase | None = field(default=None, metadata={"omit_if": None})

    def __post_init__(self) -> None:
        if self.tries is not None and self.forcing is not Forcing.REJECTION:
            raise ConfigError(f"budget.tries {self.tries}: only budget=rejection makes tries. Set it to null.")
        if self.votes is not None and self.aggregation is Aggregation.NONE:
            raise ConfigError(
                f"budget.votes {self.votes}: nothing is aggregated. Choose budget.aggregation=majority_vote,"
                " weighted_vote or best_of_n, or set it to null."
            )
        if (self.rebase is not None) != (self.forcing is Forcing.REBASE):
            raise ConfigError(
                f"budget.rebase {'null' if self.rebase is None else 'set'}: budget.forcing is {self.forcing.value}."
                " Choose budget=rebase, or set budget.rebase=null."
            )
        if self.rebase is not None and "" in self.rebase.step_ends:
            raise ConfigError("budget.rebase.step_ends '': an empty text ends everywhere. Remove it.")


@dataclass(frozen=True)
class ComputeRequest:
    """The test-time compute of a point: the budget that is forced, and the instruction in the prompt."""

    budget: Budget
    instruction: str | None = None  # at the end of the prompt: "Think for up to 1024 tokens."


@dataclass(frozen=True)
class Hub:
    """A dataset on the Hugging Face hub."""

    repo: Text  # owner/name of the dataset
    revision: Text | None  # a 40-hex commit; null: the one in pins.lock
    split: Text  # split of the dataset, such as train
    subset: Text | None = None  # configuration of the dataset; null: its only one


@dataclass(frozen=True)
class Task:
    """An lm-eval task of tasks/ or s1/evaluate/tasks/. Its rows come from a file, the hub, a rule, or its own YAML."""

    name: Text  # name of the lm-eval task: a file in tasks/, or one that ships with the package
    limit: Count | None = None  # use only the first rows; null: all
    # JSON lines with the columns of the hub dataset; null: take rows from `hub`, `dial` or the task's YAML
    data_file: Text | None = None
    hub: Hub | None = None  # the dataset that holds the rows
    dial: Dial | None = None  # generate `problems` rows of this family by rule
    problems: Natural = 0  # how many rows to generate, or how many there are, for the estimate
    samples: Count = 4  # answers per question of generate=sampled: fewer questions need more
    seed: Seed = 0  # seed of generated rows
    # text after the question, separated by a blank line, such as "Think for up to 1024 tokens."
    instruction: Text | None = None
    draw_seed: Seed | None = None  # seed of a random choice of `limit` rows; null: the first ones


class EngineKind(Enum):
    TRANSFORMERS = "transformers"  # continuous batching with transformers, on a CPU or one GPU
    VLLM = "vllm"  # vLLM, the engine for GPUs


@dataclass(frozen=True)
class EngineConfig:
    """Settings that can change an engine's tokens (s1/generate/engines.py); the machine sets three of them."""

    kind: EngineKind  # which engine generates
    dtype: Precision  # dtype of weights and computation; set by the machine
    device: Device  # cpu or cuda; set by the machine
    tensor_parallel: Count  # devices that compute one model together; set by the machine
    # vLLM: dtype of the KV cache; auto: that of `dtype`. FP8 holds twice the traces of bfloat16, and changes answers
    kv_cache_dtype: KvCachePrecision = field(default="auto", metadata={"omit_if": "auto"})
    # vLLM on GPUs from Hopper on: kernels whose results do not depend on the other requests of a batch; slower
    batch_invariant: bool = field(default=False, metadata={"omit_if": False})


@dataclass(frozen=True)
class Generate:
    samples: Count  # answers per question
    temperature: NotNegative  # sampling temperature; 0: greedy
    top_p: ShareAboveZero  # sample from the smallest set of tokens with this total probability; 1: all tokens
    seed: Seed  # seed of sampling
    share: bool  # points reuse each other's continuations; false: generate every point from scratch, as a control


@dataclass(frozen=True)
class Statistics:
    level: InsideZeroToOne = 0.95  # confidence level of intervals
    resamples: Count = 10_000  # bootstrap resamples
    seed: Seed = 0  # seed of the bootstrap
    power: InsideZeroToOne = 0.8  # power at which to report the smallest detectable difference
    # average points that differ in `seed` alone; false: a series for each seed
    pool_seeds: bool = True
    # half width of the named differences, in percentage points: add questions or samples in rounds until it is reached
    # (docs/results.md); null: one round, as configured
    target: Positive | None = field(default=None, metadata={"omit_if": None})
    # most rounds on the way to `target`; intervals hold for all of them together
    looks: Annotated[int, Ge(1), Le(20)] = field(default=LOOKS, metadata={"omit_if": LOOKS})
    # most samples of a question on the way to `target`
    samples_max: Count = field(default=SAMPLES_MAX, metadata={"omit_if": SAMPLES_MAX})


@dataclass(frozen=True)
class Compare:
    """Compare points that differ in one axis only, in pairs: each against the point with the reference value."""

    axis: Text  # the axis to compare along, such as data
    reference: Text  # the value on that axis to compare the others with
