"""Answers on which our grader and math-verify in its default settings disagree.

grader_disagreement.csv      one line for each disagreement, see COLUMNS; only the header if there is none

Only tasks with one of our graders get this second opinion: the answers of other tasks may not be mathematics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from s1.config.data import GraderKind
from s1.evaluate.grading.opinion import Opinion, second_opinion
from s1.files.csv_files import csv_text
from s1.records import ScoreRow

DISAGREEMENTS = "grader_disagreement.csv"
COLUMNS = (
    *("question_id", "sample", "gold", "our_reading", "our_verdict"),
    *("math_verify_reading", "math_verify_verdict", "answer_tail"),
)
TAIL_CHARACTERS = 200


def answer_disagreements(kind: GraderKind, judged: Iterable[tuple[ScoreRow, str]]) -> Iterator[dict[str, object]]:
    """Yield the rows of the file from pairs of score and graded text."""
    for score, text in judged:
        opinion = _opinion(text, score.gold, kind)
        if opinion.correct != score.correct:
            yield _row(score, text, opinion)


def write(path: Path, rows: Iterable[dict[str, object]]) -> int:
    """Write the file and return the number of rows."""
    found = list(rows)
    text = csv_text(COLUMNS, [[row[name] for name in COLUMNS] for row in found])
    path.write_text(text, encoding="utf-8", newline="")
    return len(found)


def _row(score: ScoreRow, text: str, opinion: Opinion) -> dict[str, object]:
    verdicts = {False: "wrong", True: "right"}
    return {
        "question_id": score.question_id,
        "sample": score.sample,
        "gold": score.gold,
        "our_reading": score.extracted,
        "our_verdict": verdicts[score.correct],
        "math_verify_reading": opinion.extracted,
        "math_verify_verdict": verdicts[opinion.correct],
        "answer_tail": text.rstrip()[-TAIL_CHARACTERS:],
    }


@cache
def _opinion(text: str, gold: str, kind: GraderKind) -> Opinion:
    # Cached because the points of a scan share most of their answers.
    return second_opinion(text, gold, kind)
