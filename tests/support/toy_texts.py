"""A pipeline whose points are texts and numbers of many kinds, for tests of typed command lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweep.core.pipeline import Graph, SweepRequest


@dataclass(frozen=True)
class Style:
    start: str


@dataclass(frozen=True)
class Model:
    style: Style
    size: int


@dataclass(frozen=True)
class Budget:
    waits: int
    cap: int | None
    words: Any


@dataclass(frozen=True)
class Point:
    name: str
    text: Any
    other: Any
    where: Any
    model: Model
    budget: Budget
    launch: dict[str, Any]


def graph(points: Sequence[Point], request: SweepRequest) -> Graph:
    """Composing needs a pipeline; these points are never run."""
    raise NotImplementedError
