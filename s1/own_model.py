"""Read context length and sizes of a local model from its files, without loading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from s1.config.schema import ConfigError, DecoderShape, Model, ModelKind
from sweep.places import expanded

CONTEXT = "max_position_embeddings"
TEMPLATES = ("chat_template.jinja", "chat_template.json")


def described(field: str, model: Model) -> Model:
    """A local model with context length and shape filled in from its files. Raises ConfigError for unusable files.

    Returns models of other kinds unchanged.
    """
    if model.kind is not ModelKind.DIRECTORY:
        if model.context_tokens < 1:
            raise ConfigError(f"{field}.context_tokens {model.context_tokens}: below 1. Raise it.")
        return model
    folder = expanded(f"{field}.repo", model.repo or "")
    if model.repo is None or not folder.is_dir():
        raise ConfigError(f"{field}.repo {model.repo!r}: no such directory. Give one in Hugging Face layout.")
    config = json_of(folder / "config.json", f"{field}.repo {model.repo!r}")
    text_config = config.get("text_config")
    sizes = text_config if isinstance(text_config, Mapping) else config
    context = model.context_tokens or _context(field, folder, sizes)
    _check_template(field, model, folder)
    return replace(model, repo=str(folder), context_tokens=context, shape=model.shape or _shape(folder, sizes))


def json_of(path: Path, where: str) -> dict[str, Any]:
    """Read a JSON object. Raises ConfigError naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{where}: no {path.name} there. Give a directory in Hugging Face layout.") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not JSON ({error}). Save the model again.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: not a JSON object. Save the model again.")
    return content


def _context(field: str, folder: Path, sizes: Mapping[str, Any]) -> int:
    context = sizes.get(CONTEXT)
    if not isinstance(context, int) or context < 1:
        raise ConfigError(
            f"{field}.context_tokens 0: {folder / 'config.json'} has no {CONTEXT}. Add {field}.context_tokens=NUMBER,"
            " such as 32768."
        )
    return context


def _check_template(field: str, model: Model, folder: Path) -> None:
    """Raises ConfigError if the prompt is to come from a chat template and the model has none."""
    if model.thinking_format.prompt is not None or any((folder / name).is_file() for name in TEMPLATES):
        return
    tokenizer = folder / "tokenizer_config.json"
    if tokenizer.is_file() and "chat_template" in json_of(tokenizer, f"{field}.repo {str(folder)!r}"):
        return
    raise ConfigError(
        f"{field}.thinking_format.prompt null: {folder} has no chat template. Put a"
        f" chat_template.jinja there, or write the prompt: '{field}.thinking_format.prompt=\"{{question}}\"'."
    )


def _shape(folder: Path, sizes: Mapping[str, Any]) -> DecoderShape | None:
    """Sizes for estimates; None if config.json lacks one of them."""
    names = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
    if not all(isinstance(sizes.get(name), int) and sizes[name] > 0 for name in names):
        return None
    layers, hidden, heads, feed_forward, vocabulary = (int(sizes[name]) for name in names)
    return DecoderShape(
        parameters=_parameters(folder),
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=sizes.get("num_key_value_heads") or heads,
        feed_forward_size=feed_forward,
        vocabulary=vocabulary,
        head_size=sizes.get("head_dim") or hidden // heads,
    )


def _parameters(folder: Path) -> int:
    """Count parameters from the headers of the weight files. Raises ConfigError naming an invalid or truncated file."""
    from safetensors import SafetensorError, safe_open

    count = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as weights:
                count += sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            message = " ".join(str(error).split())
            raise ConfigError(f"{path}: incomplete or damaged weights ({message}). Save the model again.") from None
    if not count:
        raise ConfigError(f"model.repo {str(folder)!r}: no *.safetensors weights there. Save the model as safetensors.")
    return count
