"""What the curve stage found, in memory and as curve.json: every number with its interval, cost and key.

Findings > Series (one curve line, s1/report/series.py) > Measured (one point) > Source (the scores of one seed)
                                                        > Difference (two points, paired)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from s1.config.resources import Cost
from s1.config.schema import ComputeRequest, Statistics
from s1.generate.audit import Audit
from s1.generate.methods.method import Bounds, extends
from s1.stats.interval import Estimate
from s1.stats.scaling import Metrics
from sweep.core.typed import typed

FILE_NAME = "curve.json"


@dataclass(frozen=True)
class AtK:
    """What k samples of each question are worth, in the mean over all k of them (s1/stats/votes.py)."""

    k: int
    passed: Estimate  # pass@k: one of them is right
    majority: Estimate  # maj@k: most of them are
    gain: Estimate  # maj@k less the accuracy of one sample, paired, in percentage points


DIGEST_SHOWN = 4  # hex digits, where people read


def cited(key: str, digest: str) -> str:
    """`41687fbbc3b5@9c1f`: what was asked for, and what came out; the key alone where the digest is not known."""
    return f"{key}@{digest[:DIGEST_SHOWN]}" if digest else key


@dataclass(frozen=True)
class Source:
    """The scores of one seed, from the stage directory scores/<key>."""

    seed: int
    key: str
    digest: str  # of the product, 12 hex digits; "" if unknown
    accuracy: Estimate  # alone
    thinking_tokens: Estimate
    valid: bool

    @property
    def cited(self) -> str:
        return cited(self.key, self.digest)


@dataclass(frozen=True)
class MeasuredPoint:
    """One point, over its seeds."""

    label: str
    values: Mapping[str, Any]  # JSON values by field, over all axes of the command; of several seeds without the seed
    request: ComputeRequest
    bounds: Bounds | None  # that the request puts on the mean thinking tokens
    sources: list[Source]  # one per seed
    engine: str  # the fingerprint of what generated it
    questions: int
    samples: int  # per question
    accuracy: Estimate
    accuracy_if_cut_right: float | None  # were every cut answer right; None: none was cut
    thinking_tokens: Estimate  # mean per trace
    answer_tokens: Estimate  # mean per trace
    at_k: list[AtK]  # k = 1..samples; empty for a single sample
    outcomes: dict[str, int]  # traces by answered, forced, none
    audit: Audit
    disagreements: int | None  # answers that graders judge differently; None: one grader judged
    sampled_tokens: Estimate  # all traces, as if nothing were shared with other points
    device_seconds: Estimate
    usd: Estimate

    @property
    def valid(self) -> bool:
        return self.audit.valid

    @property
    def key(self) -> str:
        """Of every seed, with blanks between."""
        return " ".join(source.key for source in self.sources)

    @property
    def digest(self) -> str:
        return " ".join(source.digest for source in self.sources).strip()

    @property
    def seed_range(self) -> tuple[float, float] | None:
        """The lowest and the highest accuracy of any seed; None for one seed."""
        shares = [source.accuracy.value for source in self.sources]
        return (min(shares), max(shares)) if len(shares) > 1 else None

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
        return extends(self.request.budget)

    def holds_back_more(self, other: MeasuredPoint) -> bool:
        """More Waits, or as many and a higher minimum."""
        return self.held_back > other.held_back

    @property
    def held_back(self) -> tuple[int, int]:
        """Waits and the minimum that are asked for."""
        return self.request.budget.waits, self.request.budget.min_thinking_tokens


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of `label` less that of `against`, question by question."""

    label: str
    against: str
    estimate: Estimate  # in percentage points
    joint: Estimate  # the same at the level at which all comparisons of its kind hold together
    tokens: Estimate  # mean thinking tokens of `label` less those of `against`, paired
    gained: int  # questions on which `label` scores higher
    lost: int  # questions on which it scores lower
    detectable: Estimate | None  # the smallest difference that this comparison would show; None: no question differs
    valid: bool  # both points are


@dataclass(frozen=True)
class Series:
    """One curve line; its points from the shortest measured thinking to the longest."""

    name: str  # what tells it from other series; "" if there is only one
    points: list[MeasuredPoint]
    reference: str  # label: fewest Waits, then least minimum, then the largest amount
    peak: str  # label of the most accurate valid point; of equals, the shortest thinking
    pairs: int  # of valid points: the peak may be any of them, so what is said of the shape is held against all
    neighbours: list[PairedDifference]  # each valid point against the one before
    shape: list[
        PairedDifference
    ]  # valid points further apart: the peak against the first, the last against the peak, ...
    to_reference: list[PairedDifference]  # each other point against the reference
    held_back: list[str]  # labels that the verdict holds against the reference: the fewest and the most held-back ends
    metrics: Metrics
    notes: list[str]

    def point(self, label: str) -> MeasuredPoint:
        return next(point for point in self.points if point.label == label)


@dataclass(frozen=True)
class FirstDifference:
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
    partings: list[FirstDifference]  # of the traces that differ; the earliest first
    other_answers: int  # traces whose answer has another text


@dataclass(frozen=True)
class Findings:
    series: list[Series]
    agreements: list[Agreement]  # where an axis is the engine
    across: list[PairedDifference]  # where points are compared along an axis: each against the reference's value there
    statistics: Statistics
    cost: Cost

    def points(self) -> Iterator[MeasuredPoint]:
        return (point for series in self.series for point in series.points)


def write_findings(directory: Path, findings: Findings) -> None:
    text = json.dumps(asdict(findings), indent=1, ensure_ascii=False, allow_nan=False, default=_value)
    (directory / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def _value(member: Enum) -> str:
    return str(member.value)


def read_findings(directory: Path) -> Findings:
    """Read back what `write_findings` wrote; raises InputError for anything else."""
    return typed(Findings, json.loads((directory / FILE_NAME).read_text(encoding="utf-8")))
