"""What the curve stage found, in memory and as curve.json: every number with its interval, cost and key.

Findings > Series (one curve line: points that differ in their budget alone) > Measured (one point)
                                                                             > Difference (two points, paired)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from s1.config import Statistics
from s1.generate.methods.method import extends
from s1.resources import Cost
from s1.stats.audit import Audit
from s1.stats.interval import Estimate
from s1.stats.scaling import Metrics
from sweep.typed import typed

FILE_NAME = "curve.json"


@dataclass(frozen=True)
class AtK:
    """What k samples of each question are worth, in the mean over all k of them (s1/stats/votes.py)."""

    k: int
    passed: Estimate  # pass@k: one of them is right
    majority: Estimate  # maj@k: most of them are
    gain: Estimate  # maj@k less the accuracy of one sample, paired, in percentage points


@dataclass(frozen=True)
class Measured:
    """One point; `key` is that of the stage directory its scores came from, scores/<key>."""

    label: str
    values: Mapping[str, Any]  # JSON values by field, over all axes of the command
    key: str
    engine: str  # the fingerprint of what generated it
    questions: int
    samples: int  # per question
    accuracy: Estimate
    thinking_tokens: Estimate  # mean per trace
    answer_tokens: Estimate  # mean per trace
    at_k: list[AtK]  # k = 1..samples; empty for a single sample
    outcomes: dict[str, int]  # traces by answered, forced, none
    audit: Audit
    sampled_tokens: Estimate  # all traces, as if nothing were shared with other points
    device_seconds: Estimate
    usd: Estimate

    @property
    def valid(self) -> bool:
        return self.audit.valid

    @property
    def doublings(self) -> list[AtK]:
        """At k = 1, 2, 4, ... and at all samples."""
        return [each for each in self.at_k if each.k.bit_count() == 1 or each.k == self.samples]

    def thinking_tokens_of(self, k: int) -> Estimate:
        """Of k samples of a question together: k times the mean."""
        one = self.thinking_tokens
        lo, hi = (None if end is None else k * end for end in (one.lo, one.hi))
        return replace(one, value=k * one.value, lo=lo, hi=hi)

    @property
    def extends(self) -> bool:
        """The end of its thinking is held back: by Wait, or by a minimum."""
        return extends(self.audit.request.budget)


@dataclass(frozen=True)
class Difference:
    """Accuracy of `label` less that of `against`, question by question."""

    label: str
    against: str
    estimate: Estimate  # in percentage points
    gained: int  # questions on which `label` scores higher
    lost: int  # questions on which it scores lower
    detectable: Estimate | None  # the smallest difference that this comparison would show; None: no question differs
    valid: bool  # both points are


@dataclass(frozen=True)
class Series:
    """One curve line; its points in budget order."""

    name: str  # what tells it from other series; "" if there is only one
    points: list[Measured]
    reference: str  # label: fewest Waits, then least minimum, then largest maximum
    neighbours: list[Difference]  # each valid point against the one before
    to_reference: list[Difference]  # each other point against the reference
    metrics: Metrics
    notes: list[str]

    def point(self, label: str) -> Measured:
        return next(point for point in self.points if point.label == label)


@dataclass(frozen=True)
class Parting:
    """Where two engines part ways in one trace."""

    token: int  # after the prompt
    question_id: str
    sample: int


@dataclass(frozen=True)
class Agreement:
    """One point, answered by two engines."""

    label: str
    engines: list[str]  # two
    traces: int
    partings: list[Parting]  # of the traces that differ; the earliest first
    other_answers: int  # traces whose answer has another text


@dataclass(frozen=True)
class Findings:
    series: list[Series]
    agreements: list[Agreement]  # where an axis is the engine
    across: list[Difference]  # where points are compared along an axis: each against the reference's value there
    statistics: Statistics
    cost: Cost

    def points(self) -> Iterator[Measured]:
        return (point for series in self.series for point in series.points)


def write_findings(directory: Path, findings: Findings) -> None:
    text = json.dumps(asdict(findings), indent=1, ensure_ascii=False, allow_nan=False, default=_value)
    (directory / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def _value(member: Enum) -> str:
    return str(member.value)


def read_findings(directory: Path) -> Findings:
    """Read back what `write_findings` wrote; raises InputError for anything else."""
    return typed(Findings, json.loads((directory / FILE_NAME).read_text(encoding="utf-8")))
