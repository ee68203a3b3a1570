"""The difficulty filter: drop a question that one of the solvers answers correctly (paper, section 2.2).

rows.jsonl      evaluate.rows.Row: {"id": of the pool row, "problem", "answer"}

The solver_rows stage writes every candidate whose reference answer the grader can read. An ordinary evaluation of these
rows (stages questions, traces and scores) follows for each solver. Row order maps the scores back to pool rows.
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
    """Write the rows for the solvers. Raises ConfigError if no row can be graded."""
    rows = read_rows(work.one("rows") / ROWS, PoolRow)
    gradable = solver_rows_of(rows, work.config.grader)
    if not gradable:
        raise ConfigError(
            f"data.grader {work.config.grader.value}: it cannot read the reference of any of {len(rows)} rows."
            " Choose the grader that fits the solutions, or set data.difficulty to null."
        )
    write_rows(work.out / ROWS, gradable)
    return {"asked": len(gradable), "without_reference": len(rows) - len(gradable)}


def solver_rows_of(rows: Iterable[PoolRow], grader: GraderKind) -> list[Row]:
    """The rows that can be graded, with the same ids."""
    references = ((row, reference(row, grader)) for row in rows)
    return [Row(row.id, row.question, answer) for row, answer in references if answer is not None]


def reference(row: PoolRow, grader: GraderKind) -> str | None:
    """The reference answer of a row; None if the grader cannot read one."""
    return reference_of(grader, row.solution) if row.solution else None


def solved_by(rows: Sequence[Row], questions: Sequence[Question], scores: Iterable[ScoreRow]) -> set[str]:
    """The ids of the solver rows with a correct sample. `questions` are those of `rows`, in the same order.

    Raises ConfigError if the questions or the scores do not belong to these rows.
    """
    if [row.answer for row in rows] != [question.gold for question in questions]:
        raise ConfigError(
            f"solver_rows of {len(rows)} rows: the {len(questions)} questions were not made from them."
            " Run with redo=questions."
        )
    correct = {question.question_id: False for question in questions}
    seen: set[str] = set()
    for score in scores:
        if score.question_id not in correct:
            raise ConfigError(
                f"solver_rows question {score.question_id}: it has a score but is not among the questions."
                " Run with redo=scores."
            )
        correct[score.question_id] |= score.correct
        seen.add(score.question_id)
    if len(seen) < len(correct):
        raise ConfigError(f"solver_rows: {len(seen)} of {len(rows)} have scores. Score the solvers again: redo=scores.")
    return {row.id for row, question in zip(rows, questions, strict=True) if correct[question.question_id]}


def difficulty_reasons(
    rows: Sequence[PoolRow], gradable: Collection[str], solved_by: Mapping[str, Collection[str]]
) -> list[str | None]:
    """Per row, why it is dropped, or None; from the ids of gradable rows and the ids that each solver solved."""
    return [_drop_reason(row.id, gradable, solved_by) for row in rows]


def _drop_reason(row_id: str, gradable: Collection[str], solved_by: Mapping[str, Collection[str]]) -> str | None:
    if row_id not in gradable:
        return NO_REFERENCE
    solvers = [solver for solver, ids in solved_by.items() if row_id in ids]
    return f"too easy: solved by {' and '.join(solvers)}" if solvers else None
