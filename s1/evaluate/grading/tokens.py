"""Split formulas in plain notation into tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from s1.evaluate.grading.formula import TooLong, Unreadable
from s1.evaluate.grading.notation import GROUP

MAX_DIGITS = 600  # per number


class TokenKind(Enum):
    NUMBER = "number"
    LETTER = "letter"
    WORD = "word"
    COMMAND = "command"
    MARK = "mark"
    END = "end"


@dataclass(frozen=True)
class Token:
    kind: TokenKind
    text: str


_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.\d+[eE][-+]?\d{1,3}(?![\w.])"
    r"|\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?|\d{1,3}(?: \d{3})+(?!\d)(?:\.\d+)?"
    rf"|\d{{1,3}}(?:{GROUP}\d{{3}})+(?!\d)(?:\.\d+)?|\d+{GROUP}\d+|\d*\.\d+|\d+\.(?=\\overline)|\d+)"
    r"|(?P<command>\\[A-Za-z]+\*?|\\\\(?:\[[^\]]*\])?|\\[{}|])"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<mark>\*\*|<=|>=|!=|[-+*/^_!=<>|,;:&'%(){}\[\]]))"
)
FUNCTIONS = {
    *("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "exp", "ln"),
    *("log", "lg", "gcd", "lcm", "max", "min", "det"),
}
SPELLINGS = {"sqrt", "pi", "infty", "inf", "infinity", "cup", "theta", "alpha", "beta", *FUNCTIONS}
BASES = {
    name: base
    for base, name in enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=2)
}
LETTERS = {
    *("alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa"),
    *("lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "ell"),
    *("hbar", "Gamma", "Delta", "Theta", "Lambda", "Sigma", "Phi", "Psi", "Omega", "pi", "infty"),
}
_SHORT_WORDS = {
    *("and", "or", "mod", "is", "are", "was", "be", "has", "the", "of", "an", "as", "at", "in", "it", "we", "so", "to"),
    *(
        "on",
        "by",
        "if",
        "for",
        "not",
        "no",
        "yes",
        "its",
        "his",
        "her",
        "but",
        "one",
        "two",
        "six",
        "ten",
        "all",
        "any",
    ),
    *("can", "may", "did", "got", "get", "let", "now", "our", "out", "per", "red", "odd", "sum", "too", "use", "way"),
}
_WORD_LENGTH = 4  # letters; a shorter run is a product of symbols


def tokens_of(text: str) -> list[Token]:
    """Split a text into tokens. Raises Unreadable for characters that are not part of a formula."""
    tokens: list[Token] = []
    depth = position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            if text[position:].isspace():
                break
            raise Unreadable(text[position : position + 20])
        depth += (match["mark"] or match["command"] or "") in ("(", "[", "{", "\\{")
        depth -= (match["mark"] or match["command"] or "") in (")", "]", "}", "\\}")
        number = match["number"]
        if number and "," in number and depth > 0:  # (12,102) is a pair
            number = number.partition(",")[0]
            position = match.start("number") + len(number)
            tokens.append(Token(TokenKind.NUMBER, number))
            continue
        tokens.extend(_named(match))
        position = match.end()
    return tokens


def _named(match: re.Match[str]) -> list[Token]:
    text = match[match.lastgroup or 0]
    if match.lastgroup == "number":
        return [Token(TokenKind.NUMBER, text)]
    if match.lastgroup == "mark":
        return [Token(TokenKind.MARK, "^" if text == "**" else text)]
    if match.lastgroup == "command":
        return [Token(TokenKind.COMMAND, text.removesuffix("*"))]
    if text in SPELLINGS:
        spelling = "infty" if text.startswith("inf") else text
        return [Token(TokenKind.COMMAND, f"\\{spelling}")]
    if text.lower() in _SHORT_WORDS or len(text) >= _WORD_LENGTH:
        return [Token(TokenKind.WORD, text)]
    return [Token(TokenKind.LETTER, letter) for letter in text]


def value_of(text: str) -> Fraction:
    """The number that a token spells. Raises TooLong if it has more than MAX_DIGITS characters."""
    if len(text) > MAX_DIGITS:
        raise TooLong(f"a number of {len(text)} digits")
    if GROUP in text and not re.fullmatch(rf"\d{{1,3}}(?:{GROUP}\d{{3}})+(?:\.\d+)?", text):
        text = text.replace(GROUP, ".")  # 3{,}5 with a decimal comma
    return Fraction(re.sub(rf"[{GROUP}, ]", "", text))


class Cursor:
    """A position in the tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self, ahead: int = 0) -> Token:
        place = self._at + ahead
        return self._tokens[place] if place < len(self._tokens) else Token(TokenKind.END, "")

    def next(self) -> Token:
        token = self.peek()
        self._at += 1
        return token

    def skip(self, *texts: str) -> bool:
        found = self.peek().text in texts and self.peek().kind is not TokenKind.END
        self._at += found
        return found

    def expect(self, text: str) -> None:
        if not self.skip(text):
            raise Unreadable(f"{self.peek().text!r} where {text!r} was due")
