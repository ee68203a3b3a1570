"""An answer, read: how it ended, whether the model went on thinking in it, and which text of it is graded. Pure.

A model may open its thinking again in the answer, most of all where the budget ended it:

    </think> Final Answer: | 12. <think> Wait, no. It is \\boxed{13}. </think> 13.
                             ---                                              ----   stretches outside
                                  ---------------------------------------            thinks on: counted, never graded

What is graded is the last stretch outside that says anything: what follows the last thinking that was closed again, or
what stands before it, with the words that the end marker put there. Delimiters are looked for in the text, so that all
spellings of them count; as in the thinking itself, their tokens are not counted. A model that goes on thinking without
saying so cannot be seen.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from s1.config.schema import Budget, Forcing, ThinkingFormat
from s1.generate.trace import Close, Part, Trace
from s1.models.thinking_format import Ids, Tokenizer, decode, text_before_stop
from s1.records import AnswerEnd, Ending

OPEN_TOKENS = 12  # after so many a character counts as ended: whole ones of one, two, three or four bytes each


@dataclass(frozen=True)
class Reopened:
    """A thinking section in an answer, by places in its text."""

    opened: int  # where its start marker begins
    begins: int  # behind that
    ends: int  # where its end marker begins, or the end of the text
    closed: int  # behind that


def answer_end(trace: Trace, budget: Budget) -> AnswerEnd:
    """How the answer of a closed trace ended. Where cap and context coincide it is the cap: without it, thinking would
    have left more."""
    answer = trace.segments_of(Part.ANSWER)
    if not answer:
        return AnswerEnd.NONE
    if answer[-1].ended_by is not None:
        return AnswerEnd.STOP
    cap = budget.answer_tokens if budget.forcing is Forcing.BUDGET else None
    is_capped = cap is not None and (trace.answer_tokens or 0) >= cap
    return AnswerEnd.CAP if is_capped else AnswerEnd.CONTEXT


def thinks_on_tokens(thinking_format: ThinkingFormat, trace: Trace, tokenizer: Tokenizer) -> int:
    """Tokens of the answer inside thinking that was opened again; the token at a seam belongs to the delimiter."""
    ids = trace.part_ids(Part.ANSWER)
    sections = reopened(thinking_format, decode(ids, tokenizer))
    if not sections:
        return 0
    places = _places(ids, tokenizer)
    return sum(max(0, bisect_right(places, each.ends) - 1 - bisect_left(places, each.begins)) for each in sections)


def graded_text(thinking_format: ThinkingFormat, close: Close, tokenizer: Tokenizer) -> str:
    """What a marker put into the model's mouth, what it wrote, and what its stop began with; without its thinking."""
    ended_by = [segment.ended_by or () for segment in close.trace.segments_of(Part.ANSWER)]
    written = decode(close.trace.part_ids(Part.ANSWER), tokenizer)
    written += text_before_stop(ended_by[-1], thinking_format.answer_stops, tokenizer) if ended_by else ""
    first, *later = _outside(reopened(thinking_format, written), written)
    said = [stretch for stretch in later if stretch.strip()]
    return said[-1] if said else _opening(thinking_format, close.ending) + first


def reopened(thinking_format: ThinkingFormat, text: str) -> list[Reopened]:
    """The thinking sections of an answer. Where a start and an end begin at one place, the longer marker counts."""
    starts = _markers(thinking_format.thinking_start)
    ends = _markers(thinking_format.thinking_end, *thinking_format.thinking_stops)
    if not starts:
        return []
    found: list[Reopened] = []
    opening: tuple[int, int] | None = None
    longest_first = sorted(starts | ends, key=len, reverse=True)
    for marker in re.finditer("|".join(map(re.escape, longest_first)), text):
        if opening is None and marker[0] in starts - ends:
            opening = marker.span()
        elif opening is not None and marker[0] in ends - starts:
            found.append(Reopened(*opening, *marker.span()))
            opening = None
    return found if opening is None else [*found, Reopened(*opening, len(text), len(text))]


def _markers(*texts: str) -> set[str]:
    """Each as it is, and without the line ends that a model may write otherwise."""
    return {each for text in texts for each in (text, text.strip()) if each}


def _outside(sections: list[Reopened], text: str) -> list[str]:
    """The stretches between the sections, one more than there are."""
    begins = [0, *(each.closed for each in sections)]
    ends = [*(each.opened for each in sections), len(text)]
    return [text[begin:end] for begin, end in zip(begins, ends, strict=True)]


def _places(ids: Ids, tokenizer: Tokenizer) -> list[int]:
    """How much of the text the first 0, 1, 2, ... tokens hold.

    A character may lie in several tokens, and a tokenizer may drop a space where a text begins: tokens are decoded
    behind one that stands before them, and from the last place where no character was open.
    """
    places, whole, settled = [0], 0, 0  # the place and the number of tokens up to where no character is open
    for count in range(1, len(ids) + 1):
        before = max(0, settled - 1)
        known = len(decode(ids[before:settled], tokenizer))
        text = decode(ids[before:count], tokenizer)[known:]
        places.append(max(places[-1], whole + len(text)))
        if not text.endswith("\ufffd") or count - settled == OPEN_TOKENS:
            whole, settled = whole + len(text), count
    return places


def _opening(thinking_format: ThinkingFormat, ending: Ending) -> str:
    """The words of an end marker behind the delimiter: part of the answer, so that all ends are graded alike.

    A thinking format without thinking stops has no delimiter: all of its markers are words.
    """
    markers = {Ending.FORCED: thinking_format.forced_end, Ending.NATURAL: thinking_format.thinking_end, Ending.NONE: ""}
    return markers[ending].removeprefix(thinking_format.thinking_end if thinking_format.thinking_stops else "")
