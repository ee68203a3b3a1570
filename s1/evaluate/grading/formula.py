r"""Syntax trees of formulas, and the grammar of answers. A text must match the grammar completely.

    answer     item (, item)*                      a list, also with "and" or "or"
    item       side (= side)*                      also < > \le \ge \ne \in \equiv
    side       sum (\cup sum)*                     also \cap, \setminus
    sum        term (+ term)*                      also -, \pm, \mp
    term       power power | power * power         also \cdot, \times, /, \div
    power      atom ! ^{...} _{...}

`3\frac{1}{2}` and `3 1/2` are mixed numbers, `4210_5` is a number to base 5, `2x` a product. Decimals are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import TypeAlias


class Unreadable(Exception):
    """The text cannot be parsed as an answer of this kind."""


class Unsupported(Unreadable):
    """Mathematics beyond this grammar: integrals, sums, limits."""


class TooLong(Unreadable):
    """The text is longer, deeper or larger than an answer can be."""


class Op(Enum):
    ADD = "+"
    MULTIPLY = "*"
    DIVIDE = "/"
    POWER = "^"
    NEGATE = "-"
    PLUS_MINUS = "+-"  # of one operand; the first value takes +
    MINUS_PLUS = "-+"
    FACTORIAL = "!"
    BINOMIAL = "binomial"
    ROOT = "root"  # operand, index
    ABSOLUTE = "abs"
    FLOOR = "floor"
    CEILING = "ceiling"
    LOGARITHM = "log"  # operand, base
    DEGREES = "degrees"
    UNION = "union"
    INTERSECTION = "intersection"
    DIFFERENCE = "difference"


class Relation(Enum):
    EQUAL = "="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="
    UNEQUAL = "!="
    IN = "in"


@dataclass(frozen=True)
class Number:
    value: Fraction


@dataclass(frozen=True)
class BaseNumber:
    digits: str
    base: int


@dataclass(frozen=True)
class Symbol:
    name: str


@dataclass(frozen=True)
class NumberSet:
    name: str  # R, Z, N, Q, C, or empty


@dataclass(frozen=True)
class Operation:
    op: Op
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class FunctionCall:
    name: str
    argument: Node


@dataclass(frozen=True)
class Parenthesized:
    """Several items in brackets, or one in square brackets. A single item in round brackets is just the item."""

    opening: str
    items: tuple[Node, ...]
    closing: str


@dataclass(frozen=True)
class Matrix:
    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True)
class Chain:
    """sides[0] relations[0] sides[1] ..."""

    sides: tuple[Node, ...]
    relations: tuple[Relation, ...]


@dataclass(frozen=True)
class Words:
    text: str  # lower case, one space


@dataclass(frozen=True)
class ParsedAnswer:
    items: tuple[Node, ...]
    alternatives: bool = False  # joined by "or"


Node: TypeAlias = (
    Number | BaseNumber | Symbol | NumberSet | Operation | FunctionCall | Parenthesized | Matrix | Chain | Words
)  # fmt: skip


def operation(op: Op, *operands: Node) -> Operation:
    """Build an operation from operands in order."""
    return Operation(op, operands)


def children(node: Node) -> Sequence[Node]:
    """The direct children of a node."""
    match node:
        case Operation():
            return node.operands
        case FunctionCall():
            return (node.argument,)
        case Parenthesized():
            return node.items
        case Matrix():
            return [cell for row in node.rows for cell in row]
        case Chain():
            return node.sides
        case _:
            return ()


def nodes(node: Node) -> list[Node]:
    """The node and all its descendants."""
    found, queue = [], [node]
    while queue:
        each = queue.pop()
        found.append(each)
        queue.extend(children(each))
    return found


def depth(node: Node) -> int:
    """Number of levels of the tree. Iterative, because a tree may have a thousand levels."""
    levels, level = 0, [node]
    while level:
        levels += 1
        level = [child for each in level for child in children(each)]
    return levels
