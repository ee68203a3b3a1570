"""A trace: everything generated for one question and sample, as segments of token ids that are never edited.

Each segment knows which part of the text it belongs to and whether the model sampled it or we forced it. From that alone
follow the thinking tokens, the number of suppressed ends, the tokens to pay for, and the exact text that is graded.

    prompt | thinking: SAMPLED ids, FORCED "Wait", SAMPLED ids | delimiter: FORCED end marker | answer: SAMPLED ids
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Origin(Enum):
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
    origin: Origin
    ended_by: tuple[int, ...] | None = None  # the stop sequence the model sampled after `ids`; None: cut by length


@dataclass(frozen=True)
class Trace:
    prompt_ids: tuple[int, ...]
    segments: tuple[Segment, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and all segments: what the next request continues."""
        return self.prompt_ids + tuple(token for segment in self.segments for token in segment.ids)

    def append(self, segment: Segment) -> Trace:
        return replace(self, segments=(*self.segments, segment))

    def part_ids(self, part: Part) -> tuple[int, ...]:
        return tuple(token for segment in self.segments if segment.part is part for token in segment.ids)

    @property
    def thinking_tokens(self) -> int:
        """Sampled and forced thinking, without delimiters and stop tokens (the x-axis of the paper's Figure 1)."""
        return sum(len(segment.ids) for segment in self.segments if segment.part is Part.THINKING)
