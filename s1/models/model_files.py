"""Check model files on disk: unchanged since planning, and loadable."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from s1.config.schema import ConfigError
from sweep.hashing import hashed_once

JSON_READ = (  # by loading a model or its tokenizer
    *("config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json", "vocab.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json"),
)


def hashes_of_model(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """The sha256 of each file of a model, by name. Each file is read once per process, by several threads.

    Loading the model afterwards reads it from the page cache.
    """
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and _matches(path.name, patterns)]
    return {path.name: digest for path, digest in sorted(hashed_once(files).items())}


def unchanged(folder: Path, planned: Mapping[str, str] | None, patterns: Sequence[str]) -> dict[str, str]:
    """The hashes of a local model's files. Raises ConfigError if they changed since planning.

    `planned` is None for outputs of an earlier version, which have no hashes to compare with.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"model.repo {str(folder)!r}: no such directory any more. Put the model back, or give its new path."
        )
    now = hashes_of_model(folder, patterns)
    if planned is None:
        return now
    expected = {name: digest for name, digest in planned.items() if _matches(name, patterns)}
    if changed := sorted(name for name in {**expected, **now} if expected.get(name) != now.get(name)):
        raise ConfigError(
            f"model.repo {str(folder)!r}: {', '.join(changed)} changed since planning. Restore the files, or run"
            " the sweep again with the model as it is now."
        )
    return now


def check_loadable(folder: Path, remedy: str, patterns: Sequence[str]) -> None:
    """Raises ConfigError, ending in the remedy, for a JSON or weight file that cannot be parsed.

    Of weight files, only the headers are read.
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
            raise ConfigError(
                f"{path}: incomplete or damaged weights ({' '.join(str(error).split())}). {remedy}."
            ) from None


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
