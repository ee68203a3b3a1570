"""Parse server replies and decide whether they are usable. Pure.

An OpenAI-compatible server returns reasoning in one of three places, tried in this order:

    message.reasoning_content    DeepSeek, SGLang, older vLLM
    message.reasoning            vLLM with --reasoning-parser, OpenRouter
    message.content              <think>...</think> at its very beginning, followed by the answer

Nothing is stripped, joined or repaired: a row holds exactly the server's text. A reply that is cut off, refused or
without reasoning drops its row, with the reason. A lone `</think>` does not count as reasoning: where it starts would
be a guess.

Any reply can be stored as one JSON line: invalid text (an unpaired surrogate, bytes that are not UTF-8) becomes U+FFFD,
an echoed API key becomes <key>, and `altered` names the field. Such reasoning or answers never go into a row. Values of
the wrong type, and numbers that are not finite, are treated as missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from s1.records import PoolRow

SURROGATE = re.compile("[\ud800-\udfff]")
LARGEST_NUMBER = 2**53  # larger JSON numbers are not exact, and no token count is that large
MAX_DEPTH = 8  # nesting levels of a reply's usage
LEADING_THOUGHTS = re.compile(r"\s*<think>(.*?)</think>(.*)", re.DOTALL)


class ReplyFault(Enum):
    """Why a reply is unusable; the value is the drop reason."""

    REFUSED = "refused"  # by the model, by a content filter, or by the server, which rejected the request
    CUT = "cut at max_tokens"
    INTERRUPTED = "interrupted by the server"
    NO_THOUGHTS = "no thoughts"
    NO_ANSWER = "no answer"
    NO_DOMAIN = "no domain"
    NO_TEXT = "not all of it is text"
    KEY = "repeats the API key"


class AlteredReply(Enum):
    """Why a stored field differs from what the server sent."""

    NO_TEXT = "not text"
    KEY = "key"


@dataclass(frozen=True)
class Reply:
    """The server's reply for one row, unchanged except for `altered` fields: a line of answers.jsonl."""

    id: str  # the row's
    model: str | None  # as the server names it
    finish_reason: str | None
    thoughts: str | None  # reasoning, if the server returns it in a separate field
    content: str | None
    refusal: str | None  # the model's words, or the server's
    usage: dict[str, Any] | None
    altered: dict[str, str] | None = None  # AlteredReply by field

    def tokens(self, part: str) -> int | None:
        """`prompt` or `completion` tokens (reasoning counts as completion); None if missing or not a number."""
        count = (self.usage or {}).get(f"{part}_tokens")
        if isinstance(count, bool) or not isinstance(count, int | float):
            return None
        return int(count) if 0 <= count <= LARGEST_NUMBER and count == int(count) else None


def reply_of(row_id: str, body: Any, hide: Callable[[str], str] = str) -> Reply | None:
    """Parse a response body; None if it has no reply, such as an error sent with status 200.

    `hide` redacts the API key in a text.
    """
    match body:
        case {"choices": [{"message": Mapping() as message, **choice}, *_], **rest}:
            sanitizer = _Sanitizer(hide)
            usage = rest.get("usage")
            kept = {
                "model": sanitizer.clean("model", _text(rest.get("model"))),
                "finish_reason": sanitizer.clean("finish_reason", _text(choice.get("finish_reason"))),
                "thoughts": sanitizer.clean(
                    "thoughts", _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
                ),
                "content": sanitizer.clean("content", _text(message.get("content"))),
                "refusal": sanitizer.clean("refusal", _text(message.get("refusal"))),
                "usage": sanitizer.clean("usage", usage if isinstance(usage, dict) else None),
            }
            return Reply(row_id, **kept, altered=sanitizer.altered or None)
        case _:
            return None


def rejection(row_id: str, reason: str, hide: Callable[[str], str] = str) -> Reply:
    """The reply for a question that the server rejected, mostly because it is too long for the model."""
    sanitizer = _Sanitizer(hide)
    refusal = sanitizer.clean("refusal", reason)
    return Reply(
        row_id, None, None, thoughts=None, content=None, refusal=refusal, usage=None, altered=sanitizer.altered or None
    )


def fault_of(reply: Reply) -> ReplyFault | None:
    """Why no part of this reply is usable; None if it is complete."""
    if reply.refusal is not None or reply.finish_reason == "content_filter":
        return ReplyFault.REFUSED
    if reply.finish_reason == "length":
        return ReplyFault.CUT
    if reply.finish_reason != "stop":
        return ReplyFault.INTERRUPTED
    altered = reply.altered or {}
    reasons = {altered[name] for name in ("thoughts", "content") if name in altered}
    if AlteredReply.KEY.value in reasons:
        return ReplyFault.KEY
    return ReplyFault.NO_TEXT if reasons else None


def with_thinking(row: PoolRow, reply: Reply) -> PoolRow | ReplyFault:
    """The row with the teacher's thinking and answer, whatever it held before."""
    if fault := fault_of(reply):
        return fault
    thinking, answer = _thinking_and_answer(reply)
    if not thinking.strip():
        return ReplyFault.NO_THOUGHTS
    if not answer.strip():
        return ReplyFault.NO_ANSWER
    return replace(row, thinking=thinking, answer=answer)


@dataclass
class _Sanitizer:
    """Converts values from a server to storable JSON, and records the fields that this altered."""

    hide: Callable[[str], str]
    altered: dict[str, str] = field(default_factory=dict)

    def clean(self, name: str, value: Any, depth: int = 0) -> Any:
        """A plain JSON value; None replaces numbers that are not finite and values nested too deeply."""
        match value:
            case str():
                return self._text(name, value)
            case bool() | None:
                return value
            case int() | float():
                return value if abs(value) <= LARGEST_NUMBER else None  # neither infinite nor NaN
            case dict() if depth < MAX_DEPTH:
                return {self._text(name, str(key)): self.clean(name, each, depth + 1) for key, each in value.items()}
            case list() if depth < MAX_DEPTH:
                return [self.clean(name, each, depth + 1) for each in value]
        return None

    def _text(self, name: str, text: str) -> str:
        whole = SURROGATE.sub("\ufffd", text)
        if whole != text:
            self.altered.setdefault(name, AlteredReply.NO_TEXT.value)
        hidden = self.hide(whole)
        if hidden != whole:
            self.altered[name] = AlteredReply.KEY.value
        return hidden


def _text(value: Any) -> str | None:
    """None for an empty text, and for a list of parts, which some servers send instead."""
    return value if isinstance(value, str) and value else None


def _thinking_and_answer(reply: Reply) -> tuple[str, str]:
    """Thinking and answer, each empty if missing."""
    content = reply.content or ""
    if reply.thoughts is not None:
        return reply.thoughts, content
    inline = LEADING_THOUGHTS.fullmatch(content)
    return (inline[1], inline[2]) if inline else ("", content)
