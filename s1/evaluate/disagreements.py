"""Answers that two graders judge differently: ours, and math-verify's own reading and comparison, as it comes.

grader_disagreement.csv      a line for each, see COLUMNS; empty but for its header where the two agree

Only references that math-verify can read have a second opinion: not option letters, not prose.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from s1.evaluate.graders import Opinion, second_opinion
from s1.records import Score

FILE = "grader_disagreement.csv"
COLUMNS = (
    *("question_id", "sample", "gold", "our_reading", "our_verdict"),
    *("math_verify_reading", "math_verify_verdict", "answer_tail"),
)
TAIL_CHARACTERS = 200


def disagreements(judged: Iterable[tuple[Score, str]]) -> Iterator[dict[str, object]]:
    """The rows of the file, of scores and the texts that were judged."""
    for score, text in judged:
        if not text.strip() or not _has_opinion(score.gold):
            continue
        opinion = _opinion(text, score.gold)
        if opinion.correct != score.correct:
            yield _row(score, text, opinion)


def write(path: Path, rows: Iterable[dict[str, object]]) -> int:
    """Write the file; the number of rows."""
    found = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    return len(found)


def _row(score: Score, text: str, opinion: Opinion) -> dict[str, object]:
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
def _has_opinion(gold: str) -> bool:
    """Whether math-verify takes the reference, stated plainly, for itself; a letter it takes for a variable."""
    return not (len(gold) == 1 and gold.isalpha()) and second_opinion(rf"$\boxed{{{gold}}}$", gold).correct


@cache
def _opinion(text: str, gold: str) -> Opinion:
    """The points of a scan share most of their answers."""
    return second_opinion(text, gold)
