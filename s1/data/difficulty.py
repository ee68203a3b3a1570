"""Difficulty: a question that one of the solvers gets right is too easy to learn from (paper, section 2.2).

rows.jsonl      evaluate.rows.Row: {"id": of the pool row, "problem", "answer"}

The exam asks every candidate whose reference its grader can read, as an evaluation like any other: it goes through the
stages questions, answers and scores for each solver. What they scored comes back to pool rows by the order of the exam.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from s1.config.data import GraderKind
from s1.config.schema import ConfigError
from s1.evaluate.graders import reference_of
from s1.evaluate.rows import Row
from s1.records import ROWS, PoolRow, Question, ScoreRow, read_rows, write_rows
from s1.stages import SolverRowsConfig
from sweep.core.stage import Summary, Work

NO_REFERENCE = "no reference that the grader can read"


def solver_rows(work: Work[SolverRowsConfig]) -> Summary:
    """Write what the solvers are asked. Raises ConfigError if no row can be graded."""
    rows = read_rows(work.one("rows") / ROWS, PoolRow)
    asked = solver_rows_of(rows, work.config.grader)
    if not asked:
        raise ConfigError(
            f"data.grader {work.config.grader.value}: reads the reference of none of {len(rows)} rows."
            " Choose the grader that fits the solutions, or set data.difficulty to null."
        )
    write_rows(work.out / ROWS, asked)
    return {"asked": len(asked), "without_reference": len(rows) - len(asked)}


def solver_rows_of(rows: Iterable[PoolRow], grader: GraderKind) -> list[Row]:
    """The rows that can be graded, under the same ids."""
    references = ((row, reference(row, grader)) for row in rows)
    return [Row(row.id, row.question, answer) for row, answer in references if answer is not None]


def reference(row: PoolRow, grader: GraderKind) -> str | None:
    """What a row's answer is held against; None if the grader reads none."""
    return reference_of(grader, row.solution) if row.solution else None


def solved_by(asked: Sequence[Row], questions: Sequence[Question], scores: Iterable[ScoreRow]) -> set[str]:
    """The ids of the rows that a solver got right, in any of its samples. `questions` are the exam's, in its order.

    Raises ConfigError if the questions, or the scores, are of another exam.
    """
    if [row.answer for row in asked] != [question.gold for question in questions]:
        raise ConfigError(
            f"exam of {len(asked)} rows: the {len(questions)} questions are not made of these. Ask the solvers again."
        )
    correct = {question.question_id: False for question in questions}
    seen: set[str] = set()
    for score in scores:
        if score.question_id not in correct:
            raise ConfigError(f"exam question {score.question_id}: scored, but never asked. Ask the solvers again.")
        correct[score.question_id] |= score.correct
        seen.add(score.question_id)
    if len(seen) < len(correct):
        raise ConfigError(f"exam of {len(asked)} rows: only {len(seen)} were scored. Ask the solvers again.")
    return {row.id for row, question in zip(asked, questions, strict=True) if correct[question.question_id]}


def difficulty_reasons(
    rows: Sequence[PoolRow], asked: Collection[str], solved_by: Mapping[str, Collection[str]]
) -> list[str | None]:
    """Why each row is to be dropped, or None: ids that were asked, ids solved by each solver."""
    return [_verdict(row.id, asked, solved_by) for row in rows]


def _verdict(row_id: str, asked: Collection[str], solved_by: Mapping[str, Collection[str]]) -> str | None:
    if row_id not in asked:
        return NO_REFERENCE
    solvers = [solver for solver, ids in solved_by.items() if row_id in ids]
    return f"too easy: solved by {' and '.join(solvers)}" if solvers else None
