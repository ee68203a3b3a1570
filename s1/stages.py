"""What each stage is told: its config, and nothing else enters its key besides its inputs.

Narrow on purpose. A stage that received the whole point would be made again for changes that do not concern it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from s1.config import (
    Architecture,
    Budget,
    Cost,
    Dial,
    Dialect,
    EngineConfig,
    Generate,
    Hub,
    ModelKind,
    Statistics,
    Train,
)


@dataclass(frozen=True)
class Problems:
    """Evaluation rows made by rule."""

    dial: Dial
    problems: int
    seed: int


@dataclass(frozen=True)
class Curated:
    """Training examples made by rule."""

    dial: Dial
    examples: int
    seed: int


@dataclass(frozen=True)
class Questions:
    """The prompts of an lm-eval task; input `rows`: its rows, absent for the hub."""

    task: str
    hub: Hub | None
    limit: int | None


@dataclass(frozen=True)
class Start:
    """The model before fine-tuning."""

    kind: ModelKind
    repo: str | None
    revision: str | None
    file: str | None
    architecture: Architecture | None
    dial: Dial | None  # fresh: the family whose words make the tokenizer
    seed: int


@dataclass(frozen=True)
class Sft:
    """Fine-tuning; inputs `model`, `data`."""

    train: Train
    dialect: Dialect


@dataclass(frozen=True)
class Answering:
    """Generation under a budget; inputs `model`, `questions`."""

    budget: Budget
    dialect: Dialect
    engine: EngineConfig
    libraries: dict[str, str | None]  # versions of what the engine computes with; None: not installed where planned
    generate: Generate
    context_tokens: int


@dataclass(frozen=True)
class Scoring:
    """Grading by lm-eval, of the very prompts that were answered; inputs `answers`, `questions`."""

    task: str
    samples: int


@dataclass(frozen=True)
class CurvePoint:
    """A point as the report knows it: what it sets, and what its audit holds it to."""

    label: str
    values: Mapping[str, Any]  # JSON values by field, over all axes of the command
    max_thinking_tokens: int | None
    min_thinking_tokens: int
    waits: int


@dataclass(frozen=True)
class Curve:
    """Statistics over all points; input `scores`: one per point, in order."""

    points: list[CurvePoint]
    statistics: Statistics
    cost: Cost


@dataclass(frozen=True)
class Report:
    """The page; input `curve`."""

    name: str
    claim: str
    command: str
