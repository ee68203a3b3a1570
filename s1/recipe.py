"""The group `data`, typed: where training examples come from, and how 1,000 of many are chosen (paper, section 2).

    pool -> [teacher] -> cleaning -> [labels] -> [difficulty] -> selection -> [control]

All of it can be identity; an Endpoint says where a model is served, and reaches no key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from s1.config import ConfigError, Dial, Hub, Model, Task
from sweep.ranges import Count, FreeText, Natural, NotNegative, Seed, ShareAboveZero, Text

# ----------------------------------------------------------------------------------------------------- pool


class PoolKind(Enum):
    DIAL = "dial"  # the laptop's problems, with reasoning traces made by rule
    FILE = "file"  # a local JSON-lines or parquet file
    HUB = "hub"  # a dataset of the Hugging Face hub, at a pinned revision


class GraderKind(Enum):
    """How the answer of a pool row is held against its reference (s1/evaluate/graders.py)."""

    INTEGER = "integer"
    MATH = "math"
    LETTER = "letter"


@dataclass(frozen=True)
class Columns:
    """Where a pool keeps what; the defaults are s1's (a list of texts counts by its first)."""

    question: Text = "question"
    solution: Text | None = "solution"  # the reference: a whole solution, or the final answer alone
    source: Text | None = "source_type"  # null: all rows are of one source, named after the pool
    thinking: Text | None = "thinking_trajectories"  # null: no traces yet, a teacher is to write them
    answer: Text | None = "attempt"
    domain: Text | None = None


@dataclass(frozen=True)
class Conversation:
    """A pool whose rows are chats: question, and trace and answer between markers of the reply."""

    column: Text
    role: Text
    text: Text
    user: Text
    assistant: Text
    thinking_start: Text
    thinking_end: Text
    answer_start: Text
    answer_end: Text


@dataclass(frozen=True)
class Pool:
    name: Text
    kind: PoolKind
    rows: Natural  # dial: how many to make; otherwise how many there are, for the estimate
    columns: Columns = field(default_factory=Columns)
    conversation: Conversation | None = None  # instead of columns
    hub: Hub | None = None
    file: Text | None = None
    dial: Dial | None = None
    seed: Seed = 0  # dial


# -------------------------------------------------------------------------------------------------- teacher

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")  # an environment variable, as POSIX spells them


