"""Thinking formats: the delimiters of question, thinking and answer. Strings in the config, token ids here.

s1's training text (paper, section 3.1 and its tokenisation script), with the thinking format `s1`:

    <prompt of the chat template><|im_start|>think\\nTRACE\\n<|im_start|>answer\\nANSWER<|im_end|>

where ANSWER begins with "Answer: " unless it contains "Answer:" already.

Delimiters are encoded once and kept as ids. A delimiter that the tokenizer cannot represent exactly is refused.

We write a delimiter as `encode(delimiter)`. Unless it is one special token, a model may sample other tokens for the
same text, since tokens can span its ends (`answer.<|end_of_thought|>` contains the token `.<`; `</think>` and a blank
line end in `>\\n\\n`). So we search sampled tokens for every tokenization of the delimiter after a text from BEFORE and
before a text from AFTER. A token that spans an end counts as part of the delimiter, so punctuation in it is removed
from the text. Limits: a text that continues on the same line (`>The` is one token) or ends in other characters may hide
the delimiter, and a budget may cut it in two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol, TypeAlias, cast

from jinja2 import Environment, TemplateError
from jinja2.meta import find_undeclared_variables

from s1.config.schema import ConfigError, ThinkingFormat

BEFORE = ("", " ", "\n", *".!?:;,)]}*$`\"'\u3002", '."')  # possible ends of the text before a delimiter
AFTER = ("", "\n", "\n\n", "<")  # possible texts after it, such as another delimiter

Ids: TypeAlias = "tuple[int, ...]"


class Tokenizer(Protocol):
    """The methods of a Hugging Face tokenizer that we use. For one text, the last two return a str."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> object: ...

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, **arguments: Any
    ) -> object: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class ThinkingFormatIds:
    """A thinking format as token ids of one tokenizer."""

    thinking_start: Ids
    thinking_stops: tuple[Ids, ...]  # every tokenization of each stop, as in answer_stops
    thinking_end: Ids
    forced_end: Ids
    answer_stops: tuple[Ids, ...]
    newline: Ids  # () if the thinking format has none before an end marker
    newline_final: frozenset[int]  # tokens whose text ends in a newline
    written_starts: tuple[Ids, ...]  # every tokenization of thinking_start, with and without its final newline
    written_ends: tuple[Ids, ...]  # the same for thinking_end
    warning: Ids = ()  # inserted into the thinking at `warning_share` of the maximum; (): none
    warning_share: float = 1.0

    @property
    def ends_of_thinking(self) -> tuple[Ids, ...]:
        """Token sequences that end the thinking when sampled: its stops, and the end of the turn."""
        return tuple(dict.fromkeys((*self.thinking_stops, *self.answer_stops)))

    @property
    def marker_tokens(self) -> int:
        """The most tokens that delimiters add to one trace."""
        return len(self.thinking_start) + len(self.newline) + max(len(self.thinking_end), len(self.forced_end))

    def on_new_line(self, marker: Ids, last: int) -> Ids:
        """The marker to append after the token `last`: with a newline unless the text already ends in one."""
        return marker if last in self.newline_final else self.newline + marker


@dataclass(frozen=True)
class Prompt:
    ids: Ids  # everything before thinking_start
    opening: Ids  # thinking_start if the chat template ends in it, else ()


@dataclass(frozen=True)
class TrainingText:
    prompt: str  # no loss
    before_answer: str  # the thinking and its delimiters; has loss, like the answer
    answer: str  # including its stop

    @property
    def completion(self) -> str:
        return self.before_answer + self.answer


def thinking_format_ids(thinking_format: ThinkingFormat, tokenizer: Tokenizer) -> ThinkingFormatIds:
    """Encode every delimiter. Raises ConfigError for one that the tokenizer changes, or that suits another model."""
    newline = _exact("newline", "\n", tokenizer) if thinking_format.newline_before_end else ()
    if thinking_format.prompt is None and all(
        len(encode(stop, tokenizer)) > 1 for stop in thinking_format.answer_stops
    ):
        raise ConfigError(
            f"model.thinking_format.answer_stops {thinking_format.answer_stops}: none of them is a single token of this"
            " tokenizer, as the end of a chat turn is. Choose the thinking format of this model."
        )
    stops = [*thinking_format.forced_stops, *thinking_format.thinking_stops]
    return ThinkingFormatIds(
        thinking_start=_exact("thinking_start", thinking_format.thinking_start, tokenizer),
        thinking_stops=_tokenizations("thinking_stops", stops, tokenizer),
        thinking_end=_exact("thinking_end", thinking_format.thinking_end, tokenizer),
        forced_end=_exact("forced_end", thinking_format.forced_end, tokenizer),
        answer_stops=_tokenizations("answer_stops", thinking_format.answer_stops, tokenizer),
        newline=newline,
        newline_final=_newline_final(tokenizer) if newline else frozenset(),
        written_starts=_tokenizations(
            "thinking_start", _with_or_without_line_end(thinking_format.thinking_start), tokenizer
        ),
        written_ends=_tokenizations("thinking_end", _with_or_without_line_end(thinking_format.thinking_end), tokenizer),
        warning=_exact("warning", thinking_format.warning or "", tokenizer),
        warning_share=thinking_format.warning_share or 1.0,
    )


def of_training(thinking_format: ThinkingFormat) -> ThinkingFormat:
    """The part of a format that training depends on, so that a checkpoint serves every cut sentence and warning."""
    return replace(thinking_format, forced_end="", forced_stops=[], warning=None, warning_share=None)


