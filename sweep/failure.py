"""failed.json of a stage for people: why it failed, on one line, whatever stands in the file."""

from __future__ import annotations

from pathlib import Path

from sweep.json_files import StoreError, read_json


def failure_message(failed: Path) -> str:
    """Why a stage failed, as it has written it down; or that this cannot be read."""
    try:
        message = read_json(failed).get("message")
    except (StoreError, OSError):
        message = None
    if not isinstance(message, str) or not message.strip():
        return f"why cannot be read any more: {failed.name} is damaged. Its log says more."
    return one_line(message)


def one_line(text: str) -> str:
    """Every stretch of blanks and new lines as one blank."""
    return " ".join(text.split())
