"""A tokenizer read from tokenizer.json, without transformers, whose import takes seconds.

transformers may build another tokenizer from the same folder, from the class that tokenizer_config.json names. So a
caller compares the texts with known ones, and uses `tokenizer_at` (s1/models/location.py) where they differ.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

TOKENIZER, CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
CORRUPTING = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"


def light_tokenizer(folder: Path) -> LightTokenizer | None:
    """The tokenizer of a model folder; None if only transformers can read it or render its chat template."""
    if not (folder / TOKENIZER).is_file():
        return None
    config = _config(folder)
    template = _template(folder, config)
    if config.get(CORRUPTING) or not isinstance(template, str | None) or "generation" in _tags(template or ""):
        return None
    return LightTokenizer(folder, config, template)


class LightTokenizer:
    """Has the methods of s1.models.thinking_format.Tokenizer."""

    def __init__(self, folder: Path, config: dict[str, Any], chat_template: str | None) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._named = {name: _content(config[name]) for name in NAMED_TOKENS if config.get(name)}
        self.chat_template = chat_template
        self._compiled = None if chat_template is None else _environment().from_string(chat_template)

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        return self._tokenizer.decode(token_ids, skip_special_tokens=skip_special_tokens)

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        **arguments: Any,
    ) -> str:
        """Render the template as transformers does. Raises ValueError if there is none, or to tokenize."""
        if self._compiled is None or tokenize:
            raise ValueError("chat_template: none, or tokens were asked for. Use transformers.")
        values = {**self._named, **arguments}
        given = {"messages": conversation, "tools": None, "documents": None}
        return self._compiled.render(**given, add_generation_prompt=add_generation_prompt, **values)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _template(folder: Path, config: dict[str, Any]) -> object:
    """The chat template; a list of named ones counts as its default, as in transformers."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {str(each["name"]): each["template"] for each in found}
        return named.get("default", found)
    return found


def _content(token: Any) -> str:
    """The text of a named token, which may be written with its properties."""
    return str(token["content"] if isinstance(token, dict) else token)


def _tags(template: str) -> Sequence[str]:
    """The first words of all statements of a template."""
    return [part.lstrip("-+ \n\t").split(None, 1)[0] for part in template.split("{%")[1:] if part.strip("-+ \n\t")]


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _refuse_date
    return environment


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _refuse_date(wanted: str) -> None:
    """A prompt with the date of generation cannot be rendered again."""
    raise TemplateError(f"strftime_now({wanted!r}): the date of generation is unknown")
