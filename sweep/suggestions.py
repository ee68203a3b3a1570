"""Error lines for unknown names, with the nearest known name and all known names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

LEAST_SIMILARITY = 0.5


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name most similar to `name`; None if none is similar enough."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=LEAST_SIMILARITY)), None)


def unknown(place: str, kind: str, name: str, known: Sequence[str], prefix: str = "") -> str:
    """Error line: `<place>: no such <kind>. Did you mean <prefix><nearest>? Known here: <all, sorted>.`"""
    near = nearest(name, known)
    question = f" Did you mean {prefix}{near}?" if near else ""
    return f"{place}: no such {kind}.{question} Known here: {', '.join(sorted(known)) or 'none'}."
