"""Checkpoints in mid-training: `checkpoint-<step>/`, in the trainer's own layout, and the mark that it is whole.

    complete     JSON {file: bytes}, written after all else: a checkpoint counts only if every file is there in full

So neither a run killed while it saves nor a file that lost its end is ever resumed from.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

MARK = "complete"


def step_of(checkpoint: Path) -> int:
    """The step after which it was written."""
    return int(checkpoint.name.rpartition("-")[2])


def mark_complete(checkpoint: Path) -> None:
    """Vouch for all files that are there now."""
    aside = checkpoint / f".{MARK}"
    aside.write_text(json.dumps(_sizes(checkpoint)), encoding="utf-8")
    aside.replace(checkpoint / MARK)


def is_complete(checkpoint: Path) -> bool:
    """Whether it was written to its end, and is as long as it was then."""
    try:
        sizes = json.loads((checkpoint / MARK).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return sizes == _sizes(checkpoint)


def newest_complete(scratch: Path) -> Path | None:
    """The last checkpoint that can be resumed from."""
    return max(filter(is_complete, scratch.glob("checkpoint-*")), key=step_of, default=None)


def remove_incomplete(scratch: Path) -> None:
    """Remove what cannot be resumed from; for one process alone, before any of them saves."""
    for checkpoint in scratch.glob("checkpoint-*"):
        if not is_complete(checkpoint):
            shutil.rmtree(checkpoint)


def _sizes(checkpoint: Path) -> dict[str, int]:
    return {
        path.relative_to(checkpoint).as_posix(): path.stat().st_size
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name not in (MARK, f".{MARK}")
    }
