"""What each stage is told: its config, and nothing else enters its key besides its inputs.

Narrow on purpose. A stage that received the whole point would be made again for changes that do not concern it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from s1.config.data import Control, Filters, GraderKind, Pool, Selection
from s1.config.resources import Cost
from s1.config.schema import (
    Architecture,
    Budget,
    Compare,
    ComputeRequest,
    Dial,
    EngineConfig,
    Generate,
    Hub,
    ModelKind,
    Overlong,
    Statistics,
    ThinkingFormat,
    Train,
)


@dataclass(frozen=True)
class ProblemsConfig:
    """Evaluation rows made by rule."""

    dial: Dial
    problems: int
    seed: int


@dataclass(frozen=True)
class PoolConfig:
    """Candidates for training; input `file`: a local pool, absent for other kinds."""

    pool: Pool


@dataclass(frozen=True)
class ChatConfig:
    """Traces by a teacher; input `rows`. Its endpoint is a setting."""

    model: str
    max_tokens: int
    temperature: float | None
    top_p: float | None
    seed: int | None
    system: str | None


@dataclass(frozen=True)
class FilteredConfig:
    """Decontamination and quality; inputs `rows`, `against`: questions of evaluations."""

    filters: Filters


@dataclass(frozen=True)
class SolverRowsConfig:
    """What the solvers are asked, as rows of an evaluation; input `rows`."""

    grader: GraderKind


@dataclass(frozen=True)
class LabelledConfig:
    """A domain for every row; input `rows`. The endpoint is a setting."""

    asked: ChatConfig


@dataclass(frozen=True)
class CuratedConfig:
    """Difficulty, domain and selection; inputs `rows`, `model`: whose tokens measure a trace, `exam`: the rows that the
    solvers were asked and the questions made of them, `scores`: one per solver."""

    selection: Selection
    grader: GraderKind
    solvers: list[str]  # names, in the order of `scores`


@dataclass(frozen=True)
class ConditionedConfig:
    """A conditional-control set; inputs `rows`, `model`: whose tokens are counted."""

    control: Control
    thinking_format: ThinkingFormat


@dataclass(frozen=True)
class RenderedConfig:
    """The audited training text as token ids; inputs `rows`, `model`."""

    thinking_format: ThinkingFormat
    block_size: int
    overlong: Overlong
    control: Control


@dataclass(frozen=True)
class QuestionsConfig:
    """The prompts of an lm-eval task; input `rows`: its rows, absent for the hub."""

    task: str
    hub: Hub | None
    limit: int | None
    instruction: str | None = field(default=None, metadata={"omit_if": None})
    wording: Mapping[str, Any] = field(default_factory=dict)  # JSON of the task's file (s1/evaluate/task_files.py)


@dataclass(frozen=True)
class BaseModelConfig:
    """The model before fine-tuning."""

    kind: ModelKind
    repo: str | None
    revision: str | None
    file: str | None
    architecture: Architecture | None
    dial: Dial | None  # fresh: the family whose words make the tokenizer
    seed: int


@dataclass(frozen=True)
class CheckpointConfig:
    """Fine-tuning; inputs `model`, `data`: rendered rows. Versions of libraries are in its record, not in its key: an
    upgrade does not train a 32B anew."""

    train: Train


@dataclass(frozen=True)
class TracesConfig:
    """Generation under a budget; inputs `model`, `questions`."""

    budget: Budget
    thinking_format: ThinkingFormat
    engine: EngineConfig
    libraries: dict[str, str | None]  # versions of what the engine computes with; None: not installed where planned
    generate: Generate
    context_tokens: int


@dataclass(frozen=True)
class TracesShardConfig:
    """The same for every `count`-th question from the one at `index`; inputs as of the whole."""

    whole: TracesConfig
    index: int
    count: int


@dataclass(frozen=True)
class ScoresConfig:
    """Grading by lm-eval, of the very prompts that were answered; inputs `answers`, `questions`."""

    task: str
    samples: int
    scoring: Mapping[str, Any] = field(default_factory=dict)  # JSON of the task's file (s1/evaluate/task_files.py)


@dataclass(frozen=True)
class CurvePoint:
    """A point as the report knows it: what it sets, and what its audit holds it to."""

    label: str
    values: Mapping[str, Any]  # JSON values by field, over all axes of the command
    request: ComputeRequest
    seed: int = 0


@dataclass(frozen=True)
class CurveConfig:
    """Statistics over all points; input `scores`: one per point, in order."""

    points: list[CurvePoint]
    statistics: Statistics
    cost: Cost
    compare: Compare | None = field(default=None, metadata={"omit_if": None})


@dataclass(frozen=True)
class ReportConfig:
    """The page; input `curve`."""

    name: str
    claim: str
    command: str


@dataclass(frozen=True)
class FunnelConfig:
    """How examples were chosen; input `curated`: one per set."""

    name: str
    command: str
    sets: list[str]


@dataclass(frozen=True)
class TrainingReportConfig:
    """How models were trained; inputs `checkpoint` and `rendered`: one of each per label."""

    name: str
    command: str
    labels: list[str]
