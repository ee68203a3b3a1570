r"""Compare two answers as mathematics: numbers, expressions, lists, tuples, intervals, matrices, equations.

lists and sets        in any order; `1 \pm \sqrt2` is two items
tuples, matrices      element by element; a column is a tuple
intervals             also as `2 \le x < 5`, `x \in [2, 5)`, and in unions
equations             by value if one side is a name (`x = 5` is 5), otherwise up to a constant factor
numbers to a base     only with the same digits and base
"""

from __future__ import annotations

from s1.evaluate.grading.expressions import expression, ratio, same_expression
from s1.evaluate.grading.formula import (
    BaseNumber,
    Chain,
    FunctionCall,
    Matrix,
    Node,
    Op,
    Operation,
    Parenthesized,
    ParsedAnswer,
    Relation,
    Symbol,
    Unsupported,
    Words,
    nodes,
)
from s1.evaluate.grading.regions import TURNED, is_name, is_region, region, union

MAX_ITEMS = 24  # items of a list, because every pair is compared


def equal(answer: ParsedAnswer, gold: ParsedAnswer) -> bool:
    """Whether the answer equals the reference. Raises Unsupported or TooLong if this module cannot decide it."""
    found: list[Node] = _items(answer)
    wanted: list[Node] = _items(gold)
    if max(len(found), len(wanted)) > MAX_ITEMS:
        raise Unsupported("a long list")
    if len(wanted) == 1 and len(answer.items) > 1 and _is_tuple(wanted[0]):  # 3, 4 for the point (3, 4)
        found = [Parenthesized("(", tuple(found), ")")]
    elif len(found) == 1 and len(gold.items) > 1 and _is_tuple(found[0]):
        wanted = [Parenthesized("(", tuple(wanted), ")")]
    if answer.alternatives and len(found) > 1 and all(is_region(item) for item in found):
        found = [union(found)]
    if gold.alternatives and len(wanted) > 1 and all(is_region(item) for item in wanted):
        wanted = [union(wanted)]
    return _match(_distinct(found), _distinct(wanted))


def _items(answer: ParsedAnswer) -> list[Node]:
    """The items, with sets expanded and each plus-minus as two items."""
    items = list(answer.items)
    if len(items) == 1 and isinstance(items[0], Chain) and items[0].relations == (Relation.EQUAL,):
        name, value = items[0].sides
        if isinstance(name, Symbol) and isinstance(value, Parenthesized) and value.opening == "\\{":
            items = [value]
    if len(items) == 1 and isinstance(items[0], Chain) and items[0].relations[-1] is Relation.IN:
        items = [items[0].sides[-1]]
    if len(items) == 1 and isinstance(items[0], Parenthesized) and items[0].opening == "\\{":
        items = list(items[0].items)
    return [version for item in items for version in _versions(item)]


def _versions(node: Node) -> list[Node]:
    """The node itself, or both values of a plus-minus."""
    if not any(isinstance(each, Operation) and each.op in (Op.PLUS_MINUS, Op.MINUS_PLUS) for each in nodes(node)):
        return [node]
    return [_signed(node, upper) for upper in (True, False)]


def _signed(node: Node, upper: bool) -> Node:
    match node:
        case Operation(Op.PLUS_MINUS | Op.MINUS_PLUS as op, (operand,)):
            value = _signed(operand, upper)
            return value if (op is Op.PLUS_MINUS) is upper else Operation(Op.NEGATE, (value,))
        case Operation(op, operands):
            return Operation(op, tuple(_signed(each, upper) for each in operands))
        case FunctionCall(name, argument):
            return FunctionCall(name, _signed(argument, upper))
        case Parenthesized(opening, items, closing):
            return Parenthesized(opening, tuple(_signed(each, upper) for each in items), closing)
        case Chain(sides, relations):
            return Chain(tuple(_signed(each, upper) for each in sides), relations)
    return node


def _distinct(items: list[Node]) -> list[Node]:
    kept: list[Node] = []
    for item in items:
        if not any(_same(item, each) for each in kept):
            kept.append(item)
    return kept


def _match(found: list[Node], wanted: list[Node]) -> bool:
    """Whether the lists match one to one. Equality is transitive, so taking the first match is enough."""
    if len(found) != len(wanted):
        return False
    left = list(wanted)
    for item in found:
        place = next((place for place, each in enumerate(left) if _same(item, each)), None)
        if place is None:
            return False
        del left[place]
    return True


