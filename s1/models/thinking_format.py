"""The one place that knows how question, thinking and answer are told apart: strings in the config, token ids here.

s1's training text (paper, section 3.1 and its tokenisation script), with the thinking format `s1`:

    <prompt of the chat template><|im_start|>think\\nTRACE\\n<|im_start|>answer\\nANSWER<|im_end|>

where ANSWER opens with "Answer: " unless it holds "Answer:" somewhere.

Delimiters are encoded once and kept as ids. A delimiter that the tokenizer cannot represent exactly is refused.

We write a delimiter as `encode(delimiter)`. A model may spell the same text otherwise, unless it is one special token:
tokens run across the seams (`answer.<|end_of_thought|>` begins with the token `.<`, `</think>` and a blank line end in
`>\\n\\n`). So what we look for in sampled tokens is every spelling of the delimiter behind an end of text in BEFORE and
in front of one in AFTER. The token at a seam belongs to the spelling, so a mark that shares it leaves the text. Limits:
a text that goes on in the same line (`>The` is one token) or ends in other marks may hide the delimiter, and a budget
may cut it in two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol, TypeAlias, cast

from jinja2 import Environment, TemplateError
from jinja2.meta import find_undeclared_variables

from s1.config.schema import ConfigError, ThinkingFormat

BEFORE = ("", " ", "\n", *".!?:;,)]}*$`\"'\u3002", '."')  # what a text ends in where a delimiter follows
AFTER = ("", "\n", "\n\n", "<")  # and what follows the delimiter, another one among them

Ids: TypeAlias = "tuple[int, ...]"


class Tokenizer(Protocol):
    """What we use of a Hugging Face tokenizer; `decode` and `apply_chat_template` return a str for one text."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> object: ...

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, **arguments: object
    ) -> object: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class ThinkingFormatIds:
    """A thinking format as token ids of one tokenizer."""

    thinking_start: Ids
    thinking_stops: tuple[Ids, ...]  # every spelling of each, here and below
    thinking_end: Ids
    forced_end: Ids
    answer_stops: tuple[Ids, ...]
    newline: Ids  # () when the thinking format puts none before an end marker
    newline_final: frozenset[int]  # tokens whose text ends in a newline
    written_starts: tuple[Ids, ...]  # thinking_start where a model writes it, with or without its line end
    written_ends: tuple[Ids, ...]  # thinking_end likewise

    @property
    def ends_of_thinking(self) -> tuple[Ids, ...]:
        """What ends the thinking when the model writes it: its own stops, and the end of the turn."""
        return tuple(dict.fromkeys((*self.thinking_stops, *self.answer_stops)))

    @property
    def marker_tokens(self) -> int:
        """The most tokens that delimiters add to one trace."""
        return len(self.thinking_start) + len(self.newline) + max(len(self.thinking_end), len(self.forced_end))

    def on_new_line(self, marker: Ids, last: int) -> Ids:
        """The marker as it follows the token `last`: after a newline unless the text already ends in one."""
        return marker if last in self.newline_final else self.newline + marker


@dataclass(frozen=True)
class Prompt:
    ids: Ids  # up to where the thinking is opened
    opening: Ids  # thinking_start where the template ends in it; () where it is still to be written


@dataclass(frozen=True)
class TrainingText:
    prompt: str  # bears no loss
    before_answer: str  # the thinking and its delimiters, trained on like the answer
    answer: str  # with what ends it

    @property
    def completion(self) -> str:
        return self.before_answer + self.answer


