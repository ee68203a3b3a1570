"""Regions of the real line: intervals, their unions, number sets, and inequalities in one symbol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s1.evaluate.grading.arithmetic import exact
from s1.evaluate.grading.expressions import expression
from s1.evaluate.grading.formula import (
    Chain,
    Node,
    NumberSet,
    Op,
    Operation,
    Parenthesized,
    Relation,
    Symbol,
    Unreadable,
    Unsupported,
)

if TYPE_CHECKING:
    import sympy

TURNED = {
    Relation.LESS: Relation.GREATER,
    Relation.LESS_EQUAL: Relation.GREATER_EQUAL,
    Relation.GREATER: Relation.LESS,
    Relation.GREATER_EQUAL: Relation.LESS_EQUAL,
}
_SET_OPERATIONS = (Op.UNION, Op.INTERSECTION, Op.DIFFERENCE)


def is_name(node: Node) -> bool:
    """Whether the node is a name: x, x_1 or f(x), but not e, i or pi."""
    if isinstance(node, Operation) and node.op is Op.MULTIPLY:
        return node.operands[0] in [Symbol(name) for name in "fghFGPQ"] and isinstance(node.operands[1], Symbol)
    return isinstance(node, Symbol) and node.name not in ("e", "i", "pi", "infty")


def is_region(node: Node) -> bool:
    """Whether the node is an interval, a union of regions, a number set or an inequality in one symbol."""
    match node:
        case NumberSet():
            return True
        case Parenthesized(opening, items, _):
            return opening == "\\{" or (len(items) == 2 and all(_is_real(item) for item in items))
        case Operation(op, operands):
            return op in _SET_OPERATIONS and all(is_region(each) for each in operands)
        case Chain(sides, relations):
            return _bounds(sides, relations)
    return False


def _bounds(sides: tuple[Node, ...], relations: tuple[Relation, ...]) -> bool:
    if (relations != (Relation.UNEQUAL,) and any(each not in TURNED for each in relations)) or len(sides) > 3:
        return False
    if len(sides) == 3:
        return is_name(sides[1]) and _is_real(sides[0]) and _is_real(sides[2])
    if len(sides) == 2:
        left, right = sides
        return (is_name(left) and _is_real(right)) or (is_name(right) and _is_real(left))
    return False


def _is_real(node: Node) -> bool:
    if exact(node) is not None:
        return True
    try:
        return bool(expression(node).is_extended_real) and not expression(node).free_symbols
    except Unreadable:
        return False


def union(items: list[Node]) -> Node:
    """Build the formula of the union of regions."""
    node = items[0]
    for item in items[1:]:
        node = Operation(Op.UNION, (node, item))
    return node


def region(node: Node) -> sympy.Set:
    """Convert to a sympy set. Raises Unsupported if the node is not a region."""
    import sympy

    match node:
        case NumberSet(name):
            return {
                "R": sympy.S.Reals,
                "Z": sympy.S.Integers,
                "N": sympy.S.Naturals,
                "Q": sympy.S.Rationals,
                "C": sympy.S.Complexes,
            }.get(name, sympy.S.EmptySet)
        case Parenthesized("\\{", items, _):
            return sympy.FiniteSet(*(expression(item) for item in items))
        case Parenthesized(opening, (low, high), closing):
            return sympy.Interval(expression(low), expression(high), opening == "(", closing == ")")
        case Operation(op, (left, right)):
            combine = {Op.UNION: sympy.Union, Op.INTERSECTION: sympy.Intersection, Op.DIFFERENCE: sympy.Complement}
            return combine[op](region(left), region(right))
        case Chain(sides, relations):
            return _between(sides, relations)
    raise Unsupported("a region")


def _between(sides: tuple[Node, ...], relations: tuple[Relation, ...]) -> sympy.Set:
    import sympy

    halves = [(sides[at], relation, sides[at + 1]) for at, relation in enumerate(relations)]
    region: sympy.Set = sympy.S.Reals
    for left, relation, right in halves:
        if not is_name(left):
            left, relation, right = right, TURNED.get(relation, relation), left
        if relation is Relation.UNEQUAL:
            return region - sympy.FiniteSet(expression(right))
        bound, open_end = expression(right), relation in (Relation.LESS, Relation.GREATER)
        below = relation in (Relation.LESS, Relation.LESS_EQUAL)
        half = sympy.Interval(-sympy.oo, bound, True, open_end) if below else sympy.Interval(bound, sympy.oo, open_end)
        region = region.intersect(half)
    return region
