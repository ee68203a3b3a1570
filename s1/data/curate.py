"""The curated stage: choose training examples by difficulty, domain and trace length (paper, section 2.2).

rows.jsonl           Example, sorted by id
selection.jsonl      SelectedRow, in the same order
funnel.json          the steps of the input, then complete (unless an earlier stage did it), difficult (if there are
                     solvers), selected

A row without a domain uses its source as one. Trace length is counted with the tokenizer of the model being trained.
The same candidates and seed give the same examples in any file order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from s1.config.data import GraderKind
from s1.data import difficulty
from s1.data.filter import COMPLETE, incomplete_reason
from s1.data.funnel import FunnelStep, filter_rows, read_funnel, write_funnel
from s1.data.select import Candidate, eligible, select
from s1.evaluate.graders import grader_of
from s1.evaluate.rows import Row
from s1.models.location import tokenizer_at, tokenizer_location
from s1.records import ROWS, Example, PoolRow, Question, ScoreRow, SelectedRow, read_rows, write_rows
from s1.stages import CuratedConfig
from sweep.core.stage import Summary, Work

SELECTION = "selection.jsonl"
BATCH = 256  # traces tokenized at once, to bound memory


def curate(work: Work[CuratedConfig]) -> Summary:
    """Choose the examples. Raises ConfigError for too few candidates, or for two with the same id."""
    rows, steps = _candidates(work)
    candidates = [
        Candidate(row.id, row.source, row.domain or row.source, tokens)
        for row, tokens in zip(rows, _trace_tokens(work, rows), strict=True)
    ]
    seeds = _seeds(work.config, rows, candidates)
    drawn = set(select(candidates, work.config.selection, seeds))
    kept, selected = filter_rows("selected", rows, [None if row.id in drawn else "not drawn" for row in rows])
    by_id = {candidate.id: candidate for candidate in candidates}
    chosen = [_selected_row(row, by_id[row.id], work.config.grader) for row in kept]
    write_rows(work.out / ROWS, (Example(row.id, row.question, row.thinking or "", row.answer or "") for row in kept))
    write_rows(work.out / SELECTION, chosen)
    write_funnel(work.out, [*steps, selected])
    return {"candidates": len(rows), "seeds": len(seeds), **_summary(chosen)}


def _candidates(work: Work[CuratedConfig]) -> tuple[list[PoolRow], list[FunnelStep]]:
    """The complete rows that are hard enough, sorted by id, and the funnel steps so far."""
    source = work.one("rows")
    rows, steps = sorted(read_rows(source / ROWS, PoolRow), key=lambda row: row.id), read_funnel(source)
    if COMPLETE not in {step.name for step in steps}:
        rows, step = filter_rows(COMPLETE, rows, [incomplete_reason(row) for row in rows])
        steps.append(step)
    if work.config.solvers:
        rows, step = filter_rows("difficult", rows, _difficulty_reasons(work, rows))
        steps.append(step)
    return rows, steps


def _difficulty_reasons(work: Work[CuratedConfig], rows: Sequence[PoolRow]) -> list[str | None]:
    rows_directory, questions_directory = work.inputs["solver_rows"]
    solver_rows = read_rows(rows_directory / ROWS, Row)
    questions = read_rows(questions_directory / "questions.jsonl", Question)
    solved_by = {
        solver: difficulty.solved_by(solver_rows, questions, read_rows(directory / "scores.jsonl", ScoreRow))
        for solver, directory in zip(work.config.solvers, work.inputs["scores"], strict=True)
    }
    return difficulty.difficulty_reasons(rows, {row.id for row in solver_rows}, solved_by)


def _trace_tokens(work: Work[CuratedConfig], rows: Sequence[PoolRow]) -> Iterator[int]:
    """The length of every trace in tokens of the model being trained."""
    location = tokenizer_location(work.one("model"))
    tokenizer: Any = tokenizer_at(location)
    for start in range(0, len(rows), BATCH):
        texts = [(row.thinking or "").strip() for row in rows[start : start + BATCH]]
        yield from map(len, tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"])
        work.report(start + len(texts), len(rows), "traces")


def _seeds(config: CuratedConfig, rows: Sequence[PoolRow], candidates: Sequence[Candidate]) -> Collection[str]:
    """The ids of the seed set: rows of its sources and lengths whose answer is correct."""
    seed_set = config.selection.seed_set
    if seed_set is None:
        return ()
    return {
        row.id
        for row, candidate in zip(rows, candidates, strict=True)
        if eligible(candidate, seed_set) and _teacher_correct(row, config.grader)
    }


def _teacher_correct(row: PoolRow, grader: GraderKind) -> bool | None:
    reference = difficulty.reference(row, grader)
    return None if reference is None else grader_of(grader)(row.answer or "", reference).correct


def _selected_row(row: PoolRow, candidate: Candidate, grader: GraderKind) -> SelectedRow:
    return SelectedRow(row.id, row.source, candidate.domain, candidate.tokens, _teacher_correct(row, grader))


def _summary(chosen: Sequence[SelectedRow]) -> dict[str, int]:
    return {
        "examples": len(chosen),
        "sources": len({each.source for each in chosen}),
        "domains": len({each.domain for each in chosen}),
        "tokens": sum(each.tokens for each in chosen),
        "teacher_correct": sum(each.teacher_correct is True for each in chosen),
        "teacher_judged": sum(each.teacher_correct is not None for each in chosen),
    }
