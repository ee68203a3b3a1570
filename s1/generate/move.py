"""What a policy may decide, and the two pure steps that carry a decision out.

trace --next--> Force | Keep | Sample | Close
        advance: apply Force and Keep until the policy wants tokens (Sample) or is done (Close)
        absorb:  append what was sampled for a Sample
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from s1.generate.trace import Origin, Part, Segment, Trace
from s1.records import Ending


@dataclass(frozen=True)
class Force:
    """Append these ids. No ids are a legal force: an unwritten delimiter still divides the parts."""

    ids: tuple[int, ...]
    part: Part


@dataclass(frozen=True)
class Keep:
    """Go on from the prefix that holds this many thinking tokens."""

    thinking_tokens: int


@dataclass(frozen=True)
class Sample:
    """Let the model continue."""

    max_tokens: int  # at least 1, the stop sequence included
    stop_ids: tuple[tuple[int, ...], ...]
    part: Part
    forbid_stop_first: bool = False


@dataclass(frozen=True)
class Close:
    """Nothing more to do; `trace` has the ids of the trace that was decided on, each in its part."""

    trace: Trace
    ending: Ending


Move: TypeAlias = "Force | Keep | Sample | Close"


class Policy(Protocol):
    """A pure function of the trace; it never sees an engine, a tokenizer or the store."""

    def next(self, trace: Trace) -> Move: ...


def advance(trace: Trace, policy: Policy) -> tuple[Trace, Sample | Close]:
    """Apply what the policy forces until it asks for tokens or closes."""
    while True:
        move = policy.next(trace)
        if isinstance(move, Sample | Close):
            return trace, move
        if isinstance(move, Keep):
            trace = trace.keep_thinking(move.thinking_tokens)
        else:
            trace = trace.append(Segment(move.ids, move.part, Origin.FORCED))


def absorb(trace: Trace, sample: Sample, ids: tuple[int, ...], ended_by: tuple[int, ...] | None) -> Trace:
    """The trace with what the model wrote."""
    return trace.append(Segment(ids, sample.part, Origin.SAMPLED, ended_by))
