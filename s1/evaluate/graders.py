r"""Graders: extract the final answer from a text and compare it with the reference. No model is involved.

Extraction. A text can state its answer in several places (s1/evaluate/grading/reading.py): boxes, statements after a
marker, its only line. The first place that parses as the task's kind counts: an integer, mathematics or a letter.
A text without an unambiguous answer gives None, never a default (s1's grader fell back to "A").

Comparison. Integers are compared exactly. Mathematics is equal as normalized text or as formulas of our own grammar
(s1/evaluate/grading/mathematics.py); math-verify compares what the grammar does not cover, such as integrals.

Each kind of task has a grader and a `process_results` function for lm-eval. No answer raises an error or takes more
than a few seconds of CPU time: an answer that is too long or takes too long counts as wrong, and its grade has a note.
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
    """Why an answer was not read or not compared."""

    TIMED_OUT = "timed_out"  # the comparison took too much CPU time; counted as wrong
    TOO_LONG = "too_long"  # longer or larger than the limits for answers; counted as wrong
    AMBIGUOUS = "ambiguous"  # the text names several values or hedges; counted as no answer


@dataclass(frozen=True)
class Grade:
    extracted: str | None  # None: no answer could be read
    correct: bool
    note: GradeNote | None = None


Grader: TypeAlias = Callable[[str, str], Grade]  # (text of an answer, reference) -> grade


@dataclass(frozen=True)
class _Extraction:
    value: Any  # str or Formula; None: no answer
    note: GradeNote | None = None


# -------------------------------------------------------------------------------------------------- graders


def grade_integer(text: str, gold: str) -> Grade:
    """Grade integers, for AIME and the dial: accepts 023, 42.0, $x=42$, 84/2, "42 degrees"; not 1/2 or "33 or 34"."""
    extraction = _extract(text, read_integer)
    return Grade(extraction.value, extraction.value is not None and extraction.value == _integer(gold), extraction.note)


def grade_math(text: str, gold: str) -> Grade:
    """Grade LaTeX answers: right if equal as normalized strings or as mathematics."""
    extraction = _extract(text, read_formula)
    if extraction.value is None:
        return Grade(None, False, extraction.note)
    formula: Formula = extraction.value
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
        return Grade(formula.text, False)  # sympy cannot compare these


def grade_letter(text: str, gold: str) -> Grade:
    """Grade one option of four: accepts B, b, (B), option B, "B) because"; not the article in "a mixture"."""
    extraction = _extract(text, read_letter)
    is_correct = extraction.value is not None and extraction.value == gold.strip().upper()
    return Grade(extraction.value, is_correct, extraction.note)


def grader_of(kind: GraderKind) -> Grader:
    """The grader for a kind of answer."""
    return {
        GraderKind.INTEGER: grade_integer,
        GraderKind.MATH: grade_math,
        GraderKind.LETTER: grade_letter,
    }[kind]


def reference_of(kind: GraderKind, solution: str) -> str | None:
    """Extract the reference answer from a worked solution.

    Returns None if the grader extracts nothing, or does not accept the extracted reference itself. Prose gives None,
    because no other wording would equal it and every such question would count as hard.
    """
    reference = grader_of(kind)(solution, "").extracted
    if reference is None:
        return None
    return reference if grader_of(kind)(rf"\boxed{{{reference}}}", reference).correct else None


# ------------------------------------------------------------------------------- functions for the task files


def integer_results(doc: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, Any]:
    """`process_results` for the dial and AIME."""
    return _results(grade_integer, doc, results)


def math_results(doc: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, Any]:
    """`process_results` for MATH-500."""
    return _results(grade_math, doc, results)


def letter_results(doc: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, Any]:
    """`process_results` for GPQA."""
    return _results(grade_letter, doc, results)


def every_sample(responses: Iterable[list[str]], docs: object) -> list[list[str]]:
    """lm-eval filter that keeps all samples of a question; the default filter keeps only the first."""
    return list(responses)


def share(values_QS: Sequence[Sequence[object]]) -> float:
    """Share of samples whose value is neither None nor False."""
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


# -------------------------------------------------------------------------------- extraction and comparison


def _extract(text: str, read: Callable[[AnswerCandidate], Any]) -> _Extraction:
    """Read the first candidate that parses. One with several answers ends the search, because the text is ambiguous."""
    denied, note = [], None
    for candidate in answer_candidates(text):
        try:
            value = read(candidate)
        except Denied as found:
            denied.append(AnswerCandidate(found.value, AnswerPlace.BOX))
        except Ambiguous:
            return _Extraction(None, GradeNote.AMBIGUOUS)
        except TooLong:
            note = GradeNote.TOO_LONG
        except Unreadable:
            continue
        else:
            if candidate.negated:
                denied.append(candidate)
            else:
                return _Extraction(None, GradeNote.AMBIGUOUS) if _is_denied(value, denied, read) else _Extraction(value)
    return _Extraction(None, note)


def _is_denied(value: Any, denied: Sequence[AnswerCandidate], read: Callable[[AnswerCandidate], Any]) -> bool:
    """Whether the text also says that this value is not the answer."""
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
    """Whether they are equal if "5 m" means five meters instead of a product."""
    inner = measured(plain(formula.text))
    if inner.unit is None or wanted.answer is None:
        return False
    value = formula_of(inner.value)
    return value.answer is not None and equal(value.answer, wanted.answer)


def normalised(text: str) -> str:
    """Remove what does not change a LaTeX answer: spaces, wrappers, dfrac, degree and percent signs.

    Digits separated by a space stay separate: 3 1/2 is not 31/2. Units get one spelling: 5 cm is not 5 m.
    """
    value, unit = _unitless(text)
    return value if unit in (None, "degree^1") else f"{value} {unit}"


def stated(text: str) -> str | None:
    """The answer that a text states, normalized, for votes without a reference; None if none can be read."""
    integer = _extract(text, read_integer).value
    if integer is not None:
        return integer
    formula = _extract(text, read_formula).value
    return None if formula is None else normalised(formula.text)


def _unitless(text: str) -> tuple[str, str | None]:
    found = measured(plain(text[: MAX_STATEMENT + 1]))
    spelled = found.value.replace("\\%", "").replace("%", "")
    spelled = re.sub(r"(?<=\d) +(?=\d)", "\n", spelled.strip().removesuffix("."))
    spelled = re.sub(rf"{GROUP}(?=\d{{3}}(?!\d))", "", spelled).replace(GROUP, ".")
    return re.sub(r"[^\S\n]+", "", spelled).replace("\n", " "), found.unit
