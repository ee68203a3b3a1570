"""The curated stage: from candidates to training examples by difficulty, domain and selection (paper, section 2.2).

rows.jsonl           Example, sorted by id
selection.jsonl      Chosen, in the same order
funnel.json          the steps of the input, then complete (if nothing before saw to it), difficult (if there are
                     solvers), selected

The domain of a row is its own, or its source. A trace is as long as it has tokens for the model to be trained. The same
candidates and the same seed give the same examples, whatever the order of the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from s1.config.data import GraderKind
from s1.data import difficulty, filter
from s1.data.funnel import FunnelStep, filter_rows, read_funnel, write_funnel
from s1.data.select import Candidate, eligible, select
from s1.evaluate.graders import grader_of
from s1.evaluate.rows import Row
from s1.models.location import tokenizer_at, tokenizer_location
from s1.records import ROWS, Example, PoolRow, Question, ScoreRow, SelectedRow, read_rows, write_rows
from s1.stages import CuratedConfig
from sweep.core.stage import Summary, Work

SELECTION = "selection.jsonl"
BATCH = 256  # traces whose tokens are in memory at once


def curate(work: Work[CuratedConfig]) -> Summary:
    """Choose the examples. Raises ConfigError if there are too few candidates, or two with one id."""
    rows, steps = _candidates(work)
    candidates = [
        Candidate(row.id, row.source, row.domain or row.source, tokens)
        for row, tokens in zip(rows, _trace_tokens(work, rows), strict=True)
    ]
    seeds = _seeds(work.config, rows, candidates)
    drawn = set(select(candidates, work.config.selection, seeds))
    kept, selected = filter_rows("selected", rows, [None if row.id in drawn else "not drawn" for row in rows])
    measured = {candidate.id: candidate for candidate in candidates}
    chosen = [_chosen(row, measured[row.id], work.config.grader) for row in kept]
    write_rows(work.out / ROWS, (Example(row.id, row.question, row.thinking or "", row.answer or "") for row in kept))
    write_rows(work.out / SELECTION, chosen)
    write_funnel(work.out, [*steps, selected])
    return {"candidates": len(rows), "seeds": len(seeds), **_summary(chosen)}


def _candidates(work: Work[CuratedConfig]) -> tuple[list[PoolRow], list[FunnelStep]]:
    """The rows that can be examples and are hard enough, by id, and the steps that led to them."""
    source = work.one("rows")
    rows, steps = sorted(read_rows(source / ROWS, PoolRow), key=lambda row: row.id), read_funnel(source)
    if filter.COMPLETE not in {step.name for step in steps}:
        rows, step = filter_rows(filter.COMPLETE, rows, [filter.why_incomplete(row) for row in rows])
        steps.append(step)
    if work.config.solvers:
        rows, step = filter_rows("difficult", rows, _too_easy(work, rows))
        steps.append(step)
    return rows, steps


def _too_easy(work: Work[CuratedConfig], rows: Sequence[PoolRow]) -> list[str | None]:
    exam, asked = work.inputs["solver_rows"]
    exam_rows = read_rows(exam / ROWS, Row)
    questions = read_rows(asked / "questions.jsonl", Question)
    solved_by = {
        solver: difficulty.solved_by(exam_rows, questions, read_rows(directory / "scores.jsonl", ScoreRow))
        for solver, directory in zip(work.config.solvers, work.inputs["scores"], strict=True)
    }
    return difficulty.difficulty_reasons(rows, {row.id for row in exam_rows}, solved_by)


def _trace_tokens(work: Work[CuratedConfig], rows: Sequence[PoolRow]) -> Iterator[int]:
    """The length of every trace, as the model to be trained reads it."""
    location = tokenizer_location(work.one("model"))
    tokenizer: Any = tokenizer_at(location)
    for start in range(0, len(rows), BATCH):
        texts = [(row.thinking or "").strip() for row in rows[start : start + BATCH]]
        yield from map(len, tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"])
        work.report(start + len(texts), len(rows), "traces")


def _seeds(config: CuratedConfig, rows: Sequence[PoolRow], candidates: Sequence[Candidate]) -> Collection[str]:
    """The ids of the seed set: of its sources and lengths, with the right answer."""
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


def _chosen(row: PoolRow, measured: Candidate, grader: GraderKind) -> SelectedRow:
    return SelectedRow(row.id, row.source, measured.domain, measured.tokens, _teacher_correct(row, grader))


def _summary(chosen: Sequence[SelectedRow]) -> dict[str, int]:
    return {
        "examples": len(chosen),
        "sources": len({each.source for each in chosen}),
        "domains": len({each.domain for each in chosen}),
        "tokens": sum(each.tokens for each in chosen),
        "teacher_correct": sum(each.teacher_correct is True for each in chosen),
        "teacher_judged": sum(each.teacher_correct is not None for each in chosen),
    }
