"""The texts of a stored trace: its pieces, its whole answer, and the prompt it began from.

A row of traces.jsonl has token ids by segment and the text of the whole thinking. The text is exact; where it is
divided needs the tokenizer. A character may span two segments, and some tokenizers drop a leading space; so pieces that
do not join to the known text are divided by decoding prefixes, and a character that spans two belongs to the later one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, takewhile
from pathlib import Path
from typing import Any, TypeVar

from s1.config.schema import ConfigError, ThinkingFormat
from s1.generate.trace import Part, TokenOrigin
from s1.models.light_tokenizer import light_tokenizer
from s1.models.location import tokenizer_at, tokenizer_location
from s1.models.thinking_format import Tokenizer, decode, encode, prompt_text
from s1.records import Ending, TraceRow
from s1.report.trace_archive.rows import Origin, Piece
from s1.report.trace_archive.texts import shared_length

Found = TypeVar("Found")
Decode = Callable[[Sequence[int]], str]

PROMPTS_KEPT = 64  # points of one question mostly share its prompt
CHECKED = 8  # traces whose thinking is decoded only to compare it with its known text
DATE = "strftime_now"  # a chat template that calls it writes the date of generation into the prompt
BROKEN = "\ufffd"  # how a part of a character is decoded


@dataclass
class ModelTexts:
    """Decodes the traces of one model: by its tokenizer.json where that gives the known texts, else by transformers."""

    directory: Path  # of a base model, as in `tokenizer_location`
    _open: Tokenizer | None = None
    _is_full: bool = False  # whether transformers reads it
    _left_to_check: int = CHECKED
    _decoded: dict[tuple[int, ...], str] = field(default_factory=dict)  # delimiters and continuation strings
    _prompts: dict[tuple[str, str, int], str | None] = field(default_factory=dict)  # of the question at hand

    def pieces(self, row: TraceRow) -> tuple[Piece, ...]:
        """The thinking with its delimiters; one piece of unknown origin if no tokenizer gives its text."""
        found = self._exact(lambda tokenizer: self._pieces(row, tokenizer))
        return found if found is not None else (Piece(row.thinking, Origin.UNKNOWN),)

    def answer(self, row: TraceRow) -> str:
        """Everything that was sampled after the thinking, a stop sequence excluded."""
        ids = [each["ids"] for each in row.segments if each["part"] == Part.ANSWER.value]
        return decode(list(chain.from_iterable(ids)), self._tokenizer()) if any(ids) else ""

    def prompt(self, thinking_format: ThinkingFormat, question: str, tokens: int) -> str | None:
        """The prompt of a question as the engine saw it; None unless it has so many tokens and no date."""
        place = (repr(thinking_format), question, tokens)
        if place not in self._prompts:
            if len(self._prompts) >= PROMPTS_KEPT:
                self._prompts.clear()
            self._prompts[place] = self._exact(lambda tokenizer: _prompt(thinking_format, question, tokens, tokenizer))
        return self._prompts[place]

    def _pieces(self, row: TraceRow, tokenizer: Tokenizer) -> tuple[Piece, ...] | None:
        parts = list(_parts(row))
        thinking = [part.ids for part in parts if part.is_thinking]
        if self._left_to_check > 0 and row.thinking:
            self._left_to_check -= 1
            if decode(list(chain.from_iterable(thinking)), tokenizer) != row.thinking:
                return None
        texts = divided(thinking, row.thinking, lambda ids: decode(ids, tokenizer))
        if texts is None:
            return None
        left = iter(texts)
        return tuple(Piece(next(left) if part.is_thinking else self._text(part.ids), part.origin) for part in parts)

    def _text(self, ids: tuple[int, ...]) -> str:
        if ids not in self._decoded:
            self._decoded[ids] = decode(ids, self._tokenizer()) if ids else ""
        return self._decoded[ids]

    def _exact(self, find: Callable[[Tokenizer], Found | None]) -> Found | None:
        found = find(self._tokenizer())
        if found is None and not self._is_full:
            self._open = None
            self._is_full = True
            self._decoded.clear()
            found = find(self._tokenizer())
        return found

    def _tokenizer(self) -> Tokenizer:
        if self._open is None:
            location = tokenizer_location(self.directory)
            self._open = None if self._is_full else light_tokenizer(Path(location.model))
            if self._open is None:
                self._open, self._is_full = tokenizer_at(location), True
        return self._open


def divided(parts: Sequence[Sequence[int]], whole: str, decoded: Decode) -> list[str] | None:
    """The text of each part, which together are exactly the whole; None if the tokens do not decode to it."""
    filled = [place for place, ids in enumerate(parts) if ids]
    if len(filled) <= 1:
        return [whole if ids else "" for ids in parts] if filled or not whole else None
    texts = [decoded(ids) if ids else "" for ids in parts]
    if "".join(texts) == whole:
        return texts
    if decoded(list(chain.from_iterable(parts))) != whole:
        return None
    ends = [0]
    for place in range(1, len(parts)):
        before = decoded(list(chain.from_iterable(parts[:place])))
        ends.append(max(ends[-1], shared_length(before.rstrip(BROKEN), whole)))
    return [whole[start:end] for start, end in zip(ends, [*ends[1:], len(whole)], strict=True)]


@dataclass(frozen=True)
class _PiecePart:
    ids: tuple[int, ...]
    origin: Origin
    is_thinking: bool  # False: a delimiter


def _parts(row: TraceRow) -> Iterator[_PiecePart]:
    """What precedes the answer. An end that was suppressed without a text in its place is an empty piece."""
    segments = list(takewhile(lambda each: each["part"] != Part.ANSWER.value, row.segments))
    last = len(segments) - 1
    for place, segment in enumerate(segments):
        is_thinking = segment["part"] == Part.THINKING.value
        yield _PiecePart(tuple(segment["ids"]), _origin(segment, row, place == last and place > 0), is_thinking)
        following = segments[place + 1] if place < last else None
        if is_thinking and segment["ended_by"] is not None and following and _is_sampled_thinking(following):
            yield _PiecePart((), Origin.APPENDED, True)
    if row.ending is Ending.FORCED and (not segments or segments[-1]["part"] == Part.THINKING.value):
        yield _PiecePart((), Origin.CUT, False)  # a cut without a marker


def _origin(segment: dict[str, Any], row: TraceRow, is_end: bool) -> Origin:
    is_forced = segment["origin"] == TokenOrigin.FORCED.value
    if segment["part"] == Part.DELIMITER.value:
        return Origin.CUT if is_end and row.ending is Ending.FORCED else Origin.DELIMITER
    return Origin.APPENDED if is_forced else Origin.SAMPLED


def _is_sampled_thinking(segment: dict[str, Any]) -> bool:
    return segment["part"] == Part.THINKING.value and segment["origin"] == TokenOrigin.SAMPLED.value


def _prompt(thinking_format: ThinkingFormat, question: str, tokens: int, tokenizer: Tokenizer) -> str | None:
    if DATE in str(getattr(tokenizer, "chat_template", None)) and thinking_format.prompt is None:
        return None
    try:
        text = prompt_text(thinking_format, question, tokenizer)
    except ConfigError:  # the folder has another template by now; the prompt that was used is not known
        return None
    return text if len(encode(text, tokenizer)) == tokens else None
