"""Status files a worker writes next to a stage: progress.json and failed.json.

failed.json     error, message, traceback, failed_at
progress.json   done, total, unit

A finished stage has record.json instead (sweep/store/attempt.py).
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sweep.core.spending import LimitReached
from sweep.json_files import StoreError, read_json
from sweep.secrets import redacted
from sweep.store.directory import StageDirectory
from sweep.store.documents import FailureJson
from sweep.store.permission import explained

PROGRESS_INTERVAL_S = 0.2


def now() -> str:
    """Current UTC time in ISO format, as used in all files."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def failure_of(error: Exception) -> FailureJson:
    """Content of failed.json for the error being handled, with secrets redacted."""
    return {
        "error": redacted(f"{type(error).__name__}: {error}"),
        "message": redacted(explained(error) if isinstance(error, OSError) else str(error)),
        "traceback": redacted(traceback.format_exc()),
        "failed_at": now(),
    }


def reporter(directory: StageDirectory) -> Callable[[int, int, str], None]:
    """Create a function that updates progress.json at a limited rate."""
    last = 0.0

    def report(done: int, total: int, unit: str) -> None:
        nonlocal last
        at = time.monotonic()
        if at - last < PROGRESS_INTERVAL_S and done < total:
            return
        last = at
        temporary = directory.progress_file.with_suffix(".aside")
        temporary.write_text(json.dumps({"done": done, "total": total, "unit": unit}), encoding="utf-8")
        temporary.replace(directory.progress_file)

    return report


def failure_message(failed: Path) -> str:
    """Error message of a failed.json on one line, or that the file cannot be read."""
    try:
        message = read_json(failed).get("message")
    except (StoreError, OSError):
        message = None
    if not isinstance(message, str) or not message.strip():
        return f"the reason cannot be read, {failed.name} is damaged. See the log."
    return failure_line(message)


def is_limited(failed: Path) -> bool:
    """Whether a failed.json says that a limit on the cost stopped the stage."""
    try:
        return str(read_json(failed).get("error")).startswith(f"{LimitReached.__name__}:")
    except (StoreError, OSError):
        return False


def failure_line(text: str) -> str:
    """Collapse white space, so that a text is one line."""
    return " ".join(text.split())
