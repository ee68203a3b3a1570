r"""Exact rational arithmetic: evaluate formulas without symbols, roots and functions.

Sizes are checked before computing: a power of MAX_BITS bits or more raises TooLong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from s1.evaluate.grading.formula import Node, Number, Op, Operation, TooLong, Unreadable

MAX_BITS = 10_000  # fewer digits than the limit of Python's str(int)
MAX_FACTORIAL = 1_000


def exact(node: Node) -> Fraction | None:
    """The value; None if the formula is not rational arithmetic. Raises Unreadable (1/0) or TooLong."""
    if isinstance(node, Number):
        return node.value
    if not isinstance(node, Operation) or node.op not in _RULES:
        return None
    values = [exact(each) for each in node.operands]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    value = _RULES[node.op](*known)
    if value is not None and _bits(value) > MAX_BITS:
        raise TooLong("a number")
    return value


def power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """Raise base to an integer exponent; None for other exponents, whose result may be irrational."""
    if exponent.denominator != 1:
        return None
    if base == 0 and exponent <= 0:
        raise Unreadable("0 to the power of 0 or less")
    if base in (0, 1):
        return base
    if base == -1:
        return Fraction(1 if exponent % 2 == 0 else -1)
    if _bits(base) * abs(exponent) > MAX_BITS:
        raise TooLong("a power")
    return base ** int(exponent)


def _sum(*terms: Fraction) -> Fraction:
    return sum(terms, Fraction(0))


def _quotient(above: Fraction, below: Fraction) -> Fraction:
    if below == 0:
        raise Unreadable("a division by zero")
    return above / below


def _factorial(value: Fraction) -> Fraction | None:
    if value.denominator != 1 or value < 0:
        return None
    if value > MAX_FACTORIAL:
        raise TooLong("a factorial")
    return Fraction(math.factorial(int(value)))


def _binomial(above: Fraction, below: Fraction) -> Fraction | None:
    if above.denominator != 1 or below.denominator != 1 or above < 0 or below < 0:
        return None
    if above > MAX_FACTORIAL:
        raise TooLong("a binomial coefficient")
    return Fraction(math.comb(int(above), int(below)))


def _bits(value: Fraction) -> int:
    return max(abs(value.numerator).bit_length(), value.denominator.bit_length())


_RULES: dict[Op, Callable[..., Fraction | None]] = {
    Op.ADD: _sum,
    Op.MULTIPLY: lambda left, right: left * right,
    Op.DIVIDE: _quotient,
    Op.POWER: power,
    Op.NEGATE: lambda value: -value,
    Op.FACTORIAL: _factorial,
    Op.BINOMIAL: _binomial,
    Op.ABSOLUTE: lambda value: abs(value),
    Op.FLOOR: lambda value: Fraction(math.floor(value)),
    Op.CEILING: lambda value: Fraction(math.ceil(value)),
}
