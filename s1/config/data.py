"""Schema of the group `data`: where training examples come from and how they are chosen (paper, section 2).

    pool -> [mixture] -> [teacher] -> filtering -> [labels] -> [difficulty] -> selection -> [control]

All of it can enter stage keys except an Endpoint, which says where a model is served.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from s1.config.schema import ConfigError, Dial, Hub, Model, Task
from sweep.core.ranges import Count, FreeText, Natural, NotNegative, Positive, Seed, ShareAboveZero, Text

# ----------------------------------------------------------------------------------------------------- pool


class PoolKind(Enum):
    DIAL = "dial"  # the laptop's problems, with reasoning traces made by rule
    FILE = "file"  # a local JSON-lines or parquet file
    HUB = "hub"  # a dataset of the Hugging Face hub, at a pinned revision
    MIXTURE = "mixture"  # rows of several sources, in proportion to their weights


class GraderKind(Enum):
    """How the answer of a pool row is compared with its reference (s1/evaluate/graders.py)."""

    INTEGER = "integer"  # integers, as in AIME
    MATH = "math"  # mathematical expressions
    LETTER = "letter"  # the letter of a multiple-choice option


@dataclass(frozen=True)
class Columns:
    """Columns of a pool. Defaults are those of the s1 datasets; of a list of texts the first one is read."""

    question: Text = "question"  # column of the question
    # column of the reference: a whole solution, or the final answer alone; null: no reference
    solution: Text | None = "solution"
    source: Text | None = "source_type"  # column of the source; null: all rows have one source, named after the pool
    # column of the thinking; null: none yet, a teacher will write it
    thinking: Text | None = "thinking_trajectories"
    answer: Text | None = "attempt"  # column of the answer that belongs to the thinking
    domain: Text | None = None  # column of the domain; null: the source is the domain


@dataclass(frozen=True)
class Conversation:
    """A pool of chats; the reply has thinking and answer between markers."""

    column: Text  # column that holds the list of messages
    role: Text  # key of a message that holds its role
    text: Text  # key of a message that holds its text
    user: Text  # role of the user
    assistant: Text  # role of the assistant
    thinking_start: Text  # marker before the thinking
    thinking_end: Text  # marker after the thinking
    answer_start: Text  # marker before the answer
    answer_end: Text  # marker after the answer


@dataclass(frozen=True)
class PoolSource:
    """A single source of rows."""

    name: Text  # name in reports
    kind: PoolKind  # where the rows come from
    # dial: how many rows to make; mixture: how many to draw from sources with a weight; otherwise how many there are,
    # for the estimate
    rows: Natural
    # tokens of the longest row as a training example, for the estimate of memory; null: unknown
    longest_tokens: Count | None = field(default=None, metadata={"omit_if": None}, kw_only=True)
    columns: Columns = field(default_factory=Columns)  # names of the columns
    conversation: Conversation | None = None  # read rows as chats instead of by columns; null: by columns
    hub: Hub | None = None  # hub only: the dataset
    file: Text | None = None  # file only: path of the JSON-lines or parquet file
    dial: Dial | None = None  # dial only: the family of problems
    seed: Seed = 0  # dial and mixture: seed of the problems, or of the draw


@dataclass(frozen=True)
class MixtureSource:
    """One source of a mixture."""

    pool: PoolSource  # where its rows come from
    # its share of `data.pool.rows`, relative to the other weights; null: all of its rows, in addition to them
    weight: Positive | None = None


@dataclass(frozen=True)
class Pool(PoolSource):
    """Candidates for training: one source, or a mixture of several."""

    # mixture only: the sources by name
    sources: dict[Text, MixtureSource] = field(default_factory=dict, metadata={"omit_if": {}})

    def __post_init__(self) -> None:
        if (self.kind is PoolKind.MIXTURE) != bool(self.sources):
            raise ConfigError(
                f"data.pool.kind {self.kind.value}: {'a mixture needs' if not self.sources else 'it does not take'}"
                " data.pool.sources."
                f" {'Add one: +pool@data.pool.sources.NAME.pool=POOL' if not self.sources else 'Choose kind mixture'}."
            )
        for name, source in self.sources.items():
            if source.pool.kind is PoolKind.MIXTURE:
                raise ConfigError(
                    f"data.pool.sources.{name}.pool.kind mixture: no source itself. Add its sources here."
                )

    @property
    def expected_rows(self) -> int:
        """How many rows to expect, for estimates."""
        if self.kind is not PoolKind.MIXTURE:
            return self.rows
        whole = sum(each.pool.rows for each in self.sources.values() if each.weight is None)
        return whole + (self.rows if any(each.weight is not None for each in self.sources.values()) else 0)

    @property
    def places(self) -> dict[str, PoolSource]:
        """Every single source by its place in the configuration."""
        if self.kind is not PoolKind.MIXTURE:
            return {"data.pool": self}
        return {f"data.pool.sources.{name}.pool": each.pool for name, each in self.sources.items()}


# -------------------------------------------------------------------------------------------------- teacher

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")  # POSIX name of an environment variable


@dataclass(frozen=True)
class Endpoint:
    """Where an OpenAI-compatible model is served, its rate limits and its prices. Enters no key."""

    base_url: Text  # address of the API, such as http://localhost:8000/v1
    key_variable: FreeText | None  # the environment variable that holds the key; null: no key is needed
    concurrency: Count = 16  # requests in flight at the same time
    requests_per_minute: Count | None = None  # rate limit; null: none
    usd_per_million_prompt_tokens: NotNegative = 0.0  # price of prompt tokens, for the estimate
    usd_per_million_completion_tokens: NotNegative = 0.0  # price of completion tokens, thinking included

    def __post_init__(self) -> None:
        where = urlsplit(self.base_url)
        if where.scheme not in ("http", "https") or where.username or where.password or where.query:
            raise ConfigError(
                "endpoint.base_url: not a plain http(s) address. Give http(s)://HOST/PATH, without a key or a query."
            )
        if self.key_variable is not None and not VARIABLE.fullmatch(
            self.key_variable
        ):  # may be a pasted key: do not print it
            raise ConfigError(
                "endpoint.key_variable: not the name of an environment variable. Export the key, and name the variable."
            )

    def usd(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Price in USD of these tokens; thinking counts as completion tokens."""
        prompt_usd = prompt_tokens * self.usd_per_million_prompt_tokens
        return (prompt_usd + completion_tokens * self.usd_per_million_completion_tokens) / 1e6


