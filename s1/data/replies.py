"""What a server replied to one question, and what a row makes of it. Pure.

An OpenAI-compatible server gives thoughts in one of three places, looked for in this order:

    message.reasoning_content    DeepSeek, SGLang, older vLLM
    message.reasoning            vLLM with --reasoning-parser, OpenRouter
    message.content              <think>...</think> at its very beginning, the answer behind it

Nothing is stripped, joined or mended: a row holds what the server gave. A reply that is cut, refused or without
thoughts is a drop with its reason. A lone `</think>` is no thoughts: who opened it, and where, would be a guess.

A reply always fits on a line, whatever the server sent: what is no text (half a character, bytes that are no UTF-8) is
kept as U+FFFD, an API key that the server repeats as <key>, and `altered` names the field. A row is never made of
such thoughts or such an answer. What has the wrong type, and a number that is none, is as if it had not been sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from s1.records import PoolRow

SURROGATE = re.compile("[\ud800-\udfff]")
LARGEST_NUMBER = 2**53  # beyond it JSON's numbers are not exact, and no server counts so many tokens
DEEPEST = 8  # levels of a reply's usage
LEADING_THOUGHTS = re.compile(r"\s*<think>(.*?)</think>(.*)", re.DOTALL)


class ReplyFault(Enum):
    """Why a reply makes no row."""

    REFUSED = "refused"  # by the model, its filter, or the server that would not take the question
    CUT = "cut at max_tokens"
    INTERRUPTED = "interrupted by the server"
    NO_THOUGHTS = "no thoughts"
    NO_ANSWER = "no answer"
    NO_DOMAIN = "no domain"
    NO_TEXT = "not all of it is text"
    KEY = "repeats the API key"


class AlteredReply(Enum):
    """Why a field is not kept as the server gave it."""

    NO_TEXT = "not text"
    KEY = "key"


@dataclass(frozen=True)
class Reply:
    """What the server gave for one row, as it gave it: a line of answers.jsonl."""

    id: str  # of the row
    model: str | None  # as the server names it
    finish_reason: str | None
    thoughts: str | None  # of a field of their own
    content: str | None
    refusal: str | None  # the model's words, or the server's
    usage: dict[str, Any] | None
    altered: dict[str, str] | None = None  # fields that are not as the server gave them: why (Altered)

    def tokens(self, part: str) -> int | None:
        """`prompt` or `completion` tokens (thoughts are of the latter); None: the server did not say, or no number."""
        count = (self.usage or {}).get(f"{part}_tokens")
        if isinstance(count, bool) or not isinstance(count, int | float):
            return None
        return int(count) if 0 <= count <= LARGEST_NUMBER and count == int(count) else None


def reply_of(row_id: str, body: Any, hide: Callable[[str], str] = str) -> Reply | None:
    """The reply in a response body; None where there is none in it, such as an error in the guise of a success.

    `hide` takes the API key out of a text.
    """
    match body:
        case {"choices": [{"message": Mapping() as message, **choice}, *_], **rest}:
            keeper = _Keeper(hide)
            usage = rest.get("usage")
            kept = {
                "model": keeper.kept("model", _text(rest.get("model"))),
                "finish_reason": keeper.kept("finish_reason", _text(choice.get("finish_reason"))),
                "thoughts": keeper.kept(
                    "thoughts", _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
                ),
                "content": keeper.kept("content", _text(message.get("content"))),
                "refusal": keeper.kept("refusal", _text(message.get("refusal"))),
                "usage": keeper.kept("usage", usage if isinstance(usage, dict) else None),
            }
            return Reply(row_id, **kept, altered=keeper.altered or None)
        case _:
            return None


def rejection(row_id: str, reason: str, hide: Callable[[str], str] = str) -> Reply:
    """A question that the server would not take: too long for the model, mostly."""
    keeper = _Keeper(hide)
    refusal = keeper.kept("refusal", reason)
    return Reply(
        row_id, None, None, thoughts=None, content=None, refusal=refusal, usage=None, altered=keeper.altered or None
    )


def fault_of(reply: Reply) -> ReplyFault | None:
    """Why nothing in this reply is to be used; None: it ended as it should."""
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
    thinking, answer = _divided(reply)
    if not thinking.strip():
        return ReplyFault.NO_THOUGHTS
    if not answer.strip():
        return ReplyFault.NO_ANSWER
    return replace(row, thinking=thinking, answer=answer)


@dataclass
class _Keeper:
    """Makes of what a server sent what can be kept, and notes which fields that altered."""

    hide: Callable[[str], str]
    altered: dict[str, str] = field(default_factory=dict)

    def kept(self, name: str, value: Any, depth: int = 0) -> Any:
        """A plain JSON value; None in place of a number that is none, and of what is nested too deep."""
        match value:
            case str():
                return self._text(name, value)
            case bool() | None:
                return value
            case int() | float():
                return value if abs(value) <= LARGEST_NUMBER else None  # not an infinite one, nor NaN
            case dict() if depth < DEEPEST:
                return {self._text(name, str(key)): self.kept(name, each, depth + 1) for key, each in value.items()}
            case list() if depth < DEEPEST:
                return [self.kept(name, each, depth + 1) for each in value]
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
    """None for an empty text, and for the lists of parts that some servers make of one."""
    return value if isinstance(value, str) and value else None


def _divided(reply: Reply) -> tuple[str, str]:
    """Thinking and answer, each empty where there is none."""
    content = reply.content or ""
    if reply.thoughts is not None:
        return reply.thoughts, content
    inline = LEADING_THOUGHTS.fullmatch(content)
    return (inline[1], inline[2]) if inline else ("", content)
