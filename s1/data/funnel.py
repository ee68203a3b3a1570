"""The filter report (funnel.json): how many rows each step kept and dropped, and why.

funnel.json      a list of FunnelStep, from the pool's first step to the last step of the stage that wrote it

A step takes one drop reason per row; None keeps the row. Counts come from these reasons, so they always add up:
kept + dropped == kept of the step before.
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

DropReason: TypeAlias = "str | None"  # None: the row is kept


class Drop(NamedTuple):
    """A dropped row and the reason."""

    row: PoolRow | Example
    reason: str


@dataclass(frozen=True)
class Dropped:
    """An example of a dropped row in the report; `question` is its beginning."""

    id: str
    reason: str
    question: str


@dataclass(frozen=True)
class FunnelStep:
    """One step; `dropped` counts rows by reason, most frequent first."""

    name: str
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)
    examples: list[Dropped] = field(default_factory=list)
    kept_by_source: dict[str, int] = field(default_factory=dict)  # in the steps of a mixture; empty: not counted

    @property
    def dropped_rows(self) -> int:
        return sum(self.dropped.values())


def filter_rows(name: str, rows: Sequence[PoolRow], reasons: Sequence[DropReason]) -> tuple[list[PoolRow], FunnelStep]:
    """The rows without a drop reason, and the step. Raises ConfigError if no row is left."""
    pairs = list(zip(rows, reasons, strict=True))
    kept = [row for row, reason in pairs if reason is None]
    step = funnel_step(name, kept, [Drop(row, reason) for row, reason in pairs if reason is not None])
    if not kept:
        raise ConfigError(
            f"data step {name}: keeps none of {len(rows)} rows ({_drop_counts(step)}). Loosen it, or choose another"
            " pool."
        )
    return kept, step


def funnel_step(name: str, kept: Sequence[PoolRow | Example], drops: Sequence[Drop]) -> FunnelStep:
    """Count kept and dropped rows; the first rows of each reason become its examples."""
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
    objects = [
        {name: value for name, value in asdict(step).items() if name != "kept_by_source" or value} for step in steps
    ]
    text = json.dumps(objects, indent=1, ensure_ascii=False)
    (directory / FUNNEL).write_text(text + "\n", encoding="utf-8")


def read_funnel(directory: Path) -> list[FunnelStep]:
    """Read the funnel steps of a stage's output directory."""
    steps = json.loads((directory / FUNNEL).read_text(encoding="utf-8"))
    return [FunnelStep(**{**step, "examples": [Dropped(**each) for each in step["examples"]]}) for step in steps]


def _beginning(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= EXAMPLE_CHARACTERS else line[: EXAMPLE_CHARACTERS - 3] + "..."


def _drop_counts(step: FunnelStep) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in step.dropped.items()) or "its input is empty"