def thinking_format_ids(thinking_format: ThinkingFormat, tokenizer: Tokenizer) -> ThinkingFormatIds:
    """Encode every delimiter. Raises ConfigError for one that does not survive, or that is of another model."""
    newline = _exact("newline", "\n", tokenizer) if thinking_format.newline_before_end else ()
    if thinking_format.prompt is None and all(
        len(encode(stop, tokenizer)) > 1 for stop in thinking_format.answer_stops
    ):
        raise ConfigError(
            f"model.thinking_format.answer_stops {thinking_format.answer_stops}: none is one token of"
            " this tokenizer, as the end of a"
            " turn in a chat template is. Choose the thinking format of this model."
        )
    return ThinkingFormatIds(
        thinking_start=_exact("thinking_start", thinking_format.thinking_start, tokenizer),
        thinking_stops=_spellings("thinking_stops", thinking_format.thinking_stops, tokenizer),
        thinking_end=_exact("thinking_end", thinking_format.thinking_end, tokenizer),
        forced_end=_exact("forced_end", thinking_format.forced_end, tokenizer),
        answer_stops=_spellings("answer_stops", thinking_format.answer_stops, tokenizer),
        newline=newline,
        newline_final=_newline_final(tokenizer) if newline else frozenset(),
        written_starts=_spellings(
            "thinking_start", _with_or_without_line_end(thinking_format.thinking_start), tokenizer
        ),
        written_ends=_spellings("thinking_end", _with_or_without_line_end(thinking_format.thinking_end), tokenizer),
    )


def encode(text: str, tokenizer: Tokenizer) -> Ids:
    """Token ids of a text in which delimiters are special tokens and nothing is added."""
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def decode(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """The exact text, delimiters included."""
    return cast(str, tokenizer.decode(list(ids), skip_special_tokens=False))  # a list only for several texts


def prompt_of(thinking_format: ThinkingFormat, question: str, tokenizer: Tokenizer) -> Prompt:
    """The prompt of a question; its ids and those of the opening are the same whoever writes the opening."""
    text, opening = _prompt_and_opening(thinking_format, question, tokenizer)
    return Prompt(encode(text, tokenizer), encode(opening, tokenizer))


def prompt_text(thinking_format: ThinkingFormat, question: str, tokenizer: Tokenizer) -> str:
    """Everything up to where the thinking is opened, be it by the template, by us or by the model."""
    return _prompt_and_opening(thinking_format, question, tokenizer)[0]


def training_text(thinking_format: ThinkingFormat, prompt: str, thinking: str, answer: str) -> TrainingText:
    """The text of one training example, split where the loss begins; nothing follows the end of the answer."""
    newline = "\n" if thinking_format.newline_before_end else ""
    before = f"{thinking_format.thinking_start}{thinking.strip()}{newline}{thinking_format.thinking_end}"
    return TrainingText(
        prompt, before, f"{_prefixed(answer.strip(), thinking_format.answer_prefix)}{thinking_format.answer_stops[0]}"
    )


def _prefixed(answer: str, prefix: str | None) -> str:
    return answer if prefix is None or prefix.strip() in answer else prefix + answer


def text_before_stop(stop_ids: Sequence[int], stops: Sequence[str], tokenizer: Tokenizer) -> str:
    """What a sampled stop sequence holds before its delimiter: a mark that shares its first token, mostly nothing."""
    text = decode(stop_ids, tokenizer)
    return text[: min((text.index(stop) for stop in stops if stop in text), default=0)]


def _prompt_and_opening(thinking_format: ThinkingFormat, question: str, tokenizer: Tokenizer) -> tuple[str, str]:
    """What the template writes, divided; the second is empty where the template leaves the opening to others."""
    text, opening = _template_text(thinking_format, question, tokenizer), thinking_format.thinking_start
    if opening and text.endswith(opening):
        return text.removesuffix(opening), opening
    if opening and text.rstrip().endswith(opening.rstrip()):
        raise ConfigError(
            f"model.thinking_format.thinking_start {opening!r}: the prompt ends in"
            f" {text[-len(opening) - 2 :]!r} already."
            " Write it as it is there."
        )
    return text, ""


def _template_text(thinking_format: ThinkingFormat, question: str, tokenizer: Tokenizer) -> str:
    if thinking_format.prompt is not None:
        return thinking_format.prompt.replace("{question}", question.strip())
    conversation = [{"role": "user", "content": question.strip()}]
    if thinking_format.system is not None:
        conversation.insert(0, {"role": "system", "content": thinking_format.system})
    if getattr(tokenizer, "chat_template", "") is None:
        raise ConfigError(
            "model.thinking_format.prompt null: the model's tokenizer has no chat template. Write the prompt, such as"
            " 'model.thinking_format.prompt=\"{question}\"', or put a chat_template.jinja beside the model."
        )
    arguments = thinking_format.template_arguments or {}
    _check_used(arguments, tokenizer)
    try:
        written = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True, **arguments)
    except TemplateError as error:
        raise ConfigError(
            f"model.thinking_format.prompt null: the model's chat template refuses the question"
            f" ({error}). Write the prompt, or"
            " set model.thinking_format.system=null where it takes none."
        ) from None
    text = cast(str, written)  # as it is not tokenized
    _check_open(thinking_format, text)
    return text


