"""What a pipeline shows of a result in a terminal: blocks of text that the machinery lays out for its width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from sweep.core.identity import Json


class Style(Enum):
    """Emphasis of a text. Texts are complete without it."""

    PLAIN = "plain"
    HEADING = "heading"
    FAINT = "faint"
    MARK = "mark"  # an insertion of ours in a text of the model
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True)
class Span:
    text: str
    style: Style = Style.PLAIN


@dataclass(frozen=True)
class Paragraph:
    """Text that wraps; new lines in it stay."""

    spans: Sequence[Span]


@dataclass(frozen=True)
class Grid:
    """A table; all rows have the same headings."""

    rows: Sequence[Mapping[str, str]]
    title: str = ""


@dataclass(frozen=True)
class Beside:
    """Texts side by side, or one after the other on a narrow terminal."""

    columns: Sequence[Paragraph]


Block: TypeAlias = Paragraph | Grid | Beside


@dataclass(frozen=True)
class ShowRequest:
    """What `sweep show` was asked for. None: the pipeline chooses."""

    question: str | None = None  # "#12", an id, or "flips"
    points: str | None = None  # names, separated by commas
    seed: int | None = None
    sample: int | None = None


@dataclass(frozen=True)
class Shown:
    blocks: Sequence[Block]
    data: Json = field(default=None)  # the same for scripts


def line(text: str, style: Style = Style.PLAIN) -> Paragraph:
    """A paragraph of one style."""
    return Paragraph((Span(text, style),))
