"""Parse a candidate answer as an integer, a formula or a letter. Raises Unreadable if it is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from s1.evaluate.grading.arithmetic import exact
from s1.evaluate.grading.formula import (
    Chain,
    Node,
    Parenthesized,
    ParsedAnswer,
    Relation,
    TooLong,
    Unreadable,
    Unsupported,
    Words,
)
from s1.evaluate.grading.letters import letter_of
from s1.evaluate.grading.notation import plain
from s1.evaluate.grading.parsing import parse
from s1.evaluate.grading.phrases import Ambiguous, first_sentence, values
from s1.evaluate.grading.reading import MAX_STATEMENT, AnswerCandidate, AnswerPlace
from s1.evaluate.grading.units import measured

Read = TypeVar("Read")

_UNSURE = re.compile(r"\d+-\d+-\d|/\s*\d+\s*\(")  # not one number: a date (1-2-3), or 6/2(3), which is 9 or 1
_RANGE = re.compile(r"(\d+)-(\d+)")
_BASE_TEN = re.compile(r"_\s*(?:\{\s*(?:10|ten)\s*\}|10\b)$")
_APART = re.compile(r"\d\s+\((?:[^A-Za-z()]|\\(?:times|cdot|div))*\)")  # 42 (6 * 7): repeats or multiplies
_BASE = re.compile(r"\b(\d+),?\s*\(?\s*(?:in\s+)?base[\s-]+(\d+|[a-z]+)\b\)?")
_ABOUT = re.compile(r"(?:^|[\s$(])~\s*\d")
_EXCLAIMED = re.compile(r"\d!+[\s*_]*$")  # a factorial or an exclamation mark
_ALIGNED = re.compile(r"\\(?:begin|end)\{(?:align|aligned|gather|gathered|equation|split)\*?\}")
_WORDY = re.compile(r"^(?!There (?:is|are) \S+ \w+\.?$).*[A-Za-z] [a-z]{2}")
_CONCLUDING = re.compile(
    r"^(?:so(?! far)|thus|hence|therefore|finally|consequently|in conclusion|in total)\b|\b(?:answer|result)\b",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^(?:[-*+]\s|\d{1,2}[.)]\s+\S)")
_NO_ANSWER = {
    *(
        "correct",
        "right",
        "wrong",
        "incorrect",
        "clear",
        "unclear",
        "unknown",
        "unique",
        "below",
        "above",
        "here",
        "not",
    ),
    *("as", "follows", "obtained", "found", "given", "determined", "it", "this", "that", "thus", "same", "simple"),
    *("obvious", "ready", "complete", "final", "known", "verified", "confirmed", "consistent", "needed", "required"),
    *("boxed", "i", "we", "you", "to", "because", "since", "when", "where", "what", "how", "let", "find", "done"),
    *("is", "are", "was", "were", "be", "been", "has", "have", "had", "do", "does", "know", "there", "therefore", "so"),
    *("question", "answer", "undetermined", "maybe", "perhaps", "possibly", "approximately", "in", "of", "from", "by"),
}
_MAX_WORDS = {AnswerPlace.BOX: 8, AnswerPlace.STATEMENT: 4, AnswerPlace.BELOW: 4, AnswerPlace.WHOLE: 1}


@dataclass(frozen=True)
class Formula:
    """A parsed mathematical answer. Without `answer`, only math-verify can compare it."""

    text: str
    answer: ParsedAnswer | None
    unit: str | None


def read_integer(candidate: AnswerCandidate) -> str:
    """Parse an integer; returns its shortest form."""
    return _first(candidate, _integer)


def read_formula(candidate: AnswerCandidate) -> Formula:
    """Parse a formula or words. Returns the candidate's original spelling if nothing had to be removed."""
    formula = _first(candidate, lambda value: formula_of(value, _MAX_WORDS[candidate.origin]))
    whole = _plain(candidate)
    if formula.answer and any(isinstance(item, Words) for item in formula.answer.items):
        behind = whole[whole.rfind(formula.text) + len(formula.text) :].strip()
        if behind and behind[0] not in ",.;:(!":  # "they meet at noon" is a sentence, not an answer
            raise Unreadable(whole)
    for text in (candidate.text, first_sentence(candidate.text)):
        shown = text.strip().removesuffix(".")
        if formula.text == re.sub(r"\s+", " ", plain(shown)):
            return Formula(shown, formula.answer, formula.unit)
    return formula


def read_letter(candidate: AnswerCandidate) -> str:
    """Parse the letter of an option; returns it in upper case."""
    return letter_of(_plain(candidate))