def encode(text: str, tokenizer: Tokenizer) -> Ids:
    """Encode a text without adding special tokens; delimiters in it become special tokens."""
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def decode(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """The exact text, delimiters included."""
    return cast(str, tokenizer.decode(list(ids), skip_special_tokens=False))  # a list for several texts only


def prompt_of(thinking_format: ThinkingFormat, question: str, tokenizer: Tokenizer) -> Prompt:
    """The prompt of a question; the ids do not depend on whether the template writes the opening."""
    text, opening = _prompt_and_opening(thinking_format, question, tokenizer)
    return Prompt(encode(text, tokenizer), encode(opening, tokenizer))


def prompt_text(thinking_format: ThinkingFormat, question: str, tokenizer: Tokenizer) -> str:
    """The text before thinking_start, which the template, we or the model may write."""
    return _prompt_and_opening(thinking_format, question, tokenizer)[0]


def training_text(thinking_format: ThinkingFormat, prompt: str, thinking: str, answer: str) -> TrainingText:
    """The text of one training example, split where the loss begins; it ends with the answer's stop."""
    newline = "\n" if thinking_format.newline_before_end else ""
    before = f"{thinking_format.thinking_start}{thinking.strip()}{newline}{thinking_format.thinking_end}"
    return TrainingText(
        prompt, before, f"{_prefixed(answer.strip(), thinking_format.answer_prefix)}{thinking_format.answer_stops[0]}"
    )


def _prefixed(answer: str, prefix: str | None) -> str:
    return answer if prefix is None or prefix.strip() in answer else prefix + answer


def text_before_stop(stop_ids: Sequence[int], stops: Sequence[str], tokenizer: Tokenizer) -> str:
    """The text before the delimiter in a sampled stop sequence: punctuation in the same token, usually empty."""
    text = decode(stop_ids, tokenizer)
    return text[: min((text.index(stop) for stop in stops if stop in text), default=0)]


def _prompt_and_opening(thinking_format: ThinkingFormat, question: str, tokenizer: Tokenizer) -> tuple[str, str]:
    """The template's text and the opening at its end; the opening is empty if the template does not write it."""
    text, opening = _template_text(thinking_format, question, tokenizer), thinking_format.thinking_start
    if opening and text.endswith(opening):
        return text.removesuffix(opening), opening
    if opening and text.rstrip().endswith(opening.rstrip()):
        raise ConfigError(
            f"model.thinking_format.thinking_start {opening!r}: the prompt already ends in"
            f" {text[-len(opening) - 2 :]!r}. Set it to exactly that text."
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
            "model.thinking_format.prompt null: the model's tokenizer has no chat template. Set the prompt, such as"
            " 'model.thinking_format.prompt=\"{question}\"', or add a chat_template.jinja to the model."
        )
    arguments = thinking_format.template_arguments or {}
    _check_used(arguments, tokenizer)
    try:
        written = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True, **arguments)
    except TemplateError as error:
        raise ConfigError(
            f"model.thinking_format.prompt null: the model's chat template raises an error ({error})."
            " Set the prompt, or set model.thinking_format.system=null if the template takes no system prompt."
        ) from None
    text = cast(str, written)  # a str because of tokenize=False
    _check_thinking_not_closed(thinking_format, text)
    return text


def _check_used(arguments: Mapping[str, object], tokenizer: Tokenizer) -> None:
    """Raises ConfigError for an argument that the chat template does not use: it would have no effect."""
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


def _check_thinking_not_closed(thinking_format: ThinkingFormat, text: str) -> None:
    """Raises ConfigError for a prompt that already closes the thinking, as with enable_thinking=false."""
    end = thinking_format.thinking_end.strip()
    if thinking_format.thinking_start and end and text.rstrip().endswith(end):
        raise ConfigError(
            f"model.thinking_format.thinking_start {thinking_format.thinking_start!r}: the chat template's prompt"
            f" already ends in {end!r}, which closes the thinking. Choose"
            " thinking_format@model.thinking_format=plain, or enable thinking:"
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
            " Choose a thinking format for this model."
        )
    return ids


def stops_of(field: str, texts: Sequence[str], tokenizer: Tokenizer) -> tuple[Ids, ...]:
    """Every tokenization of texts that end something else than the thinking. Raises ConfigError naming the field."""
    return _tokenizations(field, texts, tokenizer)


def _tokenizations(name: str, delimiters: Sequence[str], tokenizer: Tokenizer) -> tuple[Ids, ...]:
    """All token sequences for the delimiters; those that we write come first."""
    exact = [_exact(name, delimiter, tokenizer) for delimiter in delimiters if delimiter]
    others = [_covering(*context, tokenizer) for context in product(BEFORE, filter(None, delimiters), AFTER)]
    return tuple(dict.fromkeys(ids for ids in (*exact, *others) if ids))


def _covering(before: str, delimiter: str, after: str, tokenizer: Tokenizer) -> Ids:
    """The tokens that overlap the delimiter in this context; () if the tokenizer changes the text."""
    ids = encode(before + delimiter + after, tokenizer)
    lengths = [len(decode(ids[:count], tokenizer)) for count in range(len(ids) + 1)]
    if decode(ids, tokenizer) != before + delimiter + after:
        return ()
    first = max(count for count, length in enumerate(lengths) if length <= len(before))
    last = min(count for count, length in enumerate(lengths) if length >= len(before) + len(delimiter))
    return ids[first:last]


def _with_or_without_line_end(marker: str) -> list[str]:
    """The marker with and without its final newline, which a model may omit."""
    return list(dict.fromkeys((marker, marker.rstrip("\n"))))


def _newline_final(tokenizer: Tokenizer) -> frozenset[int]:
    return frozenset(token for token in range(len(tokenizer)) if decode((token,), tokenizer).endswith("\n"))