@dataclass(frozen=True)
class Teacher:
    """A model behind an endpoint, and its sampling parameters."""

    model: Text  # name of the model on the server
    endpoint: Endpoint  # where the model is served
    max_tokens: Count  # longest reply, thinking included
    temperature: NotNegative | None = None  # sampling temperature; null: the server's default
    top_p: ShareAboveZero | None = None  # nucleus sampling; null: the server's default
    seed: Seed | None = None  # seed sent to the server; null: none
    system: FreeText | None = None  # system prompt; null: none


# ------------------------------------------------------------------------------------------------- curation


@dataclass(frozen=True)
class Pattern:
    """Drop a question that matches `regex`, unless its source begins with one of `except_sources`."""

    reason: Text  # reason to give in the report
    regex: Text  # regular expression to search for in the question
    # sources to exempt, by the beginning of their names
    except_sources: list[FreeText] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            re.compile(self.regex)
        except re.error as error:
            raise ConfigError(
                f"data.filters.patterns {self.regex!r}: invalid regular expression ({error}). Fix it."
            ) from None


@dataclass(frozen=True)
class Filters:
    """Decontamination and quality (paper, section 2.2; appendix C)."""

    ngram_words: Count  # drop a question that shares this many consecutive words with an evaluation
    patterns: list[Pattern] = field(default_factory=list)  # questions to drop by regular expression