def formula_of(value: str, max_words: int = _MAX_WORDS[AnswerPlace.BOX]) -> Formula:
    """Parse a value in plain notation, with or without a unit."""
    unit: str | None = None
    value = _once(value)
    try:
        if "\\circ" in value and measured(value).value != value:
            raise Unreadable("degrees")
        answer = parse(value)
        if any(isinstance(item, Words) for item in answer.items):
            raise Unreadable(value)
        _check_value(answer)
        return Formula(value, answer, None)
    except Unsupported:
        return Formula(value, None, None)
    except TooLong:
        raise
    except Unreadable:
        inner = measured(value)
    try:
        answer, unit = parse(inner.value), inner.unit
    except Unsupported:
        return Formula(value, None, inner.unit)
    _check_value(answer)
    if any(isinstance(item, Words) and not _may_be_answer(item, max_words) for item in answer.items):
        raise Unreadable(value)
    return Formula(value, answer, unit)


def _check_value(answer: ParsedAnswer) -> None:
    """Raise Unreadable for a division by zero; values too large for exact numbers are still formulas."""
    with suppress(TooLong):
        for item in answer.items:
            exact(item)


def _may_be_answer(words: Words, max_words: int) -> bool:
    found = words.text.split()
    return len(found) <= max_words and not set(found) & _NO_ANSWER


def _plain(candidate: AnswerCandidate) -> str:
    if (
        len(candidate.text) > MAX_STATEMENT
        and "\n" not in candidate.text[:MAX_STATEMENT]
        and ". " not in candidate.text
    ):
        raise TooLong("a statement")
    if _ABOUT.search(candidate.text) or (candidate.origin is not AnswerPlace.BOX and _EXCLAIMED.search(candidate.text)):
        raise Ambiguous(candidate.text[:MAX_STATEMENT])
    if candidate.origin is AnswerPlace.BELOW and _BULLET.match(candidate.text):
        raise Unreadable("a list")
    text = re.sub(r"\s+", " ", plain(candidate.text))
    text = _BASE.sub(r"\1_{\2}", text)
    if _ALIGNED.search(text):
        text = re.sub(r"&|\\\\", " ", _ALIGNED.sub(" ", text))
    return re.sub(r"\s+", " ", text).strip().rstrip("\\").strip()


def _first(candidate: AnswerCandidate, read: Callable[[str], Read]) -> Read:
    """Return the first value in the statement that parses."""
    error: Unreadable = Unreadable("")
    statement = _plain(candidate)
    if candidate.origin is AnswerPlace.WHOLE and (
        (_WORDY.search(statement) and not _CONCLUDING.search(statement)) or first_sentence(statement) != statement
    ):
        raise Unreadable(statement)
    for value in values(statement):
        try:
            return read(value)
        except Ambiguous:
            raise
        except Unreadable as found:
            error = error if isinstance(error, TooLong) else found
    raise error


def _once(value: str) -> str:
    """Reduce `3/4 (0.75)` to 3/4. Raises Ambiguous for `42 (6)`, which is a remark or a product."""
    if not _APART.search(value):
        return value
    twice = re.fullmatch(r"(.*\S)\s+\(([^()]*)\)", value)
    if twice is None or exact(parse(twice[1]).items[0]) != exact(parse(twice[2]).items[0]):
        raise Ambiguous(value)
    return twice[1]


def _integer(value: str) -> str:
    inner = _BASE_TEN.sub("", measured(_once(value)).value)
    spread = _RANGE.fullmatch(inner)
    if _UNSURE.search(inner) or (spread and len(spread[1]) <= 4 and int(spread[1]) < int(spread[2])):
        raise Ambiguous(value)
    answer = _equated(inner)
    numbers = [_number(item) for item in answer.items]
    known = {number for number in numbers if number is not None}
    if len(known) != 1 or None in numbers:
        plain_numbers = len(known) > 1 and not any(isinstance(item, Chain) for item in answer.items)
        raise Ambiguous(value) if answer.alternatives or plain_numbers else Unreadable(value)
    number = known.pop()
    if number.denominator != 1:
        raise Unreadable(value)
    return str(number.numerator)


def _equated(text: str) -> ParsedAnswer:
    """Parse the formula, or the part after the last = if the rest is words: "the total = 42"."""
    try:
        return parse(text)
    except (TooLong, Unsupported):
        if "=" not in text:
            raise
    except Unreadable:
        if "=" not in text and "\\equiv" not in text:
            raise
    left, _, right = text.replace("\\equiv", "=").rpartition("=")
    if re.search(r"[,;<>]|\\(?:ne|neq|le|ge|leq|geq|approx)\b|!\s*$|\d\s*=.*[A-Za-z]{2}", left):
        raise Unreadable(text)
    return parse(measured(right.strip()).value)


def _number(node: Node) -> Fraction | None:
    """Exact value of an item. For an equation, that of its last side, or of its first if the last is not a number."""
    if isinstance(node, Parenthesized) and len(node.items) == 1:
        return _number(node.items[0])
    if not isinstance(node, Chain):
        return exact(node)
    if set(node.relations) != {Relation.EQUAL}:
        return None
    last = exact(node.sides[-1])
    return last if last is not None else exact(node.sides[0])
