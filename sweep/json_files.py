"""Read and write JSON files of a store: errors name the file, and readers never see half a file.

A sealed file contains its own checksum, so that reading it detects a changed bit.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sweep.errors import SweepError
from sweep.plain_values import is_table

CHECKSUM: Final = "checksum"  # the field of a sealed file
NO_HARD_LINKS = (
    errno.EPERM,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EXDEV,
)  # from file systems without hard links


Document = TypeVar("Document", bound=Mapping[str, object])


class StoreError(SweepError, RuntimeError):
    """A file or directory of a store that is missing, damaged or in use."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises StoreError, which names the file and the fix."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        value = None
    except (IsADirectoryError, NotADirectoryError):
        raise StoreError(f"{path}: damaged, a folder, not a file. Run the sweep again to rewrite it.") from None
    if not is_table(value):
        raise StoreError(f"{path}: damaged, not JSON. Run the sweep again to rewrite it.")
    return value


def read_sealed(path: Path) -> dict[str, Any]:
    """Like read_json, but also raises StoreError if the checksum does not match. Files without one are accepted."""
    value = read_json(path)
    if CHECKSUM in value and value[CHECKSUM] != _checksum(value):
        raise StoreError(f"{path}: damaged, its checksum does not match. Run the sweep again to rewrite it.")
    return value


def sealed(value: Document) -> Document:
    """Add a checksum over all other fields."""
    # To a type checker, spreading a TypedDict gives a plain dict; it is the same document with one more field.
    return cast(Document, {**value, CHECKSUM: _checksum(value)})


def write_json(path: Path, value: Mapping[str, object], durable: bool = True) -> None:
    """Replace a file atomically, by a temporary file, flush and rename.

    Without `durable`, skips the flush: fast enough for thousands of files, but a crash of the machine may lose them.
    """
    temporary = _write_temporary(path, value, durable)
    try:
        put_folder_aside(path)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def create_json(path: Path, value: Mapping[str, object]) -> bool:
    """Create a file atomically; returns False if it exists.

    Needs no lock on file systems with hard links; elsewhere, the file is created and written in place.
    """
    temporary = _write_temporary(path, value, durable=True)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        return _create_in_place(path, temporary.read_bytes())
    finally:
        with suppress(OSError):
            temporary.unlink()
    return True


def put_folder_aside(path: Path) -> None:
    """Rename a folder that damage left in place of a file."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}"))


def _write_temporary(path: Path, value: Mapping[str, object], durable: bool) -> Path:
    """Write a temporary file; leaves nothing behind on failure, such as on a full disk."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, sort_keys=True, allow_nan=False)
            file.write("\n")
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    return temporary


def _create_in_place(path: Path, content: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink()
        raise
    return True


def _checksum(value: Mapping[str, object]) -> str:
    rest = {name: each for name, each in value.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()