@dataclass(frozen=True)
class Difficulty:
    """Drop a question that any solver gets right: it is too easy (paper, section 2.2)."""

    solvers: dict[Text, Model]  # models that try each question, by name
    task: Text  # the lm-eval task whose prompt and grader are used
    temperature: NotNegative = 0.05  # sampling temperature of the solvers
    seed: Seed = 0  # seed of the solvers' sampling


@dataclass(frozen=True)
class Labels:
    """Domains assigned by a model behind an endpoint. The paper used Claude 3.5 Sonnet and 61 classes of the MSC."""

    teacher: Teacher  # the model that names the domain of each question


class Strategy(Enum):
    ALL = "all"  # every row, in order
    RANDOM = "random"  # uniformly
    LONGEST = "longest"  # by trace length
    DIVERSE = "diverse"  # draw a domain uniformly, then a row in it, preferring long traces (Algorithm 1)


@dataclass(frozen=True)
class SeedSet:
    """Rows with a right answer to take before any draw: all of some sources, those with long traces of others."""

    sources: list[FreeText]  # sources to take all such rows from, by the beginning of their names
    # sources to take rows with traces of more than this many tokens from, by the beginning of their names
    long_sources: dict[FreeText, Natural]


@dataclass(frozen=True)
class Tail:
    """After `after` rows, draw domains in proportion to the benchmarks, not uniformly (s1's code, not its paper).

    weight of domain d = first[d] + sum over others of int(other[d] x share x sum(first) / sum(other)), counts of rows
    """

    after: Natural  # rows to draw before the weights change
    first: FreeText  # source of the base weights, by the beginning of its name
    others: dict[FreeText, NotNegative]  # share of each other source


@dataclass(frozen=True)
class Selection:
    strategy: Strategy  # how rows are chosen
    examples: Count | None = None  # how many rows to choose; null: all
    seed: Seed = 0  # seed of the draw
    seed_set: SeedSet | None = None  # diverse only: rows to take before any draw; null: none
    tail: Tail | None = None  # diverse only: other domain weights for the last rows; null: uniform to the end
    favour_long: bool = True  # diverse only: draw within a domain by 2^-rank of trace length; false: uniformly

    def __post_init__(self) -> None:
        if (self.examples is None) != (self.strategy is Strategy.ALL):
            raise ConfigError(
                f"data.selection.examples {self.examples}: strategy {self.strategy.value} takes"
                f" {'all rows. Set it to null' if self.strategy is Strategy.ALL else 'a number. Set it, such as 1000'}."
            )
        if self.strategy is not Strategy.DIVERSE and (self.seed_set or self.tail or not self.favour_long):
            raise ConfigError(
                f"data.selection.strategy {self.strategy.value}: seed_set, tail and favour_long belong to diverse."
                " Remove them, or choose strategy diverse."
            )


class Control(Enum):
    """Conditional control: the prompt says how long to think (paper, section 3.2 and Figure 10)."""

    NONE = "none"  # the prompt does not mention length
    TOKENS = "tokens"  # "Think for up to N tokens."
    STEPS = "steps"  # "Think for up to N steps.", and the trace counts them down
    CLASS = "class"  # "Answer after a short amount of thinking.", or a long one


@dataclass(frozen=True)
class Data:
    name: Text  # name in reports
    pool: Pool | None  # where examples come from; null: no fine-tuning
    grader: GraderKind = GraderKind.MATH  # how answers are compared with the references of the pool
    teacher: Teacher | None = None  # a model that writes new traces; null: keep the traces of the pool
    filters: Filters | None = None  # decontamination and quality filters; null: none
    # tasks to decontaminate the questions against, by name
    evaluations: dict[Text, Task] = field(default_factory=dict)
    difficulty: Difficulty | None = None  # drop questions that are too easy; null: keep them
    labels: Labels | None = None  # let a model assign domains; null: use the domains of the pool, or its sources
    # how the training examples are chosen from the rows that are left
    selection: Selection = field(default_factory=lambda: Selection(Strategy.ALL))
    control: Control = Control.NONE  # make a training set for conditional control of length