def _same(found: Node, wanted: Node) -> bool:
    if found == wanted:
        return True
    if isinstance(found, Chain) or isinstance(wanted, Chain):
        return _same_relation(found, wanted)
    if isinstance(found, Words | BaseNumber) or isinstance(wanted, Words | BaseNumber):
        return False
    if isinstance(found, Matrix) or isinstance(wanted, Matrix):
        return _same_cells(found, wanted)
    if isinstance(found, Parenthesized) and isinstance(wanted, Parenthesized):
        return _same_group(found, wanted)
    if is_region(found) or is_region(wanted):
        return is_region(found) and is_region(wanted) and region(found) == region(wanted)
    if isinstance(found, Parenthesized) or isinstance(wanted, Parenthesized):
        return False
    return same_expression(found, wanted)


def _same_group(found: Parenthesized, wanted: Parenthesized) -> bool:
    if (found.opening, found.closing) != (wanted.opening, wanted.closing):
        return False
    if found.opening == "\\{":
        return _match(_distinct(list(found.items)), _distinct(list(wanted.items)))
    pairs = zip(found.items, wanted.items, strict=False)
    return len(found.items) == len(wanted.items) and all(_same(one, other) for one, other in pairs)


def _same_cells(found: Node, wanted: Node) -> bool:
    one, other = _rows(found), _rows(wanted)
    if one is None or other is None or [len(row) for row in one] != [len(row) for row in other]:
        return False
    cells = zip((cell for row in one for cell in row), (cell for row in other for cell in row), strict=True)
    return all(_same(cell, partner) for cell, partner in cells)


def _rows(node: Node) -> tuple[tuple[Node, ...], ...] | None:
    if isinstance(node, Matrix):
        return node.rows
    return tuple((item,) for item in node.items) if _is_tuple(node) and isinstance(node, Parenthesized) else None


def _is_tuple(node: Node) -> bool:
    if not isinstance(node, Parenthesized) or (node.opening, node.closing) != ("(", ")"):
        return False
    return Symbol("infty") not in [each for item in node.items for each in nodes(item)]


# ------------------------------------------------------------------------------------------ relations


def _same_relation(found: Node, wanted: Node) -> bool:
    found_value, wanted_value = _value(found), _value(wanted)
    if isinstance(found, Chain) and isinstance(wanted, Chain):
        found_name, wanted_name = _name(found), _name(wanted)
        if found_name is not None and found_name == wanted_name and found_value and wanted_value:
            return _same(found_value, wanted_value)
        if is_region(found) and is_region(wanted):
            return region(found) == region(wanted)
        return _proportional(found, wanted)
    if isinstance(wanted, Chain) and _name(wanted) is None and not is_region(wanted):
        return False  # the reference is an equation
    if found_value is not None and wanted_value is not None:
        return _same(found_value, wanted_value)
    return is_region(found) and is_region(wanted) and region(found) == region(wanted)


def _value(node: Node) -> Node | None:
    """The value of a chain of equations; any other node as it is."""
    if not isinstance(node, Chain):
        return node
    if node.relations[-1] is Relation.IN:
        return node.sides[-1]
    if set(node.relations) != {Relation.EQUAL}:
        return None
    first, last = node.sides[0], node.sides[-1]
    return first if is_name(last) and not is_name(first) else last


def _name(chain: Chain) -> Node | None:
    if chain.relations[-1] is not Relation.IN and set(chain.relations) != {Relation.EQUAL}:
        return None
    first, last = chain.sides[0], chain.sides[-1]
    return first if is_name(first) else last if is_name(last) else None


def _proportional(found: Chain, wanted: Chain) -> bool:
    """Compare up to a factor: 2x - 2y = 4 is x = y + 2. For inequalities the factor must be positive."""
    if len(found.relations) != 1 or len(wanted.relations) != 1:
        return False
    factor = ratio(*(expression(each.sides[0]) - expression(each.sides[1]) for each in (found, wanted)))
    if factor is None:
        return False
    relation = found.relations[0]
    if relation not in TURNED:
        return relation is wanted.relations[0]
    return (relation if factor > 0 else TURNED[relation]) is wanted.relations[0]