@dataclass(frozen=True)
class Endpoint:
    """Where an OpenAI-compatible model is served, what it allows and what it costs. Never identity."""

    base_url: Text
    key_variable: FreeText | None  # the environment variable that holds the key; null: none is needed
    concurrency: Count = 16
    requests_per_minute: Count | None = None
    usd_per_million_prompt_tokens: NotNegative = 0.0
    usd_per_million_completion_tokens: NotNegative = 0.0

    def __post_init__(self) -> None:
        where = urlsplit(self.base_url)
        if where.scheme not in ("http", "https") or where.username or where.password or where.query:
            raise ConfigError("endpoint.base_url: not a plain http(s) address. Write no key into it, and no query.")
        if self.key_variable is not None and not VARIABLE.fullmatch(self.key_variable):  # a pasted key: not repeated
            raise ConfigError(
                "endpoint.key_variable: not the name of an environment variable. Export the key, and name the variable."
            )

    def usd(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The price of so many tokens; thoughts are completion tokens."""
        prompt_usd = prompt_tokens * self.usd_per_million_prompt_tokens
        return (prompt_usd + completion_tokens * self.usd_per_million_completion_tokens) / 1e6


@dataclass(frozen=True)
class Teacher:
    """A model behind an endpoint, and how it is asked."""

    model: Text
    endpoint: Endpoint
    max_tokens: Count
    temperature: NotNegative | None = None  # null: the server's default
    top_p: ShareAboveZero | None = None
    seed: Seed | None = None
    system: FreeText | None = None


# ------------------------------------------------------------------------------------------------- curation


@dataclass(frozen=True)
class Pattern:
    """A question that matches is dropped, unless its source begins with one of these."""

    reason: Text
    regex: Text
    except_sources: list[FreeText] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            re.compile(self.regex)
        except re.error as error:
            raise ConfigError(
                f"data.cleaning.patterns {self.regex!r}: no regular expression ({error}). Mend it."
            ) from None


@dataclass(frozen=True)
class Cleaning:
    """Decontamination and quality (paper, section 2.2; appendix C)."""

    ngram_words: Count  # a question that shares so many consecutive words with one of the evaluations is dropped
    patterns: list[Pattern] = field(default_factory=list)


@dataclass(frozen=True)
class Difficulty:
    """A question that one of the solvers gets right is too easy (paper, section 2.2)."""

    solvers: dict[Text, Model]
    task: Text  # the lm-eval task whose words ask and whose grader grades
    temperature: NotNegative = 0.05
    seed: Seed = 0


@dataclass(frozen=True)
class Labels:
    """Domains told by a model behind an endpoint; the paper's are the 61 classes of the MSC, by Claude 3.5 Sonnet."""

    teacher: Teacher


class Strategy(Enum):
    ALL = "all"  # every row, in order
    RANDOM = "random"  # uniformly
    LONGEST = "longest"  # by trace length
    DIVERSE = "diverse"  # a domain uniformly, in it a row; a long trace rather than a short one (Algorithm 1)


@dataclass(frozen=True)
class SeedSet:
    """Rows taken before any draw if their trace gives the right answer: all of some sources, long ones of others."""

    sources: list[FreeText]  # by the beginning of their names
    long_sources: dict[FreeText, Natural]  # likewise: traces of more tokens than this


@dataclass(frozen=True)
class Tail:
    """After `after` rows domains are drawn by what the benchmarks hold, not uniformly (s1's code, not its paper).

    weight of domain d = first[d] + sum over others of int(other[d] x share x sum(first) / sum(other)), counts of rows
    """

    after: Natural
    first: FreeText  # a source, by the beginning of its name
    others: dict[FreeText, NotNegative]  # share by source


@dataclass(frozen=True)
class Selection:
    strategy: Strategy
    examples: Count | None = None  # null: all
    seed: Seed = 0
    seed_set: SeedSet | None = None  # diverse
    tail: Tail | None = None  # diverse
    favour_long: bool = True  # diverse: within a domain by 2^-rank of trace length; false: uniformly

    def __post_init__(self) -> None:
        if (self.examples is None) != (self.strategy is Strategy.ALL):
            raise ConfigError(
                f"data.selection.examples {self.examples}: strategy {self.strategy.value} takes"
                f" {'all rows. Set it to null' if self.strategy is Strategy.ALL else 'a number. Give one, 1000 say'}."
            )
        if self.strategy is not Strategy.DIVERSE and (self.seed_set or self.tail or not self.favour_long):
            raise ConfigError(
                f"data.selection.strategy {self.strategy.value}: seed_set, tail and favour_long belong to diverse."
                " Leave them out, or choose it."
            )


class Control(Enum):
    """Conditional control: the prompt says how long to think (paper, section 3.2 and Figure 10)."""

    NONE = "none"
    TOKENS = "tokens"  # "Think for up to N tokens."
    STEPS = "steps"  # "Think for up to N steps.", and the trace counts them down
    CLASS = "class"  # "Answer after a short amount of thinking." or a long one


@dataclass(frozen=True)
class Data:
    name: Text
    pool: Pool | None  # null: no fine-tuning, the model as it is
    grader: GraderKind = GraderKind.MATH  # of answers, against the references of the pool
    teacher: Teacher | None = None  # writes the traces anew
    cleaning: Cleaning | None = None
    evaluations: dict[Text, Task] = field(default_factory=dict)  # what the questions must not share words with
    difficulty: Difficulty | None = None
    labels: Labels | None = None  # null: domains are the pool's own, or its sources
    selection: Selection = field(default_factory=lambda: Selection(Strategy.ALL))
    control: Control = Control.NONE