def _check_used(arguments: Mapping[str, object], tokenizer: Tokenizer) -> None:
    """Raises ConfigError for an argument that the chat template does not ask for: it would change nothing."""
    template = getattr(tokenizer, "chat_template", None)
    if not arguments or not isinstance(template, str):
        return
    known = find_undeclared_variables(Environment(extensions=["jinja2.ext.loopcontrols"]).parse(template))
    for name in arguments:
        if name not in known:
            raise ConfigError(
                f"model.thinking_format.template_arguments.{name}: the model's chat template does not use it"
                f" (it uses: {', '.join(sorted(known))}). Correct the name, or leave it out."
            )


def _check_open(thinking_format: ThinkingFormat, text: str) -> None:
    """Raises ConfigError for a prompt that ends the thinking before it begins, as without `enable_thinking`."""
    end = thinking_format.thinking_end.strip()
    if thinking_format.thinking_start and end and text.rstrip().endswith(end):
        raise ConfigError(
            f"model.thinking_format.thinking_start {thinking_format.thinking_start!r}: the prompt of the"
            " model's chat template ends in"
            f" {end!r}, so that it would think after that."
            " Choose thinking_format@model.thinking_format=plain, or let it think:"
            " model.thinking_format.template_arguments=null."
        )


def _exact(name: str, text: str, tokenizer: Tokenizer) -> Ids:
    if not text:
        return ()
    ids = encode(text, tokenizer)
    back = decode(ids, tokenizer)
    if back != text:
        raise ConfigError(
            f"model.thinking_format.{name} {text!r}: the tokenizer turns it into {back!r}."
            " Choose a thinking format of this model."
        )
    return ids


def _spellings(name: str, delimiters: Sequence[str], tokenizer: Tokenizer) -> tuple[Ids, ...]:
    """All token sequences that stand for one of the delimiters, the way we write each before the others."""
    exact = [_exact(name, delimiter, tokenizer) for delimiter in delimiters if delimiter]
    others = [_covering(*context, tokenizer) for context in product(BEFORE, filter(None, delimiters), AFTER)]
    return tuple(dict.fromkeys(ids for ids in (*exact, *others) if ids))


def _covering(before: str, delimiter: str, after: str, tokenizer: Tokenizer) -> Ids:
    """The tokens that the delimiter occupies in this context; () where the tokenizer does not keep the text."""
    ids = encode(before + delimiter + after, tokenizer)
    lengths = [len(decode(ids[:count], tokenizer)) for count in range(len(ids) + 1)]
    if decode(ids, tokenizer) != before + delimiter + after:
        return ()
    first = max(count for count, length in enumerate(lengths) if length <= len(before))
    last = min(count for count, length in enumerate(lengths) if length >= len(before) + len(delimiter))
    return ids[first:last]


def _with_or_without_line_end(marker: str) -> list[str]:
    """A model may end the line of a marker otherwise, or not at all."""
    return list(dict.fromkeys((marker, marker.rstrip("\n"))))


def _newline_final(tokenizer: Tokenizer) -> frozenset[int]:
    return frozenset(token for token in range(len(tokenizer)) if decode((token,), tokenizer).endswith("\n"))
