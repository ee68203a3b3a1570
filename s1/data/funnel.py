"""The funnel: what every step on the way to the training examples kept and dropped, with reasons.

funnel.json      a list of Step, from the first step of the pool to the last of whoever wrote it

A step decides by verdicts, one per row: None keeps it, a reason drops it. What was kept and dropped is counted from
them, so the numbers always add up: kept + dropped == kept of the step before.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from s1.config.schema import ConfigError
from s1.records import Example, PoolRow

FUNNEL = "funnel.json"
EXAMPLES_PER_REASON = 2
EXAMPLE_CHARACTERS = 80

Verdict: TypeAlias = "str | None"


class Drop(NamedTuple):
    """A row that a step leaves out, and why."""

    row: PoolRow | Example
    reason: str


@dataclass(frozen=True)
class Dropped:
    """A dropped row, for people: how its question begins."""

    id: str
    reason: str
    question: str


@dataclass(frozen=True)
class FunnelStep:
    """One step; `dropped` counts rows by reason, the most frequent first."""

    name: str
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)
    examples: list[Dropped] = field(default_factory=list)

    @property
    def dropped_rows(self) -> int:
        return sum(self.dropped.values())


def filter_rows(name: str, rows: Sequence[PoolRow], verdicts: Sequence[Verdict]) -> tuple[list[PoolRow], FunnelStep]:
    """The rows without a verdict, and the step. Raises ConfigError if it leaves none of them."""
    judged = list(zip(rows, verdicts, strict=True))
    kept = [row for row, reason in judged if reason is None]
    step = funnel_step(name, kept, [Drop(row, reason) for row, reason in judged if reason is not None])
    if not kept:
        raise ConfigError(
            f"data step {name}: keeps none of {len(rows)} rows ({_told(step)}). Loosen it, or take another pool."
        )
    return kept, step


def funnel_step(name: str, kept: Sequence[PoolRow | Example], drops: Sequence[Drop]) -> FunnelStep:
    """Count a step whose rows are already apart; the first rows of each reason are its examples."""
    by_reason: dict[str, list[PoolRow | Example]] = {}
    for row, reason in drops:
        by_reason.setdefault(reason, []).append(row)
    counts = Counter({reason: len(rows) for reason, rows in sorted(by_reason.items())})
    examples = [
        Dropped(row.id, reason, _beginning(row.question))
        for reason, _ in counts.most_common()
        for row in by_reason[reason][:EXAMPLES_PER_REASON]
    ]
    return FunnelStep(name, len(kept), dict(counts.most_common()), examples)


def write_funnel(directory: Path, steps: Sequence[FunnelStep]) -> None:
    """Write funnel.json."""
    text = json.dumps([asdict(step) for step in steps], indent=1, ensure_ascii=False)
    (directory / FUNNEL).write_text(text + "\n", encoding="utf-8")


def read_funnel(directory: Path) -> list[FunnelStep]:
    """The steps that led to the rows of a product directory."""
    steps = json.loads((directory / FUNNEL).read_text(encoding="utf-8"))
    return [FunnelStep(**{**step, "examples": [Dropped(**each) for each in step["examples"]]}) for step in steps]


def _beginning(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= EXAMPLE_CHARACTERS else line[: EXAMPLE_CHARACTERS - 3] + "..."


def _told(step: FunnelStep) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in step.dropped.items()) or "there were none before it"
