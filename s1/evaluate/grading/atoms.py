r"""Parse the atoms of formulas: numbers, symbols, commands, brackets, matrices, exponents and indices."""

from __future__ import annotations

import re
from fractions import Fraction

from s1.evaluate.grading.formula import (
    BaseNumber,
    FunctionCall,
    Matrix,
    Node,
    Number,
    NumberSet,
    Op,
    Operation,
    Parenthesized,
    Symbol,
    TooLong,
    Unreadable,
    Unsupported,
    Words,
    operation,
)
from s1.evaluate.grading.tokens import BASES, FUNCTIONS, LETTERS, Cursor, Token, TokenKind, value_of

MAX_DEPTH = 40

PARTNERS = {
    "(": ")",
    "[": "]",
    "\\{": "\\}",
    "\\lbrace": "\\rbrace",
    "\\langle": "\\rangle",
    "\\lfloor": "\\rfloor",
    "\\lceil": "\\rceil",
}
_HALVES = {"\\lfloor": Op.FLOOR, "\\lceil": Op.CEILING}
_INVERSE = (Number(Fraction(-1)), operation(Op.NEGATE, Number(Fraction(1))))  # \sin^{-1} is arcsin
_CONNECTORS = ("and", "or", "base", "mod")


class Atoms(Cursor):
    """Lower half of the parser. The upper half (parsing.py) implements `item` and `side`."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self._depth = 0
        self._split = ""  # digits of a number that the last argument did not use

    def item(self) -> Node:
        """A relation between sides."""
        raise NotImplementedError

    def side(self) -> Node:
        """A sum, or an operation on sets."""
        raise NotImplementedError

    def raised(self, node: Node) -> Node:
        if self.skip("\\circ"):
            return operation(Op.DEGREES, node)
        if self.peek().text == "{" and self.peek(1).text == "\\circ" and self.peek(2).text == "}":
            self._at += 3
            return operation(Op.DEGREES, node)
        exponent = operation(Op.NEGATE, self._argument()) if self.skip("-") else self._argument()
        return operation(Op.POWER, node, exponent)

    def indexed(self, node: Node) -> Node:
        """Parse the base of a number or the index of a symbol."""
        start = self._at
        index = self._argument()
        if isinstance(node, Number):
            named = BASES.get(index.text) if isinstance(index, Words) else None
            base = named or (int(index.value) if isinstance(index, Number) and index.value.denominator == 1 else 0)
            if node.value.denominator != 1 or not 2 <= base <= 36:
                raise Unreadable("a base")
            return BaseNumber(str(node.value), base)
        if isinstance(node, Symbol):
            spelled = "".join(token.text for token in self._tokens[start : self._at] if token.text not in "{}")
            return Symbol(f"{node.name}_{spelled}")
        raise Unsupported("an index")

    # -------------------------------------------------------------------------------------------- atoms

    def atom(self) -> Node:
        """Parse one value without operators outside brackets. Raises TooLong if nested deeper than MAX_DEPTH."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooLong("brackets")
        node = self._atom(self.next())
        self._depth -= 1
        return node

    def _atom(self, token: Token) -> Node:
        if token.kind is TokenKind.NUMBER:
            return self._number(token.text)
        if token.kind is TokenKind.LETTER:
            return Symbol(token.text)
        if token.kind is TokenKind.WORD and token.text not in _CONNECTORS:
            words = [token.text]
            while self.peek().kind is TokenKind.WORD and self.peek().text not in _CONNECTORS:
                words.append(self.next().text)
            return Words(" ".join(words).lower())
        if token.text == "|":
            node = self.side()
            self.expect("|")
            return operation(Op.ABSOLUTE, node)
        if token.text in ("(", "[", "{", "]") or token.text in PARTNERS:
            return self._group(token.text)
        if token.kind is TokenKind.COMMAND:
            return self._command(token.text.removeprefix("\\"))
        raise Unreadable(f"{token.text!r} where a value was due")

    def _number(self, text: str) -> Node:
        value = value_of(text)
        if value.denominator == 1 and "." not in text and (fraction := self._proper_fraction()) is not None:
            return Number(value + fraction)
        if "." in text and self.skip("\\overline"):
            period = self._argument_digits()
            return Number(value + Fraction(int(period), 10 ** len(text.partition(".")[2]) * (10 ** len(period) - 1)))
        return Number(value)

    def _argument_digits(self) -> str:
        self.expect("{")
        digits = self.next().text
        self.expect("}")
        if not re.fullmatch(r"[0-9]{1,40}", digits):
            raise Unreadable("a period")
        return digits

    def _proper_fraction(self) -> Fraction | None:
        """Parse the fraction of a mixed number, 1/2 or \\frac{1}{2}. Raises Unreadable for two adjacent integers."""
        if self.peek().kind is TokenKind.NUMBER and self.peek(1).text == "/" and self.peek(2).kind is TokenKind.NUMBER:
            above, below = value_of(self.next().text), value_of(self._tokens[self._at + 1].text)
            self._at += 2
        elif self.peek().text == "\\frac":
            start = self._at
            self.next()
            fraction = self._fraction().operands
            if not all(isinstance(each, Number) for each in fraction):
                self._at = start
                return None
            above, below = (each.value for each in fraction if isinstance(each, Number))
        else:
            return None
        if not (0 < above < below and above.denominator == below.denominator == 1):
            raise Unreadable("an integer before an improper fraction")
        return above / below

    def _fraction(self) -> Operation:
        above = self._argument(single=True)
        below = self._argument(single=True)
        if self._split:
            raise Unreadable("digits behind a fraction")
        return operation(Op.DIVIDE, above, below)

    def _argument(self, single: bool = False) -> Node:
        """Parse the argument of a command or ^: braces or one token; with `single`, one digit, as in LaTeX."""
        self._split = ""
        token = self.peek()
        if token.text == "{":
            node = self.atom()
            self._split = ""
            return node
        if single and token.kind is TokenKind.NUMBER:
            digit, rest = token.text[0], token.text[1:]
            if not digit.isdigit() or not (rest.isdigit() or not rest):
                raise Unreadable("an argument")
            self._split = rest
            if rest:
                self._tokens[self._at] = Token(TokenKind.NUMBER, rest)
            else:
                self.next()
            return Number(Fraction(int(digit)))
        if token.kind is TokenKind.NUMBER:
            self.next()
            return Number(value_of(token.text))
        return self.atom()

    def _group(self, opening: str) -> Node:
        """Parse a bracketed list; a single item in round brackets or braces is just the item."""
        if opening in _HALVES:
            node = self.side()
            self.expect(PARTNERS[opening])
            return operation(_HALVES[opening], node)
        if self.skip("\\}") and opening in ("\\{", "\\lbrace"):
            return NumberSet("empty")
        items = [self.item()]
        if opening in ("\\{", "\\lbrace") and self.skip(":", "|", "\\mid"):  # {x : x < 3} becomes its condition
            items = [self.item()]
            self.expect(PARTNERS[opening])
            return items[0]
        while self.skip(",", ";"):
            items.append(self.item())
        closings = {"(": (")", "]"), "[": ("]", ")", "["), "]": ("[", "]"), "{": ("}",)}
        closing = self.next()
        if closing.text not in closings.get(opening, (PARTNERS.get(opening),)):
            raise Unreadable(f"{closing.text!r} closes {opening!r}")
        if opening == "{" and len(items) > 1:
            return Parenthesized("\\{", tuple(items), "\\}")
        bare = isinstance(items[0], Matrix) or (opening, closing.text) in (("(", ")"), ("{", "}"))
        if len(items) == 1 and bare:
            return items[0]
        opening = {"\\lbrace": "\\{", "\\langle": "("}.get(opening, opening)
        shut = {"\\rbrace": "\\}", "\\rangle": ")"}.get(closing.text, closing.text)
        if (opening, shut) in (("]", "["), ("]", "]"), ("[", "[")):  # ]1,2[ is the open interval
            opening, shut = opening.replace("]", "("), shut.replace("[", ")")
        return Parenthesized(opening, tuple(items), shut)

    def _command(self, name: str) -> Node:
        parts = {"frac": self._fraction, "sqrt": self._root, "mathbb": self._number_set, "begin": self._matrix}
        if name in parts:
            return parts[name]()
        if name in ("binom", "dbinom", "tbinom"):
            return operation(Op.BINOMIAL, self._argument(single=True), self._argument(single=True))
        if name in FUNCTIONS:
            return self._function(name)
        if name in LETTERS:
            return Symbol(name)
        if name in ("emptyset", "varnothing"):
            return NumberSet("empty")
        raise Unsupported(f"\\{name}")

    def _root(self) -> Node:
        index: Node = Number(Fraction(2))
        if self.skip("["):
            index = self.side()
            self.expect("]")
        return operation(Op.ROOT, self._argument(), index)

    def _function(self, name: str) -> Node:
        """Parse a function call. `\\sin^2 2x` is (sin 2x)^2: an unbracketed argument is the product that follows."""
        base: Node | None = None
        power: Node | None = None
        if name == "log" and self.skip("_"):
            base = self._argument(single=True)
        elif self.skip("^"):
            power = operation(Op.NEGATE, self._argument()) if self.skip("-") else self._argument()
        if power in _INVERSE and name in ("sin", "cos", "tan"):
            return FunctionCall(f"arc{name}", self._bare_product())
        argument = self._bare_product()
        if name in ("log", "lg"):
            node: Node = (
                operation(Op.LOGARITHM, argument, base or Number(Fraction(10)))
                if base or name == "lg"
                else FunctionCall("ln", argument)
            )
        else:
            node = FunctionCall(name, argument)
        return operation(Op.POWER, node, power) if power else node

    def _bare_product(self) -> Node:
        if self.peek().text in ("(", "{", "["):
            return self.atom()
        node = self._simple_power()
        while self.peek().kind in (TokenKind.LETTER, TokenKind.NUMBER) or self.peek().text in (
            "\\pi",
            "\\theta",
            "\\sqrt",
        ):
            node = operation(Op.MULTIPLY, node, self._simple_power())
        return node

    def _simple_power(self) -> Node:
        node = self.atom()
        while self.skip("^"):
            node = self.raised(node)
        return node

    def _number_set(self) -> Node:
        name = self._argument()
        if not isinstance(name, Symbol) or name.name not in "RZNQC":
            raise Unsupported("\\mathbb")
        return NumberSet(name.name)

    def _matrix(self) -> Node:
        kind = self._environment()
        if kind == "array":
            self._environment()
        if kind not in ("matrix", "pmatrix", "bmatrix", "Bmatrix", "array", "smallmatrix"):
            raise Unsupported(kind)
        rows: list[list[Node]] = [[self.side()]]
        while not self.skip("\\end"):
            if self.skip("&"):
                rows[-1].append(self.side())
            elif self.peek().text.startswith("\\\\"):
                self.next()
                if self.peek().text != "\\end":
                    rows.append([self.side()])
            else:
                raise Unreadable("a matrix")
        if self._environment() != kind or len({len(row) for row in rows}) != 1:
            raise Unreadable("a matrix")
        return Matrix(tuple(tuple(row) for row in rows))

    def _environment(self) -> str:
        self.expect("{")
        name = ""
        while self.peek().kind in (TokenKind.LETTER, TokenKind.WORD) or self.peek().text == "|":
            name += self.next().text
        self.expect("}")
        return name
