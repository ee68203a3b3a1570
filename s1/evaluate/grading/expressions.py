r"""Convert formulas to sympy, and compare two numbers or expressions.

Rational numbers are compared exactly; other expressions to DIGITS digits, at POINTS values of their symbols. A rounded
root is a different number. Towers of powers are checked before sympy sees them, and raise TooLong.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from s1.evaluate.grading.arithmetic import exact
from s1.evaluate.grading.formula import FunctionCall, Node, Number, Op, Operation, Symbol, TooLong, Unsupported

if TYPE_CHECKING:
    import sympy

DIGITS = 200
ROUGH = 1e-3  # a relative difference this large settles the comparison without more digits
POINTS = 4  # sampled values of the symbols
MAX_TOWER = 2  # depth of powers within exponents
MAX_EXPONENT = 10_000
_CONSTANTS = {"e": "E", "i": "I", "pi": "pi", "infty": "oo"}
_FUNCTIONS = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "ln": "log"}
_UNKNOWN = ("gcd", "lcm", "max", "min", "det")


def same_expression(left: Node, right: Node) -> bool:
    """Whether both are the same number or the same function of the same symbols."""
    exact_left, exact_right = exact(left), exact(right)
    if exact_left is not None and exact_right is not None:
        return exact_left == exact_right
    return _agree(expression(left), expression(right))


def ratio(left: sympy.Expr, right: sympy.Expr) -> Fraction | None:
    """The constant c in left = c * right if it is rational and not 0, else None."""
    import sympy

    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    if not symbols:
        return None
    place = _places(symbols)[0]
    quotient = sympy.nsimplify(left.subs(place) / right.subs(place), rational=True)
    if not quotient.is_Rational or quotient == 0 or not _agree(left, quotient * right):
        return None
    return Fraction(int(quotient.p), int(quotient.q))


def expression(node: Node) -> sympy.Expr:
    """Convert to a sympy expression. Raises Unsupported if it is not one, or TooLong."""
    import sympy

    if (value := exact(node)) is not None:
        return sympy.Rational(value.numerator, value.denominator)
    if _tower(node) > MAX_TOWER:
        raise TooLong("a tower of powers")
    match node:
        case Symbol(name):
            return getattr(sympy, _CONSTANTS[name]) if name in _CONSTANTS else sympy.Symbol(name)
        case Operation(op, operands):
            return _operation(op, [expression(each) for each in operands])
        case FunctionCall(name, argument) if name not in _UNKNOWN:
            return getattr(sympy, _FUNCTIONS.get(name, name))(expression(argument))
    raise Unsupported(type(node).__name__)


def _operation(op: Op, values: list[Any]) -> Any:
    import sympy

    match op:
        case Op.ADD:
            return sympy.Add(*values)
        case Op.MULTIPLY:
            return sympy.Mul(*values)
        case Op.DIVIDE:
            return values[0] / values[1]
        case Op.NEGATE:
            return -values[0]
        case Op.POWER:
            return _power(values[0], values[1])
        case Op.ROOT:
            return _root(values[0], values[1])
        case Op.DEGREES:
            return values[0] * sympy.pi / 180
        case Op.LOGARITHM:
            return sympy.log(values[0]) / sympy.log(values[1])
    functions = {
        Op.FACTORIAL: sympy.factorial,
        Op.BINOMIAL: sympy.binomial,
        Op.ABSOLUTE: sympy.Abs,
        Op.FLOOR: sympy.floor,
        Op.CEILING: sympy.ceiling,
    }
    if op not in functions:
        raise Unsupported(op.value)
    return functions[op](*values)


def _root(base: Any, index: Any) -> Any:
    """The root; for a negative number and an odd index, the real one."""
    if index.is_odd and base.is_negative:
        return -_power(-base, 1 / index)
    return _power(base, 1 / index)


def _power(base: Any, exponent: Any) -> Any:
    if exponent.is_Rational and max(abs(exponent.p), exponent.q) > MAX_EXPONENT:
        raise TooLong("an exponent")
    if base.is_Rational and exponent.is_Rational and abs(exponent) > 1:
        bits = max(abs(int(base.p)).bit_length(), int(base.q).bit_length()) * abs(float(exponent))
        if bits > 2 * MAX_EXPONENT:
            raise TooLong("a power")
    return base**exponent


def _tower(node: Node) -> int:
    """Depth of fast-growing operations nested in exponents and arguments."""
    match node:
        case Operation(Op.POWER, (base, exponent)):
            return max(_tower(base), _tower(exponent) + (0 if isinstance(exponent, Number) else 1))
        case Operation(Op.FACTORIAL | Op.BINOMIAL, operands):
            return 1 + max(_tower(each) for each in operands)
        case Operation(_, operands):
            return max(_tower(each) for each in operands)
        case FunctionCall(name, argument):
            return _tower(argument) + (name in ("exp", "sinh", "cosh"))
    return 0


def _agree(left: sympy.Expr, right: sympy.Expr) -> bool:
    import sympy

    if left == right:
        return True
    if left.has(sympy.oo, sympy.nan, sympy.zoo) or right.has(sympy.oo, sympy.nan, sympy.zoo):
        return False
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    compared = 0
    for place in _places(symbols):
        left_here, right_here = left.subs(place), right.subs(place)
        rough = [sympy.N(each, 15) for each in (left_here, right_here)]
        if all(each.is_number and each.is_finite for each in rough) and abs(rough[0] - rough[1]) > ROUGH * abs(
            rough[0]
        ):
            return False
        left_value, right_value = sympy.N(left_here, DIGITS), sympy.N(right_here, DIGITS)
        if not (left_value.is_number and right_value.is_number) or not (left_value.is_finite and right_value.is_finite):
            continue
        compared += 1
        if not _close(left_value, right_value):
            return False
    return compared > 0


def _close(left: Any, right: Any) -> bool:
    import sympy

    size = sympy.Max(abs(left), abs(right))
    if min(abs(left), abs(right)) == 0:  # the other is a rounding error or a small number
        return bool(size < sympy.Float(10) ** (20 - DIGITS))
    return bool(abs(left - right) <= size * sympy.Float(10) ** (20 - DIGITS))


def _places(symbols: list[Any]) -> list[dict[Any, Any]]:
    """Sample values of the symbols: the same in every run, and irregular, so that no formula matches by chance."""
    import sympy

    return [
        {
            symbol: sympy.Rational(
                (-1) ** (point * (order + 1)) * (37 + 19 * point + 11 * order), 29 + 6 * order + point
            )
            for order, symbol in enumerate(symbols)
        }
        for point in range(POINTS if symbols else 1)
    ]
