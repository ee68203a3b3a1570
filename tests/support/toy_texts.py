"""A pipeline whose points are texts and numbers of many kinds, for tests of typed command lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
