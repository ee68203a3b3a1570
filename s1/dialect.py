"""The one place that knows how question, thinking and answer are told apart: strings in the config, token ids here.

s1's training text (paper, section 3.1 and its tokenisation script), with the dialect `s1`:

    <prompt of the chat template><|im_start|>think\\nTRACE\\n<|im_start|>answer\\nANSWER<|im_end|>

Delimiters are encoded once and kept as ids. A delimiter that the tokenizer cannot represent exactly is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from s1.config import ConfigError, Dialect


class Tokenizer(Protocol):
    """What we use of a Hugging Face tokenizer."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str: ...

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class DialectIds:
    """A dialect as token ids of one tokenizer."""

    thinking_start: tuple[int, ...]
    thinking_stops: tuple[tuple[int, ...], ...]
    thinking_end: tuple[int, ...]
    forced_end: tuple[int, ...]
    answer_stops: tuple[tuple[int, ...], ...]
    newline: tuple[int, ...]  # () when the dialect puts none before an end marker
    newline_final: frozenset[int]  # tokens whose text ends in a newline

    @property
    def ends_of_thinking(self) -> tuple[tuple[int, ...], ...]:
        """What ends the thinking when the model writes it: its own stops, and the end of the turn."""
        return tuple(dict.fromkeys((*self.thinking_stops, *self.answer_stops)))

    @property
    def marker_tokens(self) -> int:
        """The most tokens that delimiters add to one trace."""
        return len(self.thinking_start) + len(self.newline) + max(len(self.thinking_end), len(self.forced_end))

    def on_new_line(self, marker: tuple[int, ...], last: int) -> tuple[int, ...]:
        """The marker as it follows the token `last`: after a newline unless the text already ends in one."""
        return marker if last in self.newline_final else self.newline + marker


@dataclass(frozen=True)
class TrainingText:
    prompt: str  # bears no loss
    completion: str  # thinking and answer, trained on


def dialect_ids(dialect: Dialect, tokenizer: Tokenizer) -> DialectIds:
    """Encode every delimiter. Raises ConfigError for one that does not survive encoding and decoding."""
    newline = _exact("newline", "\n", tokenizer) if dialect.newline_before_end else ()
    return DialectIds(
        thinking_start=_exact("thinking_start", dialect.thinking_start, tokenizer),
        thinking_stops=tuple(_exact("thinking_stops", stop, tokenizer) for stop in dialect.thinking_stops),
        thinking_end=_exact("thinking_end", dialect.thinking_end, tokenizer),
        forced_end=_exact("forced_end", dialect.forced_end, tokenizer),
        answer_stops=tuple(_exact("answer_stops", stop, tokenizer) for stop in dialect.answer_stops),
        newline=newline,
        newline_final=_newline_final(tokenizer) if newline else frozenset(),
    )


def encode(text: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Token ids of a text in which delimiters are special tokens and nothing is added."""
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def decode(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """The exact text, delimiters included."""
    return tokenizer.decode(list(ids), skip_special_tokens=False)


def prompt_text(dialect: Dialect, question: str, tokenizer: Tokenizer) -> str:
    """Everything up to where the model speaks; the thinking is opened by `thinking_start`, not here."""
    if dialect.prompt is not None:
        return dialect.prompt.replace("{question}", question.strip())
    conversation = [{"role": "user", "content": question.strip()}]
    return tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)


def training_text(dialect: Dialect, prompt: str, thinking: str, answer: str) -> TrainingText:
    """The text of one training example, split where the loss begins."""
    newline = "\n" if dialect.newline_before_end else ""
    completion = f"{dialect.thinking_start}{thinking.strip()}{newline}{dialect.thinking_end}{answer.strip()}"
    return TrainingText(prompt=prompt, completion=completion + dialect.answer_stops[0])


def _exact(name: str, text: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    if not text:
        return ()
    ids = encode(text, tokenizer)
    back = decode(ids, tokenizer)
    if back != text:
        raise ConfigError(
            f"dialect.{name} {text!r}: the tokenizer turns it into {back!r}. Choose a dialect of this model."
        )
    return ids


def _newline_final(tokenizer: Tokenizer) -> frozenset[int]:
    return frozenset(token for token in range(len(tokenizer)) if decode((token,), tokenizer).endswith("\n"))
