"""A trace: everything generated for one question and sample, as immutable segments of token ids; and its policy moves.

Each segment records which part of the text it belongs to and whether the model sampled it or we forced it. The thinking
tokens, the suppressed ends, the tokens to pay for and the exact graded text all follow from the segments.

    prompt | thinking: SAMPLED ids, FORCED "Wait", SAMPLED ids | delimiter: FORCED end marker | answer: SAMPLED ids

A policy looks at a trace and decides on a move; two pure functions apply it:

    policy.next(trace) -> Force | Keep | Sample | Close
    advance: apply Force and Keep until the policy needs tokens (Sample) or is done (Close)
    absorb:  append the tokens sampled for a Sample
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol, TypeAlias

from s1.generate.token_ids import TokenIds, joined
from s1.records import Ending


class TokenOrigin(Enum):
    SAMPLED = "sampled"
    FORCED = "forced"


class Part(Enum):
    THINKING = "thinking"
    DELIMITER = "delimiter"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Segment:
    ids: Sequence[int]  # a tuple, or TokenIds
    part: Part
    origin: TokenOrigin
    ended_by: tuple[int, ...] | None = None  # the stop sequence the model sampled after `ids`; None: cut by length

    @property
    def sampled_tokens(self) -> int:
        """Tokens the engine sampled for this segment, the stop sequence included."""
        return len(self.ids) + len(self.ended_by or ()) if self.origin is TokenOrigin.SAMPLED else 0


@dataclass(frozen=True, slots=True)
class Trace:
    prompt_ids: tuple[int, ...]
    segments: tuple[Segment, ...] = ()
    dropped: tuple[Segment, ...] = ()  # generated and paid for, then cut by `keep_thinking`

    @property
    def ids(self) -> TokenIds:
        """Prompt and all segments: the prompt of the next request."""
        return joined((self.prompt_ids, *(segment.ids for segment in self.segments)))

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + _tokens(self.segments)

    def append(self, segment: Segment) -> Trace:
        return replace(self, segments=(*self.segments, segment))

    def keep_thinking(self, tokens: int) -> Trace:
        """The prefix of this trace with its first `tokens` thinking tokens; the rest moves to `dropped`."""
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

    def part_ids(self, part: Part) -> TokenIds:
        return joined(segment.ids for segment in self.segments_of(part))

    @property
    def thinking_tokens(self) -> int:
        """Sampled and forced thinking, without delimiters and stop tokens (the x-axis of the paper's Figure 1)."""
        return _tokens(self.segments_of(Part.THINKING))

    @property
    def answer_tokens(self) -> int | None:
        """None if no answer was requested, which differs from an empty answer."""
        answer = self.segments_of(Part.ANSWER)
        return _tokens(answer) if answer else None

    @property
    def waits(self) -> int:
        """Suppressed ends of thinking: the model sampled an end, and more thinking follows it."""
        return sum(segment.ended_by is not None for segment in self.segments_of(Part.THINKING)[:-1])

    @property
    def is_warned(self) -> bool:
        """Whether text was forced into the thinking without replacing an end that the model sampled."""
        thinking = self.segments_of(Part.THINKING)
        ends = (None, *(segment.ended_by for segment in thinking))
        return any(
            segment.origin is TokenOrigin.FORCED and end is None for segment, end in zip(thinking, ends, strict=False)
        )

    @property
    def sampled_tokens(self) -> int:
        """Tokens the engine would sample to make this trace from scratch."""
        return sum(segment.sampled_tokens for segment in self.segments + self.dropped)


def new_trace(prompt_ids: tuple[int, ...], opening: tuple[int, ...] = ()) -> Trace:
    """A trace with only the prompt, and the delimiter that opens the thinking if the chat template writes it."""
    trace = Trace(prompt_ids)
    return trace.append(Segment(opening, Part.DELIMITER, TokenOrigin.FORCED)) if opening else trace


def _tokens(segments: Iterable[Segment]) -> int:
    return sum(len(segment.ids) for segment in segments)


@dataclass(frozen=True)
class Force:
    """Append these ids. They may be empty: an unwritten delimiter still separates the parts."""

    ids: tuple[int, ...]
    part: Part


@dataclass(frozen=True)
class Keep:
    """Cut the trace to its first `thinking_tokens` thinking tokens."""

    thinking_tokens: int


@dataclass(frozen=True)
class Sample:
    """Sample from the model."""

    max_tokens: int  # at least 1, the stop sequence included
    stop_ids: tuple[tuple[int, ...], ...]
    part: Part
    forbid_stop_first: bool = False


@dataclass(frozen=True)
class GroupTotals:
    """What all traces took that were run for one answer (s1/generate/group.py)."""

    branches: int
    sampled_tokens: int  # a forked prefix counts once
    thinking_tokens: int  # as the method counts them: those of the answer's trace, or of all traces


@dataclass(frozen=True, slots=True)
class Close:
    """The trace is finished; `trace` has the same ids, each assigned to its part."""

    trace: Trace
    ending: Ending
    group: GroupTotals | None = None  # None: the trace was run alone


Move: TypeAlias = "Force | Keep | Sample | Close"


class Policy(Protocol):
    """Decides the next move as a pure function of the trace; sees no engine, tokenizer or store."""

    def next(self, trace: Trace) -> Move: ...


def advance(trace: Trace, policy: Policy) -> tuple[Trace, Sample | Close]:
    """Apply the policy's moves until it requests tokens or closes the trace."""
    while True:
        move = policy.next(trace)
        if isinstance(move, Sample | Close):
            return trace, move
        if isinstance(move, Keep):
            trace = trace.keep_thinking(move.thinking_tokens)
        else:
            trace = trace.append(Segment(move.ids, move.part, TokenOrigin.FORCED))


def absorb(trace: Trace, sample: Sample, ids: Sequence[int], ended_by: tuple[int, ...] | None) -> Trace:
    """Append the sampled tokens to the trace."""
    return trace.append(Segment(ids, sample.part, TokenOrigin.SAMPLED, ended_by))
