"""The only module that uses math-verify: for a second opinion on answers, and for formulas beyond our grammar.

Its time limits use wall-clock time, so they are disabled. Instead, sizes are checked first and CPU time is limited.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

from s1.config.data import GraderKind
from s1.evaluate.grading.formula import TooLong
from s1.evaluate.grading.limits import OutOfTime, within

CPU_SECONDS = 1.5
MAX_CHARACTERS = 20_000  # per answer
MAX_FORMULA = 300  # characters per formula
_TOWER = re.compile(r"\^[^\^]{0,40}\^|\^\s*\{?\s*\d{4,}|!\s*[)}\]]*\s*!|\d{400,}|\d{4,}\s*!")
_DELIMITED = re.compile(r"(?<!\\)\$|\\\(|\\\[")


@dataclass(frozen=True)
class Opinion:
    extracted: str | None  # as math-verify prints it; None: no answer found
    correct: bool
    timed_out: bool = False
    too_long: bool = False  # not evaluated, because the text or a number in it exceeds the limits


def second_opinion(text: str, gold: str, kind: GraderKind = GraderKind.MATH) -> Opinion:
    """Extract and compare a raw answer with math-verify's default settings."""
    if len(text) > MAX_CHARACTERS or _TOWER.search(text):
        return Opinion(None, False, too_long=True)
    return _guarded(lambda: _opinion(text, gold, kind))


def same_to_math_verify(formula: str, gold: str) -> bool:
    """Whether math-verify considers two LaTeX formulas equal. Raises TooLong; the caller limits the time."""
    if max(len(formula), len(gold)) > MAX_FORMULA or _TOWER.search(formula):
        raise TooLong("a formula for math-verify")
    return _opinion(f"${formula}$", f"${gold}$", GraderKind.MATH).correct


def _guarded(ask: Callable[[], Opinion]) -> Opinion:
    try:
        return within(CPU_SECONDS, ask)
    except OutOfTime:
        return Opinion(None, False, timed_out=True)
    except RecursionError:  # math-verify does not catch this one
        return Opinion(None, False, too_long=True)


def _opinion(text: str, gold: str, kind: GraderKind) -> Opinion:
    from math_verify import StringExtractionConfig, parse, verify

    untimed = partial(parse, parsing_timeout=cast(int, None))  # None turns the limit off; the stub does not allow it
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # silences the warning that its time limits are disabled
    if kind is GraderKind.LETTER:
        letters = [StringExtractionConfig(strings=("A", "B", "C", "D"))]
        wanted, found = untimed(gold, letters), untimed(text, letters)
    else:
        reference = gold if _DELIMITED.search(gold) else f"${gold}$"
        wanted, found = untimed(reference), untimed(text)
    extracted = next((each for each in reversed(found) if isinstance(each, str)), None)
    return Opinion(extracted, bool(verify(wanted, found, timeout_seconds=None)))
