"""The terminal: whatever is printed passes through here, without escape codes of others and without secrets."""

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
    """Text from outside for a place where rich reads markup: shown as it is, whatever a terminal or rich would obey."""
    return rich.markup.escape(printable(text))


class Console(rich.console.Console):
    """Rich's console, whose own escape codes are the only ones that reach the terminal."""

    def __init__(self, **options: Any) -> None:
        unless_given: dict[str, Any] = {"highlight": False, "emoji": False}
        super().__init__(**{**unless_given, **options})
        self._secrets = Secrets.here()
        self._is_captured = "file" in options

    @property
    def errors(self) -> Console:
        """Where errors go: stderr, or this console if it writes to a file of its own."""
        return self if self._is_captured else Console(stderr=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """Before it is laid out, so that columns are as wide as what is shown."""
        return super().render_str(printable(self._secrets.redacted(text)), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What did not come as a string; segments of control are rich's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
