"""Findings of the curve stage, in memory and as curve.json: every number with its interval, cost and key.

Findings > Series (one curve line, s1/report/series.py) > MeasuredPoint (one point) > Source (the scores of one seed)
                                                        > PairedDifference (two points)
         > BesidePaper (s1/report/beside_paper.py) > BesideNumber (a published number), BesidePair (two of them)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

from s1.config.paper import Published
from s1.config.resources import Cost
from s1.config.schema import ComputeRequest, Statistics
from s1.generate.audit import Audit
from s1.generate.methods.method import Bounds, suppresses_ends
from s1.stats.interval import Estimate
from s1.stats.published import Verdict
from s1.stats.scaling import Metrics
from sweep.core.typed import typed

FILE_NAME = "curve.json"


Identity: TypeAlias = "tuple[str, str]"  # keys of the scores, and what was requested of them


def identity_of(key: str, request: ComputeRequest) -> Identity:
    """What tells a point from all others of a scan."""
    return key, repr(request)


@dataclass(frozen=True)
class AtK:
    """Accuracy with k samples per question, averaged over all choices of k (s1/stats/votes.py)."""

    k: int
    passed: Estimate  # pass@k: at least one sample is right
    majority: Estimate  # maj@k: the most common answer is right
    gain: Estimate  # maj@k minus the accuracy of one sample, paired, in percentage points


DIGEST_SHOWN = 4  # hex digits, where people read


def cited(key: str, digest: str) -> str:
    """`41687fbbc3b5@9c1f`: the key of what was requested and the digest of the result, if known."""
    return f"{key}@{digest[:DIGEST_SHOWN]}" if digest else key


@dataclass(frozen=True)
class Source:
    """The scores of one seed, from the stage directory scores/<key>."""

    seed: int
    key: str
    digest: str  # of the artifact, 12 hex digits; "" if unknown
    accuracy: Estimate  # of this seed alone
    thinking_tokens: Estimate
    valid: bool
    traces: str = ""  # key of the traces that were scored; "": unknown

    @property
    def cited(self) -> str:
        return cited(self.key, self.digest)


@dataclass(frozen=True)
class MeasuredPoint:
    """Measurements of one point, over its seeds."""

    label: str
    values: Mapping[str, Any]  # JSON values by field, over all axes of the command; without the seed if pooled
    request: ComputeRequest
    bounds: Bounds | None  # on the mean thinking tokens, from the request
    sources: list[Source]  # one per seed
    engine: str  # fingerprint of the engine that generated it
    questions: int
    samples: int  # per question
    accuracy: Estimate
    accuracy_if_cut_right: float | None  # accuracy if every cut answer were right; None: none was cut
    thinking_tokens: Estimate  # mean per answer: of one trace, or of all samples that make it
    answer_tokens: Estimate  # the same
    at_k: list[AtK]  # k = 1..samples; empty for a single sample
    outcomes: dict[str, int]  # traces by answered, forced, none
    audit: Audit
    disagreements: int | None  # answers that graders judge differently; None: one grader judged
    loop_share: Estimate | None  # traces whose thinking loops (s1/stats/loops.py); None: traces were not read
    distinct_4: float | None  # mean share of different 4-grams of the thinking; None: no thinking has a 4-gram
    sampled_tokens: Estimate  # of all traces, as if the point shared nothing
    device_seconds: Estimate | None  # this and `usd`: None where the rates do not hold for the model
    usd: Estimate | None
    votes: int | None = None  # samples that make one answer; None: each sample is one

    @property
    def valid(self) -> bool:
        return self.audit.valid

    @property
    def key(self) -> str:
        """The keys of all seeds, separated by spaces."""
        return " ".join(source.key for source in self.sources)

    @property
    def identity(self) -> Identity:
        """Tells this point from all others: points of several numbers of votes have the same scores."""
        return identity_of(self.key, self.request)

    @property
    def digest(self) -> str:
        return " ".join(source.digest for source in self.sources).strip()

    @property
    def seed_range(self) -> tuple[float, float] | None:
        """Lowest and highest accuracy over seeds; None for one seed."""
        shares = [source.accuracy.value for source in self.sources]
        return (min(shares), max(shares)) if len(shares) > 1 else None

    @property
    def doublings(self) -> list[AtK]:
        """At k = 1, 2, 4, ... and at all samples."""
        return [each for each in self.at_k if each.k.bit_count() == 1 or each.k == self.samples]

    def thinking_tokens_of(self, k: int) -> Estimate:
        """Total of k samples of a question: k times the mean."""
        one = self.thinking_tokens
        lo, hi = (None if end is None else k * end for end in (one.lo, one.hi))
        return replace(one, value=k * one.value, lo=lo, hi=hi)

    @property
    def sampled_tokens_per_answer(self) -> float:
        """Mean tokens sampled for an answer when nothing is shared: of all branches and votes that make it."""
        return self.sampled_tokens.value * self.share_of_answer

    @property
    def share_of_answer(self) -> float:
        """The part of the point's sums that one answer takes."""
        return (self.votes or 1) / (self.questions * self.samples * len(self.sources))

    @property
    def suppresses_ends(self) -> bool:
        """Whether ends of its thinking are suppressed, by Wait or by a minimum."""
        return suppresses_ends(self.request.budget)

    def suppresses_more(self, other: MeasuredPoint) -> bool:
        """Whether it has more Waits, or as many and a higher minimum."""
        return self.suppression > other.suppression

    @property
    def suppression(self) -> tuple[int, int]:
        """Requested Waits and minimum."""
        return self.request.budget.waits, self.request.budget.min_thinking_tokens


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of `label` minus that of `against`, paired by question."""

    label: str
    against: str
    estimate: Estimate  # in percentage points
    joint: Estimate  # at the level at which all comparisons of its kind hold jointly
    tokens: Estimate  # mean thinking tokens of `label` minus those of `against`, paired
    gained: int  # questions on which `label` scores higher
    lost: int  # questions on which it scores lower
    detectable: Estimate | None  # smallest detectable difference; None: no question differs
    valid: bool  # both points are


@dataclass(frozen=True)
class Series:
    """One curve line; points are sorted by measured thinking, shortest first."""

    name: str  # how it differs from other series; "" if there is only one
    points: list[MeasuredPoint]
    reference: str  # label: fewest Waits, then least minimum, then the largest amount
    peak: str  # label of the most accurate valid point; of equals, the one that thinks least
    pairs: int  # number of pairs of valid points; any could be the peak, so statements on the shape allow for all pairs
    neighbours: list[PairedDifference]  # each valid point against the previous one
    # valid points further apart: the peak against the first, the last against the peak, ...
    shape: list[PairedDifference]
    to_reference: list[PairedDifference]  # each other point against the reference
    fixed_comparisons: list[
        str
    ]  # labels that the verdict compares with the reference: the fewest and the most suppressed ends
    metrics: Metrics
    notes: list[str]

    def point(self, label: str) -> MeasuredPoint:
        return next(point for point in self.points if point.label == label)

    def usd_per_point(self, row: PairedDifference) -> float | None:
        """Extra USD for each extra percentage point of accuracy; None if their interval includes 0, or no price.

        The price is that of all traces of a point, as if nothing were shared.
        """
        lo, hi = row.estimate.lo, row.estimate.hi
        if lo is None or hi is None or lo <= 0 <= hi:
            return None
        usd, against = self.point(row.label).usd, self.point(row.against).usd
        return None if usd is None or against is None else (usd.value - against.value) / row.estimate.value

    def point_of(self, key: str, request: ComputeRequest) -> MeasuredPoint:
        """The point of these scores; several points may aggregate the same ones."""
        return next(point for point in self.points if point.identity == identity_of(key, request))


@dataclass(frozen=True)
class SettledTrace:
    """How the answer of one question, seed and sample changes along a line."""

    question_id: str
    seed: int
    sample: int
    settled: str | None  # label of the first point from which on the answer stays; None: no answer at the end
    settled_tokens: int | None  # thinking tokens there
    end_tokens: int  # thinking tokens at the end of the line
    answer: str | None  # at the end, as the grader read it
    right: bool  # at the end
    last_right: str | None  # label of the last point that was right, if the end is not
    last_right_tokens: int | None
    last_right_answer: str | None

    @property
    def is_lost(self) -> bool:
        """Whether a right answer was lost by thinking on."""
        return self.last_right is not None


@dataclass(frozen=True)
class SettledShare:
    label: str  # of a point of the line
    share: Estimate  # of all traces, those whose answer has settled at this point


@dataclass(frozen=True)
class Settling:
    """Where the answers of a series settle, along the points that extend each other (s1/report/settling.py)."""

    series: str  # its name
    points: list[SettledShare]  # the line, in the order of amounts
    invalid: list[str]  # labels of points that failed the audit, and so are left out
    apart: list[str]  # labels of valid points that do not extend the point before them
    median_tokens: float | None  # thinking tokens at which answers settle; None: none does
    share_after: Estimate | None  # of the thinking, what came after the answers settled
    traces: list[SettledTrace]

    @property
    def end(self) -> str:
        """Label of the last point of the line."""
        return self.points[-1].label

    @property
    def lost(self) -> list[SettledTrace]:
        return [trace for trace in self.traces if trace.is_lost]

    @property
    def unanswered(self) -> int:
        """Traces without an answer at the end."""
        return sum(trace.settled is None for trace in self.traces)


@dataclass(frozen=True)
class MatchedRival:
    """The most accurate point of a method that costs no more than a point."""

    method: str
    name: str  # of the point, as in FrontierPoint
    tokens: float  # per answer
    difference: Estimate  # accuracy of the point minus that of this rival, paired, in percentage points


@dataclass(frozen=True)
class FrontierPoint:
    name: str  # its label; where several points of the frontier share it, also the values in which they differ
    label: str
    key: str
    method: str
    questions: int
    accuracy: Estimate
    tokens: Estimate  # sampled for one answer, from scratch
    device_seconds: float | None  # of one answer, estimated from the tokens; None where the rates do not hold
    usd: float | None
    on_front: bool
    front_share: float  # share of resamples of questions in which it is on the front
    rivals: list[MatchedRival]  # one per method that has a point that costs no more


@dataclass(frozen=True)
class Frontier:
    """Valid points of all methods on the same questions, by cost (s1/report/frontier.py)."""

    name: str  # how it differs from other frontiers; "" if there is only one
    points: list[FrontierPoint]  # cheapest first

    @property
    def front(self) -> list[FrontierPoint]:
        return [point for point in self.points if point.on_front]


@dataclass(frozen=True)
class FirstDifference:
    """The first token at which two engines differ in one trace."""

    token: int  # after the prompt
    question_id: str
    sample: int


@dataclass(frozen=True)
class Agreement:
    """One point, answered by two engines."""

    label: str
    engines: list[str]  # two
    traces: int
    first_differences: list[FirstDifference]  # of traces that differ, earliest first
    other_answers: int  # traces with different answer texts


@dataclass(frozen=True)
class BesideNumber:
    """A published number, and ours."""

    number: Published
    published_tokens: float | None  # published mean thinking tokens of the same row and task
    label: str  # of our points; "": none stands beside it
    ours: Estimate | None  # None: nothing was measured
    tokens: Estimate | None  # our mean thinking tokens; None: of several points, or of none
    sources: list[str]  # "scores/<key>@<digest>"
    is_by_value: bool
    remark: str  # why only the direction is compared, or why nothing is
    verdict: Verdict | None  # None: nothing of ours to compare, or it is invalid


@dataclass(frozen=True)
class BesidePair:
    """Two published numbers of one task that differ, and whether ours differ in the same direction."""

    first: Published
    second: Published
    verdict: Verdict

    @property
    def rows(self) -> tuple[str, str]:
        return self.first.row, self.second.row


@dataclass(frozen=True)
class BesidePaper:
    """Published numbers beside ours."""

    tables: list[str]  # titles
    margin_points: float
    numbers: list[BesideNumber]
    pairs: list[BesidePair]  # of numbers that are compared by direction

    def count(self, verdict: Verdict) -> int:
        """Published numbers with this verdict."""
        return sum(each.verdict is verdict for each in self.numbers)


@dataclass(frozen=True)
class ShownTrace:
    """The trace of one point, for a scan over a single question."""

    label: str
    question_id: str
    gold: str
    thinking: str
    answer: str
    extracted: str | None
    is_correct: bool


@dataclass(frozen=True)
class Findings:
    series: list[Series]
    agreements: list[Agreement]  # if an axis is the engine
    across: list[PairedDifference]  # comparison along `compare.axis`: each point against the reference value
    settling: list[Settling]  # of each series with at least two points that extend each other
    frontiers: list[Frontier]  # one per model, data and task, if it has several series or aggregates samples
    statistics: Statistics
    cost: Cost
    beside_paper: BesidePaper | None = None
    traces: list[ShownTrace] = field(default_factory=list)  # of a scan over a single question; else empty

    @property
    def has_several_rates(self) -> bool:
        """Whether points ran on machines of different speeds or prices."""
        return len({point.usd and point.usd.method for point in self.points()}) > 1

    @property
    def has_unknown_rates(self) -> bool:
        """Whether the rates do not hold for the model of a point."""
        return any(point.usd is None for point in self.points())

    def points(self) -> Iterator[MeasuredPoint]:
        return (point for series in self.series for point in series.points)


def write_findings(directory: Path, findings: Findings) -> None:
    fields = {name: value for name, value in asdict(findings).items() if value is not None}
    text = json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False, default=_value)
    (directory / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def _value(member: Enum) -> str:
    return str(member.value)


def read_findings(directory: Path) -> Findings:
    """Read what `write_findings` wrote. Raises InputError for other content."""
    return typed(Findings, json.loads((directory / FILE_NAME).read_text(encoding="utf-8")))
