r"""Recursive-descent parser for formulas. Raises Unreadable unless it can parse the whole text.

Ambiguous notation is rejected: `4 5`, `2\frac{3}{2}`, `\frac123`. So is an operator without an operand. Depth and
length are limited, which bounds the time: longer or deeper text raises TooLong.
"""

from __future__ import annotations

import re

from s1.evaluate.grading.atoms import PARTNERS, Atoms
from s1.evaluate.grading.formula import (
    Chain,
    FunctionCall,
    Node,
    Number,
    NumberSet,
    Op,
    Operation,
    Parenthesized,
    ParsedAnswer,
    Relation,
    Symbol,
    TooLong,
    Unreadable,
    Words,
    children,
    depth,
    nodes,
    operation,
)
from s1.evaluate.grading.tokens import SPELLINGS, Token, TokenKind, tokens_of

MAX_LENGTH = 1_000  # characters per answer
MAX_TREE = 100  # levels per formula: x!!! has four

_RELATIONS = {
    "=": Relation.EQUAL,
    "\\equiv": Relation.EQUAL,
    "<": Relation.LESS,
    "\\lt": Relation.LESS,
    ">": Relation.GREATER,
    "\\gt": Relation.GREATER,
    **dict.fromkeys(("<=", "\\le", "\\leq", "\\leqslant"), Relation.LESS_EQUAL),
    **dict.fromkeys((">=", "\\ge", "\\geq", "\\geqslant"), Relation.GREATER_EQUAL),
    **dict.fromkeys(("!=", "\\ne", "\\neq"), Relation.UNEQUAL),
    "\\in": Relation.IN,
}
_TIMES = {"*", "\\cdot", "\\times", "\\ast"}
_OVER = {"/", "\\div"}
_SETS = {"\\cup": Op.UNION, "cup": Op.UNION, "\\cap": Op.INTERSECTION, "\\setminus": Op.DIFFERENCE}
_ALL_REALS = ("all real numbers", "all reals", "all real values")
_PHRASE = re.compile(r"\(?([A-Za-z]{3,}(?:[ '-][A-Za-z]+)*|[A-Za-z]+(?: [A-Za-z]{2,})+)\)?")


def parse(text: str) -> ParsedAnswer:
    """Parse a text in plain notation. Raises Unreadable, Unsupported or TooLong."""
    if len(text) > MAX_LENGTH:
        raise TooLong(text[:20])
    words = _PHRASE.fullmatch(text)
    if words and words[1].split()[0] not in SPELLINGS and not re.search(r"\b(?:and|or)\b", text):
        if words[1].lower() in _ALL_REALS:
            return ParsedAnswer((NumberSet("R"),))
        return ParsedAnswer((Words(re.sub(r"[\s-]+|^(?:an?|the) ", " ", words[1].lower()).strip()),))
    answer = _Parser(tokens_of(text)).answer()
    if any(depth(item) > MAX_TREE for item in answer.items):
        raise TooLong(text[:20])
    for node in (each for item in answer.items for each in nodes(item)):
        if isinstance(node, Operation | FunctionCall) and any(isinstance(each, Words) for each in children(node)):
            raise Unreadable("words in a formula")
    return answer


class _Parser(Atoms):
    """Upper half of the parser: answers, relations, sums and products."""

    def answer(self) -> ParsedAnswer:
        """Parse the whole text."""
        items, alternatives = [self.item()], False
        while self.peek().kind is not TokenKind.END:
            comma = self.skip(",", ";")
            if self.skip("and"):
                pass
            elif self.skip("or"):
                alternatives = True
            elif not comma:
                raise Unreadable(f"{self.peek().text!r} is left over")
            items.append(self.item())
        return ParsedAnswer(tuple(items), alternatives)

    def item(self) -> Node:
        sides, relations = [self.side()], []
        while (relation := _RELATIONS.get(self.peek().text)) is not None:
            self.next()
            relations.append(relation)
            sides.append(self.side())
        return Chain(tuple(sides), tuple(relations)) if relations else sides[0]

    def side(self) -> Node:
        node = self._sum()
        if isinstance(node, Number) and self.peek().text == ":":
            return self._ratio(node)
        while (op := _SETS.get(self.peek().text)) is not None:
            self.next()
            node = operation(op, node, self._sum())
        return node

    def _ratio(self, first: Node) -> Node:
        """Parse a ratio such as 3 : 4, or a time of day."""
        terms = [first]
        while self.skip(":"):
            terms.append(self._sum())
        return Parenthesized(":", tuple(terms), ":")

    def _sum(self) -> Node:
        if self.peek().text == self.peek(1).text == "-":  # a dash, or a double negation
            raise Unreadable("signs")
        terms = [self._signed()]
        while self.peek().text in ("+", "-", "\\pm", "\\mp"):
            terms.append(self._signed())
        return terms[0] if len(terms) == 1 else operation(Op.ADD, *terms)

    def _signed(self) -> Node:
        """Parse a term and the signs before it."""
        signs = []
        while self.peek().text in ("+", "-", "\\pm", "\\mp"):
            signs.append(self.next().text)
        if len(signs) > 2:
            raise Unreadable("signs")
        node = self._term()
        for sign in reversed(signs):
            op = {"-": Op.NEGATE, "\\pm": Op.PLUS_MINUS, "\\mp": Op.MINUS_PLUS}.get(sign)
            node = operation(op, node) if op else node
        return node

    def _term(self) -> Node:
        node = self._power()
        while True:
            token = self.peek()
            if token.text in _TIMES:
                self.next()
                node = operation(Op.MULTIPLY, node, self._factor())
            elif token.text in _OVER:
                self.next()
                node = operation(Op.DIVIDE, node, self._factor())
            elif self._starts_atom(token):
                if token.kind is TokenKind.NUMBER and self.peek(-1).text != "!":  # "4 5", and "x 5"; 2!3! is a product
                    raise Unreadable("a number follows without an operator")
                node = operation(Op.MULTIPLY, node, self._power())
            else:
                return node

    def _factor(self) -> Node:
        """Parse the operand after an operator, which may have a sign: -3."""
        if self.skip("-"):
            return operation(Op.NEGATE, self._power())
        return self._power()

    def _starts_atom(self, token: Token) -> bool:
        if token.kind in (TokenKind.NUMBER, TokenKind.LETTER):
            return True
        if token.kind is TokenKind.MARK:
            return token.text in ("(", "{")
        closers = {*PARTNERS.values(), *_RELATIONS, *_TIMES, *_OVER, *_SETS, "\\pm", "\\mp", "\\\\", "\\end", "\\mid"}
        return token.kind is TokenKind.COMMAND and token.text not in closers

    def _power(self) -> Node:
        node = self.atom()
        while True:
            if self.skip("!"):
                node = operation(Op.FACTORIAL, node)
            elif self.skip("^"):
                node = self.raised(node)
            elif self.skip("_"):
                node = self.indexed(node)
            elif self.skip("'"):
                if not isinstance(node, Symbol):
                    raise Unreadable("a prime")
                node = Symbol(f"{node.name}'")
            else:
                return node
