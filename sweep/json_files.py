"""JSON files of a store: read with a complaint that names the file, written so that no reader sees half of one."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class StoreError(RuntimeError):
    """A stage directory that cannot be used as it is."""


def read_json(path: Path) -> dict[str, Any]:
    """Raises StoreError that names the file and what to do."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        value = None
    if not isinstance(value, dict):
        raise StoreError(f"{path}: damaged, not JSON. Remove the directory {path.parent}; it will be made again.")
    return value


def write_json(path: Path, value: Mapping[str, Any], durable: bool = True) -> None:
    """Written aside, flushed to disk and renamed: a reader sees the old file or the whole new one.

    What is not durable may be lost if the machine dies at once; thousands of such files are written in seconds.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with aside.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, sort_keys=True, allow_nan=False)
        file.write("\n")
        file.flush()
        if durable:
            os.fsync(file.fileno())
    aside.replace(path)
