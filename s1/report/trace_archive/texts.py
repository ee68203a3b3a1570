"""Texts that begin alike, stored once: the traces of one question under growing budgets are prefixes of one another.

A text is a reference (node, length): the first `length` characters of a node's text. A node continues another:

    node = (parent, at, rest): the first `at` characters of the parent's text, then `rest`; parent -1: `rest` alone

Lengths count characters (code points), not the UTF-16 units of JavaScript.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Ref: TypeAlias = "tuple[int, int]"
Node: TypeAlias = "tuple[int, int, str]"

ALONE = -1
SHARED_LEAST = 16  # characters; a node costs about as much


@dataclass
class TextStore:
    """Collects texts. Every text that is added can be read back exactly with `text_of`."""

    nodes: list[Node] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)  # of the nodes
    _known: dict[str, Ref] = field(default_factory=dict)

    def add(self, text: str) -> Ref:
        if text not in self._known:
            self._known[text] = self._place(text)
        return self._known[text]

    def _place(self, text: str) -> Ref:
        parent, at = ALONE, 0
        for node, other in enumerate(self._texts):
            if other.startswith(text):
                return node, len(text)
            if other[at : at + 1] == text[at : at + 1] and (shared := shared_length(text, other)) > at:
                parent, at = node, shared
        if at < SHARED_LEAST:
            parent, at = ALONE, 0
        self.nodes.append((parent, at, text[at:]))
        self._texts.append(text)
        return len(self.nodes) - 1, len(text)


def text_of(nodes: Sequence[Node], ref: Ref) -> str:
    """The text of a reference."""
    node, length = ref
    parts: list[str] = []
    while node != ALONE and length > 0:
        parent, at, rest = nodes[node]
        parts.append(rest[: max(0, length - at)])
        node, length = parent, min(length, at)
    return "".join(reversed(parts))


def shared_length(one: str, other: str) -> int:
    """Characters that two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high:  # one[:low] agrees, one[:high + 1] does not
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
