"""The filtered stage: drop contaminated, incomplete, defective and duplicate candidates (paper, sections 2.1 and 2.2).

rows.jsonl      PoolRow, in the order of the pool
funnel.json     the steps of the pool, then decontaminated, complete, quality

Decontamination (section 2.1; s1's code): drop a question that shares `ngram_words` consecutive words with an evaluation
or with a question kept from an earlier source. Words are lower-cased and separated by white space; a shorter question
matches nothing. Sources are ordered by their first rows. Within a source only exact duplicates are dropped.

Each n-gram gets an integer id, the same for equal n-grams: as exact as comparing strings, and 59,029 questions take
seconds. Axes: T texts (the evaluations, then the rows), W words of all texts, N n-grams within a text.

Completeness: in s1, rows without a trace were errors of the teacher's API. Quality (section 2.2): the patterns of the
config match figures, several problems in one, and bad formatting (conf/filters/s1.yaml).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from s1.config.data import Pattern
from s1.data.funnel import DropReason, filter_rows, read_funnel, write_funnel
from s1.records import ROWS, PoolRow, Question, read_rows, write_rows
from s1.stages import FilteredConfig
from sweep.core.stage import Summary, Work

COMPLETE = "complete"  # the step that drops rows without a question, trace or answer
ASKED_BEFORE, EVALUATED = "asked before", "asked by an evaluation"


def filtered(work: Work[FilteredConfig]) -> Summary:
    """Write the rows that pass all filters. Raises ConfigError if none does."""
    filters, source = work.config.filters, work.one("rows")
    rows = read_rows(source / ROWS, PoolRow)
    evaluations = [
        question.prompt
        for directory in work.inputs.get("against", ())
        for question in read_rows(directory / "questions.jsonl", Question)
    ]
    reasons = contamination_reasons(rows, evaluations, filters.ngram_words)
    rows, decontaminated = filter_rows("decontaminated", rows, reasons)
    rows, complete = filter_rows(COMPLETE, rows, [incomplete_reason(row) for row in rows])
    rows, quality = filter_rows("quality", rows, quality_reasons(rows, filters.patterns))
    write_rows(work.out / ROWS, rows)
    write_funnel(work.out, [*read_funnel(source), decontaminated, complete, quality])
    return {"against": len(evaluations), **{step.name: step.kept for step in (decontaminated, complete, quality)}}


# ---------------------------------------------------------------------------------- completeness and quality


def incomplete_reason(row: PoolRow) -> DropReason:
    """The first part of an example that a row lacks, or None."""
    parts = {"question": row.question, "reasoning trace": row.thinking, "answer of the teacher": row.answer}
    missing = [name for name, text in parts.items() if not (text and text.strip())]
    return f"no {missing[0]}" if missing else None


def quality_reasons(rows: Sequence[PoolRow], patterns: Sequence[Pattern]) -> list[DropReason]:
    """Per row, the reason given by the first pattern that matches its question, or None."""
    compiled = [(re.compile(pattern.regex), pattern) for pattern in patterns]
    return [_quality_reason(row, compiled) for row in rows]


def _quality_reason(row: PoolRow, compiled: Sequence[tuple[re.Pattern[str], Pattern]]) -> DropReason:
    for regex, pattern in compiled:
        if regex.search(row.question) and not row.source.startswith(tuple(pattern.except_sources)):
            return pattern.reason
    return None


# ------------------------------------------------------------------------------------------ decontamination


def contamination_reasons(rows: Sequence[PoolRow], evaluations: Sequence[str], ngram_words: int) -> list[DropReason]:
    """Per row, why it is dropped, or None; `evaluations` are the prompts of all evaluations."""
    evaluated = {text.strip() for text in evaluations}  # includes prompts with fewer than ngram_words words
    kept_questions: set[str] = set()
    reasons: list[DropReason] = []
    for row, overlap in zip(rows, _overlaps(rows, evaluations, ngram_words), strict=True):
        question = row.question.strip()
        is_duplicate = question in kept_questions
        reason = overlap or (EVALUATED if question in evaluated else ASKED_BEFORE if is_duplicate else None)
        reasons.append(reason)
        if reason is None:
            kept_questions.add(question)
    return reasons


def _overlaps(rows: Sequence[PoolRow], evaluations: Sequence[str], ngram_words: int) -> Iterator[DropReason]:
    """Per row, which texts it shares an n-gram with, if any; evaluations take precedence over earlier sources."""
    ngrams_N, texts_N = _ngrams([*evaluations, *(row.question for row in rows)], ngram_words)
    sources = {source: number for number, source in enumerate(dict.fromkeys(row.source for row in rows), start=1)}
    source_T = np.array([0] * len(evaluations) + [sources[row.source] for row in rows], dtype=np.int64)
    of_evaluations, *by_source = _positions_by_source(source_T[texts_N], len(sources))
    evaluated, kept = (np.zeros(ngrams_N.max(initial=-1) + 1, dtype=bool) for _ in range(2))
    hits_evaluation_T, hits_earlier_T = (np.zeros(len(source_T), dtype=bool) for _ in range(2))
    evaluated[ngrams_N[of_evaluations]] = True
    hits_evaluation_T[texts_N[evaluated[ngrams_N]]] = True
    for positions in by_source:
        ngrams, texts = ngrams_N[positions], texts_N[positions]
        hits_earlier_T[texts[kept[ngrams]]] = True
        kept[ngrams[~(hits_evaluation_T[texts] | hits_earlier_T[texts])]] = True
    first_row = len(evaluations)
    for evaluation, earlier in zip(hits_evaluation_T[first_row:], hits_earlier_T[first_row:], strict=True):
        yield _overlap_reason(ngram_words, evaluation, earlier)


def _overlap_reason(ngram_words: int, evaluation: bool, earlier: bool) -> DropReason:
    if not (evaluation or earlier):
        return None
    return f"shares {ngram_words} words with an {'evaluation' if evaluation else 'earlier source'}"


def _positions_by_source(source_N: np.ndarray, sources: int) -> list[np.ndarray]:
    """The positions of the n-grams of source 0, 1, 2, ..."""
    order_N = np.argsort(source_N, kind="stable")
    return np.split(order_N, np.searchsorted(source_N[order_N], np.arange(1, sources + 1)))


def _ngrams(texts: Sequence[str], words: int) -> tuple[np.ndarray, np.ndarray]:
    """All n-grams within a text: their ids, and the index of the text that contains each."""
    vocabulary: dict[str, int] = {}
    ids_T = [
        np.array([vocabulary.setdefault(word, len(vocabulary)) for word in text.lower().split()], dtype=np.int64)
        for text in texts
    ]
    text_W = np.repeat(np.arange(len(texts)), [len(ids) for ids in ids_T])
    ngrams = _ngram_ids(np.concatenate([np.empty(0, np.int64), *ids_T]), words)
    starts, ends = text_W[: len(ngrams)], text_W[words - 1 :]
    return ngrams[starts == ends], starts[starts == ends]


def _ngram_ids(words_W: np.ndarray, words: int) -> np.ndarray:
    """An id for every n-gram, including those that span two texts.

    The ids of its first and last half identify an n-gram; the halves overlap if the number of words is odd.
    """
    if words == 1:
        return words_W
    step = words // 2
    halves = _ngram_ids(words_W, words - step)
    first, last = halves[: max(0, len(halves) - step)], halves[step:]
    return np.unique(first * (halves.max(initial=0) + 1) + last, return_inverse=True)[1]
