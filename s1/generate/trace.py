"""A trace: everything generated for one question and sample, as segments of token ids that are never edited.

Each segment knows which part of the text it belongs to and whether the model sampled it or we forced it. From that
alone follow the thinking tokens, the suppressed ends, the tokens to pay for, and the exact text that is graded.

    prompt | thinking: SAMPLED ids, FORCED "Wait", SAMPLED ids | delimiter: FORCED end marker | answer: SAMPLED ids

What a policy may decide, and the two pure steps that carry a decision out.

trace --next--> Force | Keep | Sample | Close
        advance: apply Force and Keep until the policy wants tokens (Sample) or is done (Close)
        absorb:  append what was sampled for a Sample
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain
from typing import Protocol, TypeAlias

from s1.records import Ending


class TokenOrigin(Enum):
    SAMPLED = "sampled"
    FORCED = "forced"


class Part(Enum):
    THINKING = "thinking"
    DELIMITER = "delimiter"
    ANSWER = "answer"


@dataclass(frozen=True)
class Segment:
    ids: tuple[int, ...]
    part: Part
    origin: TokenOrigin
    ended_by: tuple[int, ...] | None = None  # the stop sequence the model sampled after `ids`; None: cut by length

    @property
    def sampled_tokens(self) -> int:
        """What the engine had to produce for it, the stop sequence included."""
        return len(self.ids) + len(self.ended_by or ()) if self.origin is TokenOrigin.SAMPLED else 0


@dataclass(frozen=True)
class Trace:
    prompt_ids: tuple[int, ...]
    segments: tuple[Segment, ...] = ()
    dropped: tuple[Segment, ...] = ()  # generated and paid for, then left out by `keep_thinking`

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and all segments: what the next request continues."""
        return tuple(chain(self.prompt_ids, *(segment.ids for segment in self.segments)))

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + _tokens(self.segments)

    def append(self, segment: Segment) -> Trace:
        return replace(self, segments=(*self.segments, segment))

    def keep_thinking(self, tokens: int) -> Trace:
        """The prefix of this trace that holds its first `tokens` thinking tokens; the rest is kept as `dropped`."""
        kept: list[Segment] = []
        dropped: list[Segment] = []
        for segment in self.segments:
            room = tokens - _tokens(each for each in kept if each.part is Part.THINKING)
            if segment.part is not Part.THINKING or (len(segment.ids) <= room and not dropped):
                kept.append(segment)
                continue
            if room:
                kept.append(replace(segment, ids=segment.ids[:room], ended_by=None))
            dropped.append(replace(segment, ids=segment.ids[room:]))
        return replace(self, segments=tuple(kept), dropped=tuple(dropped))

    def segments_of(self, part: Part) -> tuple[Segment, ...]:
        return tuple(segment for segment in self.segments if segment.part is part)

    def part_ids(self, part: Part) -> tuple[int, ...]:
        return tuple(chain(*(segment.ids for segment in self.segments_of(part))))

    @property
    def thinking_tokens(self) -> int:
        """Sampled and forced thinking, without delimiters and stop tokens (the x-axis of the paper's Figure 1)."""
        return _tokens(self.segments_of(Part.THINKING))

    @property
    def answer_tokens(self) -> int | None:
        """None when the model was never asked for an answer, which is not the same as an empty one."""
        answer = self.segments_of(Part.ANSWER)
        return _tokens(answer) if answer else None

    @property
    def waits(self) -> int:
        """Ends of thinking that the model sampled and that were suppressed: thinking follows them."""
        return sum(segment.ended_by is not None for segment in self.segments_of(Part.THINKING)[:-1])

    @property
    def sampled_tokens(self) -> int:
        """What this trace would cost from scratch."""
        return sum(segment.sampled_tokens for segment in self.segments + self.dropped)


def begun(prompt_ids: tuple[int, ...], opening: tuple[int, ...] = ()) -> Trace:
    """A trace of nothing but the prompt; with the template's `opening` of the thinking it is thinking already."""
    trace = Trace(prompt_ids)
    return trace.append(Segment(opening, Part.DELIMITER, TokenOrigin.FORCED)) if opening else trace


def _tokens(segments: Iterable[Segment]) -> int:
    return sum(len(segment.ids) for segment in segments)


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
            trace = trace.append(Segment(move.ids, move.part, TokenOrigin.FORCED))


def absorb(trace: Trace, sample: Sample, ids: tuple[int, ...], ended_by: tuple[int, ...] | None) -> Trace:
    """The trace with what the model wrote."""
    return trace.append(Segment(ids, sample.part, TokenOrigin.SAMPLED, ended_by))
