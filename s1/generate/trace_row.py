"""The stored form of closed traces: one row of traces.jsonl for each, and the summary of all rows of a stage.

The row has the text to grade. A model may reopen its thinking in the answer, most often when the budget cut it:

    </think> Final Answer: | 12. <think> Wait, no. It is \\boxed{13}. </think> 13.
                             ---                                              ----   outside: may be graded
                                  ---------------------------------------            resumed thinking: only counted

The graded text is the last non-empty stretch outside: the text after the last closed thinking section, or the text
before it, preceded by the words of the end marker. Delimiters are searched in the text, so that all spellings count;
as in the thinking itself, their tokens are not counted. Thinking that resumes without a delimiter cannot be detected.

Summary: `sampled_tokens` is what the traces would cost from scratch, `engine_tokens` what the engine newly sampled for
them, and `served_tokens` the difference. `prompt_tokens` counts the prompts of the engine requests, `cached_tokens` how
many of these tokens were in the engine's cache. `continuation_tokens_reused` counts tokens read from the files of the
continuation store, and `continuation_lines_rejected` the lines that were ignored there; both are absent if 0.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from s1.config.schema import Budget, Forcing, ThinkingFormat
from s1.generate.trace import Close, Part, Segment, Trace
from s1.models.thinking_format import Ids, Tokenizer, decode, text_before_stop
from s1.records import AnswerEnd, Ending, TraceRow
from s1.stages import TracesConfig
from sweep.core.identity import Json
from sweep.core.stage import Summary

TRACES_FILE = "traces.jsonl"
ENGINE_USAGE = ("engine_tokens", "prompt_tokens", "cached_tokens")
STORE_USAGE = ("continuation_tokens_reused", "continuation_lines_rejected")  # absent from a summary if 0
OPEN_TOKENS = 12  # after so many tokens a character counts as complete: three characters of four one-byte tokens each


def trace_row(question_id: str, sample: int, close: Close, config: TracesConfig, tokenizer: Tokenizer) -> TraceRow:
    """Decode a closed trace, or the answer of a group, into its row."""
    trace, group = close.trace, close.group
    return TraceRow(
        question_id=question_id,
        sample=sample,
        prompt_tokens=len(trace.prompt_ids),
        segments=[_segment(each) for each in trace.segments],
        thinking=decode(trace.part_ids(Part.THINKING), tokenizer),
        answer=graded_text(config.thinking_format, close, tokenizer),
        ending=close.ending,
        thinking_tokens=trace.thinking_tokens if group is None else group.thinking_tokens,
        answer_tokens=trace.answer_tokens,
        answer_end=answer_end(trace, config.budget),
        thinks_on_tokens=thinks_on_tokens(config.thinking_format, trace, tokenizer),
        waits=trace.waits,
        sampled_tokens=trace.sampled_tokens if group is None else group.sampled_tokens,
        branches=None if group is None else group.branches,
        warned=trace.is_warned if config.thinking_format.warning is not None else None,
    )


@dataclass
class RowTotals:
    """Sums over the rows of a stage, which are too large to be in memory together."""

    rows: int = 0
    thinking_tokens: int = 0
    sampled_tokens: int = 0

    def counted(self, rows: Iterable[TraceRow]) -> Iterator[TraceRow]:
        """Yield the rows, and count those that were taken."""
        for row in rows:
            self.rows += 1
            self.thinking_tokens += row.thinking_tokens
            self.sampled_tokens += row.sampled_tokens
            yield row


def summary_of(totals: RowTotals, config: TracesConfig, usage: Mapping[str, int]) -> Summary:
    """Summarize the rows of a stage; the same whether one worker or several shards wrote them."""
    return {
        "questions": totals.rows // config.generate.samples,
        "samples": config.generate.samples,
        "thinking_tokens": totals.thinking_tokens / totals.rows,
        "sampled_tokens": totals.sampled_tokens,
        "served_tokens": max(0, totals.sampled_tokens - usage["engine_tokens"]),
        **{name: usage[name] for name in ENGINE_USAGE},
        **{name: usage[name] for name in STORE_USAGE if usage[name]},
    }


def _segment(segment: Segment) -> dict[str, Json]:
    return {
        "part": segment.part.value,
        "origin": segment.origin.value,
        "ids": list(segment.ids),
        "ended_by": None if segment.ended_by is None else list(segment.ended_by),
    }


# --------------------------------------------------------------------------------------- the end and text of an answer


@dataclass(frozen=True)
class Reopened:
    """A thinking section in an answer, as offsets into its text."""

    opened: int  # start of its start marker
    begins: int  # end of its start marker
    ends: int  # start of its end marker, or end of the text
    closed: int  # end of its end marker, or end of the text


def answer_end(trace: Trace, budget: Budget) -> AnswerEnd:
    """How the answer of a closed trace ended.

    If cap and context coincide, the cap counts: without a cap, the thinking would have left the answer more room.
    """
    answer = trace.segments_of(Part.ANSWER)
    if not answer:
        return AnswerEnd.NONE
    if answer[-1].ended_by is not None:
        return AnswerEnd.STOP
    cap = budget.answer_tokens if budget.forcing is not Forcing.NONE else None
    is_capped = cap is not None and (trace.answer_tokens or 0) >= cap
    return AnswerEnd.CAP if is_capped else AnswerEnd.CONTEXT


def thinks_on_tokens(thinking_format: ThinkingFormat, trace: Trace, tokenizer: Tokenizer) -> int:
    """Count answer tokens inside reopened thinking. A token that overlaps a delimiter belongs to the delimiter."""
    ids = tuple(trace.part_ids(Part.ANSWER))
    sections = reopened(thinking_format, decode(ids, tokenizer))
    if not sections:
        return 0
    places = _places(ids, tokenizer)
    return sum(max(0, bisect_right(places, each.ends) - 1 - bisect_left(places, each.begins)) for each in sections)


def graded_text(thinking_format: ThinkingFormat, close: Close, tokenizer: Tokenizer) -> str:
    """The text to grade: the end marker's words, the answer and the text before its stop, without reopened thinking."""
    ended_by = [segment.ended_by or () for segment in close.trace.segments_of(Part.ANSWER)]
    written = decode(close.trace.part_ids(Part.ANSWER), tokenizer)
    written += text_before_stop(ended_by[-1], thinking_format.answer_stops, tokenizer) if ended_by else ""
    first, *later = _outside(reopened(thinking_format, written), written)
    nonempty = [stretch for stretch in later if stretch.strip()]
    return nonempty[-1] if nonempty else _opening(thinking_format, close.ending) + first


