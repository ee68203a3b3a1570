"""What the files of a product were when it was published, and whether they still are.

    record.json  "files": {"answers.jsonl": {"bytes": 51234, "sha256": "<64 hex digits>"}, ...}

Paths are relative to out/, with slashes. Two looks at them: `glance` at names and sizes, for whoever is about to read
a product; `reading` every byte, for `python -m sweep store check`. A product holds its own bytes: a link is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, TypedDict

from sweep.identity import key_of


class FileState(TypedDict):
    """One file of a product, as JSON."""

    bytes: int
    sha256: str


Look: TypeAlias = "Callable[[Path, Mapping[str, FileState]], list[str]]"


class LinkError(ValueError):
    """A product that points outside itself."""


def file_states(out: Path) -> dict[str, FileState]:
    """Every file below a directory. Raises LinkError at a symbolic link: what it points to could change unseen."""
    paths = sorted(out.rglob("*"))
    for path in paths:
        if path.is_symlink():
            raise LinkError(
                f"out/{path.relative_to(out)}: a link. A product holds its own bytes: write the file itself."
            )
    return {path.relative_to(out).as_posix(): _state(path) for path in paths if path.is_file()}


def digest_of(files: Mapping[str, FileState]) -> str:
    """Twelve hex digits that stand for the bytes of a product: two machines may give one key two of them."""
    return key_of({name: state["sha256"] for name, state in files.items()})


def glance(out: Path, files: Mapping[str, FileState]) -> list[str]:
    """Files that are missing or have another size; costs one stat a file."""
    return [fault for name, was in files.items() if (fault := _glance(out / name, f"out/{name}", was))]


def reading(out: Path, files: Mapping[str, FileState]) -> list[str]:
    """Files that are missing, have other bytes, or were not there; reads every byte."""
    faults = glance(out, files)
    seen = {fault.partition(":")[0] for fault in faults}
    for name, was in files.items():
        if f"out/{name}" not in seen and _sha256(out / name) != was["sha256"]:
            faults.append(f"out/{name}: other bytes than were published")
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    return faults + [f"out/{name}: not there when it was published" for name in sorted(there.difference(files))]


def _glance(path: Path, name: str, was: FileState) -> str | None:
    try:
        size_bytes = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return f"{name}: missing"
    return None if size_bytes == was["bytes"] else f"{name}: {size_bytes} bytes, {was['bytes']} were published"


def _state(path: Path) -> FileState:
    return {"bytes": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
