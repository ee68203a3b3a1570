"""The parts of a written report. Plain values, without W&B and without Markdown.

Two renderers read them: s1/report/written/markdown.py, and s1/track/wandb_report.py for a Report on W&B. A grid of
panels draws from runs on W&B; `shown_without` is what stands in its place where nothing draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from s1.plots.scaling_chart import XAxis


@dataclass(frozen=True)
class Contents:
    """Links to all headings."""


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 1  # 1 to 3


@dataclass(frozen=True)
class Text:
    """A paragraph, as plain text."""

    text: str


@dataclass(frozen=True)
class Lines:
    """An unordered list, as plain text."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells are plain text; a column of numbers is aligned to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[str] = frozenset()  # names of columns


@dataclass(frozen=True)
class Code:
    text: str


@dataclass(frozen=True)
class Picture:
    """A file of the result."""

    name: str  # path in the result's folder
    title: str


# -------------------------------------------------------------------------------------------------------- panels


class RunSet(Enum):
    """The runs that a grid draws from."""

    SUMMARY = "summary"
    POINTS = "points"  # valid ones
    CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class CurvePanel:
    """The scaling chart over one kind of compute."""

    axis: XAxis


@dataclass(frozen=True)
class TablePanel:
    """A table that the summary run logged."""

    name: str


@dataclass(frozen=True)
class ScatterPanel:
    """One summary key over another, on a logarithmic x axis."""

    title: str
    x: str
    y: str


@dataclass(frozen=True)
class ParallelPanel:
    """One line per run across keys; those of the config begin with `config.`."""

    keys: Sequence[str]


@dataclass(frozen=True)
class BarPanel:
    title: str
    key: str


@dataclass(frozen=True)
class DifferencesPanel:
    """The config of the runs, where it differs."""


@dataclass(frozen=True)
class LinePanel:
    title: str
    x: str
    y: str


@dataclass(frozen=True)
class LineagePanel:
    """What an artifact was made from, and what was made from it."""

    artifact: str  # name and version


@dataclass(frozen=True)
class PagePanel:
    """The page that the summary run logged."""

    name: str


Panel: TypeAlias = (
    CurvePanel
    | TablePanel
    | ScatterPanel
    | ParallelPanel
    | BarPanel
    | DifferencesPanel
    | LinePanel
    | LineagePanel
    | PagePanel
)


@dataclass(frozen=True)
class Grid:
    """Panels side by side."""

    runs: RunSet
    panels: Sequence[Panel]
    shown_without: Sequence[Text | Lines | Table | Picture] = field(default=())


Block: TypeAlias = Contents | Heading | Text | Lines | Table | Code | Picture | Grid


@dataclass(frozen=True)
class WrittenReport:
    """A report on one result."""

    title: str
    claim: str  # "": none
    blocks: Sequence[Block]