def reopened(thinking_format: ThinkingFormat, text: str) -> list[Reopened]:
    """Find the thinking sections of an answer. If two markers start at the same offset, the longer one counts."""
    starts = _markers(thinking_format.thinking_start)
    ends = _markers(thinking_format.thinking_end, *thinking_format.thinking_stops, *thinking_format.forced_stops)
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
    """Each marker, verbatim and stripped, because models vary the line ends around it."""
    return {each for text in texts for each in (text, text.strip()) if each}


def _outside(sections: list[Reopened], text: str) -> list[str]:
    """The text before, between and after the sections: one stretch more than there are sections."""
    begins = [0, *(each.closed for each in sections)]
    ends = [*(each.opened for each in sections), len(text)]
    return [text[begin:end] for begin, end in zip(begins, ends, strict=True)]


def _places(ids: Ids, tokenizer: Tokenizer) -> list[int]:
    """Number of characters that the first 0, 1, 2, ... tokens decode to.

    A character may span several tokens, and a tokenizer may drop a leading space. So tokens are decoded together with
    one token before them, starting at the last position where no character was incomplete.
    """
    places, whole, settled = [0], 0, 0  # characters and tokens up to the last complete character
    for count in range(1, len(ids) + 1):
        before = max(0, settled - 1)
        known = len(decode(ids[before:settled], tokenizer))
        text = decode(ids[before:count], tokenizer)[known:]
        places.append(max(places[-1], whole + len(text)))
        if not text.endswith("\ufffd") or count - settled == OPEN_TOKENS:
            whole, settled = whole + len(text), count
    return places


def _opening(thinking_format: ThinkingFormat, ending: Ending) -> str:
    """The end marker's words after its delimiter. They belong to the answer, so that all endings are graded alike.

    A marker may begin with words that end the thinking, such as Qwen3's. A thinking format without thinking stops has
    no delimiter: its whole marker is words of the answer.
    """
    markers = {Ending.FORCED: thinking_format.forced_end, Ending.NATURAL: thinking_format.thinking_end, Ending.NONE: ""}
    marker, delimiter = markers[ending], thinking_format.thinking_end
    if not thinking_format.thinking_stops:
        return marker
    return marker.rpartition(delimiter if delimiter in marker else delimiter.strip())[2]
