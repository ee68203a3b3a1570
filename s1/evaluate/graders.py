r"""Graders: the text of an answer in; out the answer it gives, and whether that equals the reference. No model judges.

Reading. A text states its answer in places of different authority (s1/evaluate/grading/reading.py): boxes, statements
behind a marker, the only line. The first of them that reads as the task's kind counts: an integer, mathematics or a
letter.
A text from which no answer can be read for certain gives None, never a default (s1's grader fell back to "A").

Comparing. Integers are computed exactly. Mathematics is equal as normalised text, or as formulas of our own grammar
(s1/evaluate/grading/mathematics.py); what the grammar does not know, an integral for example, is left to math-verify.

Each kind of task has a grader and the `process_results` that lm-eval calls with it. No answer raises, and none takes
longer than a few seconds of CPU time: what is too long or takes too long is wrong, and its grade has a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, TypeAlias

from s1.config.data import GraderKind
from s1.evaluate.grading.answers import Formula, formula_of, read_formula, read_integer, read_letter
from s1.evaluate.grading.formula import TooLong, Unreadable, Unsupported
from s1.evaluate.grading.limits import OutOfTime, within
from s1.evaluate.grading.mathematics import equal
from s1.evaluate.grading.notation import GROUP, plain
from s1.evaluate.grading.opinion import same_to_math_verify
from s1.evaluate.grading.phrases import Ambiguous, Denied
from s1.evaluate.grading.reading import MAX_STATEMENT, AnswerCandidate, AnswerPlace, answer_candidates
from s1.evaluate.grading.units import measured

CPU_SECONDS = 1.5  # for one comparison


class GradeNote(Enum):
    """What a grade does not show by itself."""

    TIMED_OUT = "timed_out"  # comparing took too much CPU time: counted as wrong
    TOO_LONG = "too_long"  # longer or larger than an answer can be: counted as wrong
    AMBIGUOUS = "ambiguous"  # the answer names several values, or does not commit itself: no answer


@dataclass(frozen=True)
class Grade:
    extracted: str | None  # None: no answer could be read
    correct: bool
    note: GradeNote | None = None


Grader: TypeAlias = Callable[[str, str], Grade]  # the text of an answer, the reference


@dataclass(frozen=True)
class _Reading:
    value: Any  # str, or Formula; None: no answer
    note: GradeNote | None = None


# -------------------------------------------------------------------------------------------------- graders


def grade_integer(text: str, gold: str) -> Grade:
    """Integers, for AIME and the dial: reads 023, 42.0, $x=42$, 84/2, "42 degrees"; not 1/2 or "33 or 34"."""
    reading = _read(text, read_integer)
    return Grade(reading.value, reading.value is not None and reading.value == _integer(gold), reading.note)


def grade_math(text: str, gold: str) -> Grade:
    """LaTeX answers: equal as normalised strings, or equal mathematics."""
    reading = _read(text, read_formula)
    if reading.value is None:
        return Grade(None, False, reading.note)
    formula: Formula = reading.value
    units = {measured(plain(each)).unit for each in (formula.text, gold)} - {None}
    if len(units) > 1:
        return Grade(formula.text, False)
    if _unitless(formula.text)[0] == _unitless(gold)[0] != "":
        return Grade(formula.text, True)
    try:
        return within(CPU_SECONDS, lambda: _compared(formula, gold))
    except OutOfTime:
        return Grade(formula.text, False, GradeNote.TIMED_OUT)
    except (TooLong, RecursionError, OverflowError, MemoryError):
        return Grade(formula.text, False, GradeNote.TOO_LONG)
    except (Unreadable, ArithmeticError, ValueError, TypeError, AttributeError, NotImplementedError):
        return Grade(formula.text, False)  # sympy cannot compare such things


def grade_letter(text: str, gold: str) -> Grade:
    """One option of four: B, b, (B), option B, "B) because"; an article is no letter: "a mixture" is not read."""
    reading = _read(text, read_letter)
    return Grade(reading.value, reading.value is not None and reading.value == gold.strip().upper(), reading.note)


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
    reference = grader_of(kind)(solution, "").extracted
    if reference is None:
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
        "notes": [grade.note.value if grade.note else None for grade in grades],
    }


# ---------------------------------------------------------------------------------- reading and comparing


def _read(text: str, read: Callable[[AnswerCandidate], Any]) -> _Reading:
    """The first candidate that can be read. One that names several answers ends the search: none is certain."""
    denied, note = [], None
    for candidate in answer_candidates(text):
        try:
            value = read(candidate)
        except Denied as found:
            denied.append(AnswerCandidate(found.value, AnswerPlace.BOX))
        except Ambiguous:
            return _Reading(None, GradeNote.AMBIGUOUS)
        except TooLong:
            note = GradeNote.TOO_LONG
        except Unreadable:
            continue
        else:
            if candidate.negated:
                denied.append(candidate)
            else:
                return _Reading(None, GradeNote.AMBIGUOUS) if _is_denied(value, denied, read) else _Reading(value)
    return _Reading(None, note)


def _is_denied(value: Any, denied: Sequence[AnswerCandidate], read: Callable[[AnswerCandidate], Any]) -> bool:
    """Whether the text also says that this is not the answer."""
    for candidate in denied:
        try:
            if read(candidate) == value:
                return True
        except Unreadable:
            continue
    return False


@lru_cache(maxsize=4096)
def _integer(gold: str) -> str | None:
    try:
        return read_integer(AnswerCandidate(gold, AnswerPlace.BOX))
    except Unreadable:
        return None


@lru_cache(maxsize=4096)
def _formula(gold: str) -> Formula:
    return formula_of(plain(gold))


def _compared(formula: Formula, gold: str) -> Grade:
    wanted = _formula(gold)
    if formula.answer is not None and wanted.answer is not None:
        try:
            return Grade(formula.text, equal(formula.answer, wanted.answer) or _equal_in_units(formula, wanted))
        except Unsupported:
            pass
    found, reference = (measured(plain(each)).value for each in (formula.text, gold))
    return Grade(formula.text, same_to_math_verify(found, reference))


def _equal_in_units(formula: Formula, wanted: Formula) -> bool:
    """Whether they are equal once "5 m" is read as five metres, not as a product."""
    inner = measured(plain(formula.text))
    if inner.unit is None or wanted.answer is None:
        return False
    value = formula_of(inner.value)
    return value.answer is not None and equal(value.answer, wanted.answer)


def normalised(text: str) -> str:
    """The text without what does not change a LaTeX answer: spaces, wrappers, dfrac, degree and percent signs.

    Digits that a space parts stay parted: 3 1/2 is not 31/2. A unit is spelled in one way: 5 cm is not 5 m.
    """
    value, unit = _unitless(text)
    return value if unit in (None, "degree^1") else f"{value} {unit}"


def _unitless(text: str) -> tuple[str, str | None]:
    found = measured(plain(text[: MAX_STATEMENT + 1]))
    spelled = found.value.replace("\\%", "").replace("%", "")
    spelled = re.sub(r"(?<=\d) +(?=\d)", "\n", spelled.strip().removesuffix("."))
    spelled = re.sub(rf"{GROUP}(?=\d{{3}}(?!\d))", "", spelled).replace(GROUP, ".")
    return re.sub(r"[^\S\n]+", "", spelled).replace("\n", " "), found.unit
