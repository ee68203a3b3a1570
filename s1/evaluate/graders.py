r"""Graders: the text of an answer in; out the answer it gives, and whether that equals the reference. No model judges.

What counts as the answer, first match wins:
    1. the content of the last complete \boxed{...} or \fbox{...}
    2. what follows the last "Answer:" or "answer is", to the end of the line or sentence
    3. the text itself: of an integer if it names exactly one, of a letter if it is one line, of an expression if that
       line is no prose
A text from which no answer can be read gives None, never a default (s1's grader fell back to "A").

Each kind of task has a grader and the `process_results` that lm-eval calls with it. Expressions are compared by
math-verify, whose timeouts are signals: grade them in the main thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from s1.recipe import GraderKind


@dataclass(frozen=True)
class Grade:
    extracted: str | None  # None: no answer could be read
    correct: bool


Grader: TypeAlias = Callable[[str, str], Grade]  # the text of an answer, the reference

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)|\\boxed\s+(?P<bare>[^\s{$]+)")
_MARKER = re.compile(r"\banswer\b[*_]*\s*(?:is\b\s*:?|:)[*_]*", re.IGNORECASE)
_WRAPPER = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathsf|mbox|boxed|fbox)\s*\{([^{}]*)\}")
_SPACING = re.compile(r"\\[!,;: ]|\\left(?![a-zA-Z])|\\right(?![a-zA-Z])|\\quad|~")
_DEGREE = re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree|\u00b0")
_PERCENT = re.compile(r"\\?%")
_INTEGER = re.compile(r"(?<![\w.,^/])([+-]?)(\d{1,3}(?:,\d{3})+|\d+)(?:\.0+)?(?!\w|[.,^/]\w)")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_PROSE = re.compile(r"[A-Za-z]{2,}\s+[A-Za-z]{2,}")
_LETTER = re.compile(
    r"(?:(?:option|choice)\s+)?\(?\s*([A-D])\s*(?:[).:,](?:\s.*)?|\s(?:because|since)\b.*)?", re.IGNORECASE
)


# -------------------------------------------------------------------------------------------------- graders


def grade_integer(text: str, gold: str) -> Grade:
    """Integers, for AIME and the dial: reads 023, 42.0, $x=42$, "42 degrees"; does not read 1/2 or "33 or 34"."""
    extracted = _read_integer(text)
    return Grade(extracted, extracted is not None and extracted == _integer(gold))


def grade_math(text: str, gold: str) -> Grade:
    """LaTeX answers: equal as normalised strings, or equal mathematics by math-verify."""
    extracted = _read_formula(text)
    if extracted is None:
        return Grade(None, False)
    return Grade(extracted, normalised(extracted) == normalised(gold) or _equal_mathematics(extracted, gold))


def grade_letter(text: str, gold: str) -> Grade:
    """One option of four: B, b, (B), option B, "B) because"; an article is no letter: "a mixture" is not read."""
    extracted = _read_letter(text)
    return Grade(extracted, extracted == gold)


def grader_of(kind: GraderKind) -> Grader:
    """The grader of that kind."""
    return {
        GraderKind.INTEGER: grade_integer,
        GraderKind.MATH: grade_math,
        GraderKind.LETTER: grade_letter,
    }[kind]


def reference_of(kind: GraderKind, solution: str) -> str | None:
    """The answer of a whole solution, as a reference for its grader; None if it reads none, or not the same again.

    Prose is none: no other wording would equal it, and every question that has it would count as hard.
    """
    read = {GraderKind.INTEGER: _read_integer, GraderKind.MATH: _read_formula, GraderKind.LETTER: _read_letter}[kind]
    reference = read(solution)
    if reference is None or _is_prose(reference):
        return None
    return reference if grader_of(kind)(rf"\boxed{{{reference}}}", reference).correct else None


# ---------------------------------------------------------------------------------- what the task files name


def integer_results(doc: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, Any]:
    """`process_results` of dial and AIME."""
    return _results(grade_integer, doc, results)


def math_results(doc: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, Any]:
    """`process_results` of MATH-500."""
    return _results(grade_math, doc, results)


def letter_results(doc: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, Any]:
    """`process_results` of GPQA."""
    return _results(grade_letter, doc, results)


def every_sample(responses: Iterable[list[str]], docs: object) -> list[list[str]]:
    """The filter that keeps all samples of a question; lm-eval's default drops all but the first."""
    return list(responses)


def share(values_QS: Sequence[Sequence[object]]) -> float:
    """The share of samples whose value is neither None nor False."""
    values = [value is not None and value is not False for values_S in values_QS for value in values_S]
    return sum(values) / len(values)


def _results(grader: Grader, doc: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, Any]:
    grades = [grader(text, doc["answer"]) for text in results[0]]
    return {
        "exact_match": sum(grade.correct for grade in grades) / len(grades),
        "correct": [grade.correct for grade in grades],
        "extracted": [grade.extracted for grade in grades],
    }


