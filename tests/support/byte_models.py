"""A model folder whose tokenizer has one token per byte and some special tokens, made without transformers."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

SPECIAL = ("<end>", "<user>", "<assistant>", "<think>", "</think>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if loop.index > 9 %}{% break %}{% endif %}<user>"
    "{{ message.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def byte_model(folder: Path, template: object = TEMPLATE, **config: object) -> Path:
    folder.mkdir(parents=True)
    vocabulary = {text: place for place, text in enumerate([*SPECIAL, *sorted(ByteLevel.alphabet())])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    fields = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": {"__type": "AddedToken", "content": "<end>", "special": True},
        "eos_token": "<end>",
        "chat_template": template,
        **config,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(fields), encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    return folder
