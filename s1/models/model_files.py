"""The files of a model on disk: whether they are what was planned, and whether they can be loaded at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from s1.config.schema import ConfigError
from sweep.hashing import hashed_once

JSON_READ = (  # by whoever loads a model or its tokenizer
    *("config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json", "vocab.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json"),
)


def hashes_of_model(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """The sha256 of each file of a model, by name; read once in a process, by several threads.

    Loading the model then finds it in the page cache.
    """
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and _matches(path.name, patterns)]
    return {path.name: digest for path, digest in sorted(hashed_once(files).items())}


def unchanged(folder: Path, planned: Mapping[str, str] | None, patterns: Sequence[str]) -> dict[str, str]:
    """The hashes of a local model, once they are those of when it was planned. Raises ConfigError.

    `planned` is None in a product of an earlier version: then there is nothing to compare.
    """
    if not folder.is_dir():
        raise ConfigError(f"model.repo {str(folder)!r}: no longer there. Put the model back, or give its new place.")
    now = hashes_of_model(folder, patterns)
    if planned is None:
        return now
    expected = {name: digest for name, digest in planned.items() if _matches(name, patterns)}
    if others := sorted(name for name in {**expected, **now} if expected.get(name) != now.get(name)):
        raise ConfigError(
            f"model.repo {str(folder)!r}: {', '.join(others)} changed since it was planned. Restore the files, or run"
            " the sweep again with the model as it is now."
        )
    return now


def check_loadable(folder: Path, remedy: str, patterns: Sequence[str]) -> None:
    """Refuse weights and JSON that no library could read, by name; headers of weights alone are read.

    Raises ConfigError that ends in the remedy.
    """
    from safetensors import SafetensorError, safe_open

    for path in (folder / name for name in JSON_READ if (folder / name).exists()):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not JSON ({error}). {remedy}.") from None
    for path in sorted(folder.glob("*.safetensors")) if _matches("any.safetensors", patterns) else []:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (OSError, SafetensorError) as error:
            raise ConfigError(f"{path}: no whole file of weights ({' '.join(str(error).split())}). {remedy}.") from None


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