# ----------------------------------------------------------------------------------------- reading an answer


def _read_integer(text: str) -> str | None:
    return _integer(_stated(text) or text)


def _read_formula(text: str) -> str | None:
    return _stated(text) or _only_formula(text)


def _read_letter(text: str) -> str | None:
    stated = _stated(text) or _only_line(text)
    letter = _LETTER.fullmatch(_unwrapped(stated)) if stated else None
    return letter.group(1).upper() if letter else None


def _stated(text: str) -> str | None:
    """The answer that the text marks as such: boxed, or after "Answer:"."""
    return _boxed(text) or _marked(text)


def _boxed(text: str) -> str | None:
    """The last box that is complete and not empty; a later unclosed one does not void it."""
    for match in reversed(list(_BOX.finditer(text))):
        content = match["bare"] or _braced(text, match.end())
        if content and content.strip():
            return content.strip()
    return None


def _braced(text: str, start: int) -> str | None:
    """What stands between the brace at `start` and its partner; escaped braces do not count."""
    depth = 0
    for match in re.finditer(r"\\.|[{}]", text[start:], re.DOTALL):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0 and match.group() == "}":
            return text[start + 1 : start + match.start()]
    return None


def _marked(text: str) -> str | None:
    markers = list(_MARKER.finditer(text))
    if not markers:
        return None
    tail = text[markers[-1].end() :].strip()
    return re.split(r"\n|\.\s", tail)[0].strip().removesuffix(".") or None


def _only_line(text: str) -> str | None:
    lines = text.strip().splitlines()
    return lines[0].strip() if len(lines) == 1 else None


def _only_formula(text: str) -> str | None:
    line = _only_line(text)
    return line if line and not _is_prose(line) else None


def _is_prose(text: str) -> bool:
    return _PROSE.search(_WRAPPER.sub("", text)) is not None


def _integer(text: str) -> str | None:
    """The one integer that the text names, in its shortest form; None if it names none, several, or other numbers."""
    plain = _PERCENT.sub("", _unwrapped(text).replace("{,}", ",")).rpartition("=")[2]
    if "\\" in plain or not (matches := list(_INTEGER.finditer(plain))):
        return None
    values = {int(match[1] + match[2].replace(",", "")) for match in matches}
    if len(values) > 1 or len(matches) != len(_NUMBER.findall(plain)):
        return None
    return str(values.pop())


# ---------------------------------------------------------------------------------------- comparing answers


def normalised(text: str) -> str:
    """The text without what does not change a LaTeX answer: spaces, wrappers, dfrac, degree and percent signs."""
    plain = re.sub(r"\\[dt]frac", r"\\frac", _PERCENT.sub("", _unwrapped(text))).replace(r"\$", "")
    return re.sub(r"\s+", "", plain)


def _unwrapped(text: str) -> str:
    """The text without math delimiters, emphasis, \\text{}, spacing commands and a final stop."""
    plain = _DEGREE.sub("", _SPACING.sub("", text))
    while plain != (inner := _WRAPPER.sub(r"\1", plain)):
        plain = inner
    plain = re.sub(r"(?<!\\)\$|\\[()\[\]]|\*\*", "", plain)
    return plain.strip().removesuffix(".").strip()


def _equal_mathematics(extracted: str, gold: str) -> bool:
    from math_verify import parse, verify

    return verify(parse(_as_math(gold)), parse(_as_math(extracted)))


def _as_math(text: str) -> str:
    """math-verify reads LaTeX only between delimiters; a percent sign would turn 33 % into 0.33."""
    plain = _PERCENT.sub("", text)
    has_delimiters = re.search(r"(?<!\\)\$|\\\(|\\\[", plain)
    return plain if has_delimiters else f"${plain}$"


# --------------------------------------------------------------------------------- cut answers, second opinions


@dataclass(frozen=True)
class Opinion:
    """What math-verify reads of a whole answer by itself, and whether it takes that for the reference."""

    extracted: str | None
    correct: bool


def complete_statements(text: str) -> str:
    """A cut text as far as it is complete: without its last line, unless that ends in a full stop or a closed box."""
    complete = text.rstrip()
    if re.search(r"(?:[.!?]|\\(?:boxed|fbox)\s*\{[^{}]*\}\$?)$", complete):
        return complete
    return complete.rpartition("\n")[0]


def second_opinion(text: str, gold: str, kind: GraderKind = GraderKind.MATH) -> Opinion:
    """math-verify's own extraction and comparison of a raw answer, in its default settings."""
    from math_verify import StringExtractionConfig, parse, verify

    if kind is GraderKind.LETTER:
        letters = [StringExtractionConfig(strings=("A", "B", "C", "D"))]
        wanted, found = parse(gold, letters), parse(text, letters)
    else:
        wanted, found = parse(_as_math(gold)), parse(text)
    return Opinion(str(found[-1]) if found else None, bool(verify(wanted, found)))
