"""JSON files of a store: read with a complaint that names the file, written so that no reader sees half of one.

A sealed file carries a checksum of itself: what was flipped in it is noticed when it is read.
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
NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)  # said by file systems


Document = TypeVar("Document", bound=Mapping[str, object])


class StoreError(SweepError, RuntimeError):
    """A stage directory that cannot be used as it is."""


def read_json(path: Path) -> dict[str, Any]:
    """Raises StoreError that names the file and what to do."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        value = None
    except (IsADirectoryError, NotADirectoryError):
        raise StoreError(f"{path}: damaged, not a file. Run the sweep again: it is written anew.") from None
    if not is_table(value):
        raise StoreError(f"{path}: damaged, not JSON. Run the sweep again: it is written anew.")
    return value


def read_sealed(path: Path) -> dict[str, Any]:
    """As read_json; raises StoreError as well if it is not what was sealed. One of before seals is taken as it is."""
    value = read_json(path)
    if CHECKSUM in value and value[CHECKSUM] != _checksum(value):
        raise StoreError(f"{path}: damaged, its checksum is another. Run the sweep again: it is written anew.")
    return value


def sealed(value: Document) -> Document:
    """With a checksum of all the rest."""
    # Spreading a TypedDict makes a plain dict of it to the checker; it is the same document with one more field.
    return cast(Document, {**value, CHECKSUM: _checksum(value)})


def write_json(path: Path, value: Mapping[str, object], durable: bool = True) -> None:
    """Written aside, flushed to disk and renamed: a reader sees the old file or the whole new one.

    What is not durable may be lost if the machine dies at once; thousands of such files are written in seconds.
    """
    aside = _written_aside(path, value, durable)
    try:
        put_folder_aside(path)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def create_json(path: Path, value: Mapping[str, object]) -> bool:
    """Written aside, flushed and linked: the one that is first creates it, whole; False if it is there already.

    Needs no lock, on any file system with hard links; where there are none, the file is created and written in place.
    """
    aside = _written_aside(path, value, durable=True)
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        return _create_in_place(path, aside.read_bytes())
    finally:
        with suppress(OSError):
            aside.unlink()
    return True


def put_folder_aside(path: Path) -> None:
    """What damage put in the place of a file makes way for it, and is kept beside it."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}"))


def _written_aside(path: Path, value: Mapping[str, object], durable: bool) -> Path:
    """Leaves nothing behind where it fails, such as on a full disk."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, sort_keys=True, allow_nan=False)
            file.write("\n")
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise
    return aside


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
