"""What a server replied to one question, and what a row makes of it. Pure.

An OpenAI-compatible server gives thoughts in one of three places, looked for in this order:

    message.reasoning_content    DeepSeek, SGLang, older vLLM
    message.reasoning            vLLM with --reasoning-parser, OpenRouter
    message.content              <think>...</think> at its very beginning, the answer behind it

Nothing is stripped, joined or mended: a row holds what the server gave. A reply that is cut, refused or without
thoughts is a drop with its reason. A lone `</think>` is no thoughts: who opened it, and where, would be a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from s1.records import PoolRow

LEADING_THOUGHTS = re.compile(r"\s*<think>(.*?)</think>(.*)", re.DOTALL)


class Fault(Enum):
    """Why a reply makes no row."""

    REFUSED = "refused"  # by the model, its filter, or the server that would not take the question
    CUT = "cut at max_tokens"
    INTERRUPTED = "interrupted by the server"
    NO_THOUGHTS = "no thoughts"
    NO_ANSWER = "no answer"
    NO_DOMAIN = "no domain"


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

    def tokens(self, part: str) -> int | None:
        """`prompt` or `completion` tokens (thoughts are of the latter); None: the server did not say."""
        return (self.usage or {}).get(f"{part}_tokens")


def reply_of(row_id: str, body: Any) -> Reply | None:
    """The reply in a response body; None where there is none in it, such as an error in the guise of a success."""
    match body:
        case {"choices": [{"message": Mapping() as message, **choice}, *_], **rest}:
            return Reply(
                id=row_id,
                model=rest.get("model"),
                finish_reason=choice.get("finish_reason"),
                thoughts=_text(message.get("reasoning_content")) or _text(message.get("reasoning")),
                content=_text(message.get("content")),
                refusal=_text(message.get("refusal")),
                usage=rest.get("usage"),
            )
        case _:
            return None


def rejection(row_id: str, reason: str) -> Reply:
    """A question that the server would not take: too long for the model, mostly."""
    return Reply(row_id, model=None, finish_reason=None, thoughts=None, content=None, refusal=reason, usage=None)


def fault_of(reply: Reply) -> Fault | None:
    """Why nothing in this reply is to be used; None: it ended as it should."""
    if reply.refusal is not None or reply.finish_reason == "content_filter":
        return Fault.REFUSED
    if reply.finish_reason == "length":
        return Fault.CUT
    return None if reply.finish_reason == "stop" else Fault.INTERRUPTED


def thought_through(row: PoolRow, reply: Reply) -> PoolRow | Fault:
    """The row with the teacher's thinking and answer, whatever it held before."""
    if fault := fault_of(reply):
        return fault
    thinking, answer = _divided(reply)
    if not thinking.strip():
        return Fault.NO_THOUGHTS
    if not answer.strip():
        return Fault.NO_ANSWER
    return replace(row, thinking=thinking, answer=answer)


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
