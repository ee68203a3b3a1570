"""Terminal output. Removes secrets, and escape codes that are not our own, from everything printed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import rich.console
import rich.markup
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from sweep.printable import printable
from sweep.secrets import Secrets


def escape(text: str) -> str:
    """Escape external text for rich markup, so that neither rich nor the terminal interprets it."""
    return rich.markup.escape(printable(text))


class Console(rich.console.Console):
    """Rich's console; no escape codes but its own reach the terminal."""

    def __init__(self, **options: Any) -> None:
        unless_given: dict[str, Any] = {"highlight": False, "emoji": False}
        super().__init__(**{**unless_given, **options})
        self._secrets = Secrets.here()
        self._is_captured = "file" in options

    @property
    def errors(self) -> Console:
        """Console for errors: stderr, or this console if it writes to a given file."""
        return self if self._is_captured else Console(stderr=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """Clean strings before layout, so that column widths fit the text shown."""
        return super().render_str(printable(self._secrets.redacted(text)), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Clean everything that did not arrive as a string; control segments are rich's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
