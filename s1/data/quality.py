"""Quality: rows that cannot be an example, and questions that match a pattern of the config (paper, section 2.2).

Rows without a trace were errors of the teacher's API in s1; the patterns are its marks of figures, of several problems
in one, and of bad formatting (conf/cleaning/s1.yaml).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from s1.recipe import Pattern
from s1.records import PoolRow

COMPLETE = "complete"  # the step that drops what cannot be an example


def incomplete(row: PoolRow) -> str | None:
    """What a row lacks to be an example, or None."""
    parts = {"question": row.question, "reasoning trace": row.thinking, "answer of the teacher": row.answer}
    lacking = [name for name, text in parts.items() if not (text and text.strip())]
    return f"no {lacking[0]}" if lacking else None


def verdicts(rows: Sequence[PoolRow], patterns: Sequence[Pattern]) -> list[str | None]:
    """The reason of the first pattern that matches each row's question, or None."""
    compiled = [(re.compile(pattern.regex), pattern) for pattern in patterns]
    return [_verdict(row, compiled) for row in rows]


def _verdict(row: PoolRow, compiled: Sequence[tuple[re.Pattern[str], Pattern]]) -> str | None:
    for regex, pattern in compiled:
        if regex.search(row.question) and not row.source.startswith(tuple(pattern.except_sources)):
            return pattern.reason
    return None
