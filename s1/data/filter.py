"""Quality: rows that cannot be an example, and questions that match a pattern of the config (paper, section 2.2).

Rows without a trace were errors of the teacher's API in s1; the patterns are its marks of figures, of several problems
in one, and of bad formatting (conf/filters/s1.yaml).

Decontamination: no question may share so many consecutive words with an evaluation, or with an earlier source
(paper, section 2.1; s1's code).

A word is what white space separates, in lower case. A question of fewer words than that matches nothing. Sources come
in the order of their first rows; the questions that a source keeps are closed to all later ones. Within a source
questions may be alike, though not the same.

Every run of words gets a number, equal runs the same one: as exact as comparing strings, and light enough for 59,029
questions in seconds. Axes: T texts (the evaluations, then the rows), W words of all texts, N runs inside a text.

The clean stage: candidates without contamination, defects and doubles (paper, sections 2.1 and 2.2).

rows.jsonl      PoolRow, in the order of the pool
funnel.json     the steps of the pool, then decontaminated, complete, quality
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from s1.config.data import Pattern
from s1.data import filter
from s1.data.funnel import filter_rows, read_funnel, write_funnel
from s1.records import ROWS, PoolRow, Question, read_rows, write_rows
from s1.stages import FilteredConfig
from sweep.core.stage import Summary, Work

COMPLETE = "complete"  # the step that drops what cannot be an example


def why_incomplete(row: PoolRow) -> str | None:
    """What a row lacks to be an example, or None."""
    parts = {"question": row.question, "reasoning trace": row.thinking, "answer of the teacher": row.answer}
    missing = [name for name, text in parts.items() if not (text and text.strip())]
    return f"no {missing[0]}" if missing else None


def quality_reasons(rows: Sequence[PoolRow], patterns: Sequence[Pattern]) -> list[str | None]:
    """The reason of the first pattern that matches each row's question, or None."""
    compiled = [(re.compile(pattern.regex), pattern) for pattern in patterns]
    return [_verdict(row, compiled) for row in rows]


def _verdict(row: PoolRow, compiled: Sequence[tuple[re.Pattern[str], Pattern]]) -> str | None:
    for regex, pattern in compiled:
        if regex.search(row.question) and not row.source.startswith(tuple(pattern.except_sources)):
            return pattern.reason
    return None


ASKED_BEFORE, EVALUATED = "asked before", "asked by an evaluation"


def contamination_reasons(rows: Sequence[PoolRow], against: Sequence[str], ngram_words: int) -> list[str | None]:
    """Why each row is to be dropped, or None; `against` are the prompts of all evaluations."""
    evaluated = {text.strip() for text in against}  # also those too short to share a run of words
    asked: set[str] = set()
    judged: list[str | None] = []
    for row, overlap in zip(rows, _overlaps(rows, against, ngram_words), strict=True):
        question = row.question.strip()
        reason = overlap or (EVALUATED if question in evaluated else ASKED_BEFORE if question in asked else None)
        judged.append(reason)
        if reason is None:
            asked.add(question)
    return judged


def _overlaps(rows: Sequence[PoolRow], against: Sequence[str], ngram_words: int) -> Iterator[str | None]:
    """What each row shares a run of words with, the evaluations first."""
    runs_N, texts_N = _runs([*against, *(row.question for row in rows)], ngram_words)
    sources = {source: number for number, source in enumerate(dict.fromkeys(row.source for row in rows), start=1)}
    source_T = np.array([0] * len(against) + [sources[row.source] for row in rows], dtype=np.int64)
    evaluations, *parts = _by_source(source_T[texts_N], len(sources))
    asked, taken = (np.zeros(runs_N.max(initial=-1) + 1, dtype=bool) for _ in range(2))
    of_evaluation_T, of_earlier_T = (np.zeros(len(source_T), dtype=bool) for _ in range(2))
    asked[runs_N[evaluations]] = True
    of_evaluation_T[texts_N[asked[runs_N]]] = True
    for part in parts:
        runs, texts = runs_N[part], texts_N[part]
        of_earlier_T[texts[taken[runs]]] = True
        taken[runs[~(of_evaluation_T[texts] | of_earlier_T[texts])]] = True
    for evaluation, earlier in zip(of_evaluation_T[len(against) :], of_earlier_T[len(against) :], strict=True):
        yield _reason(ngram_words, evaluation, earlier)


def _reason(ngram_words: int, evaluation: bool, earlier: bool) -> str | None:
    if not (evaluation or earlier):
        return None
    return f"shares {ngram_words} words with an {'evaluation' if evaluation else 'earlier source'}"


def _by_source(source_N: np.ndarray, sources: int) -> list[np.ndarray]:
    """The places of the runs of source 0, 1, 2, ..."""
    order_N = np.argsort(source_N, kind="stable")
    return np.split(order_N, np.searchsorted(source_N[order_N], np.arange(1, sources + 1)))


def _runs(texts: Sequence[str], words: int) -> tuple[np.ndarray, np.ndarray]:
    """All runs of so many words inside a text: their numbers, and the text each stands in."""
    vocabulary: dict[str, int] = {}
    numbers_T = [
        np.array([vocabulary.setdefault(word, len(vocabulary)) for word in text.lower().split()], dtype=np.int64)
        for text in texts
    ]
    text_W = np.repeat(np.arange(len(texts)), [len(numbers) for numbers in numbers_T])
    runs = _numbered(np.concatenate([np.empty(0, np.int64), *numbers_T]), words)
    starts, ends = text_W[: len(runs)], text_W[words - 1 :]
    return runs[starts == ends], starts[starts == ends]


def _numbered(words_W: np.ndarray, words: int) -> np.ndarray:
    """A number for every run of words, also across texts: a run is known by its first half and its last, which overlap
    where the number of words is odd."""
    if words == 1:
        return words_W
    step = words // 2
    halves = _numbered(words_W, words - step)
    first, last = halves[: max(0, len(halves) - step)], halves[step:]
    return np.unique(first * (halves.max(initial=0) + 1) + last, return_inverse=True)[1]


def filtered(work: Work[FilteredConfig]) -> Summary:
    """Write the rows that pass. Raises ConfigError if none does."""
    filters, source = work.config.filters, work.one("rows")
    rows = read_rows(source / ROWS, PoolRow)
    against = [
        question.prompt
        for directory in work.inputs.get("against", ())
        for question in read_rows(directory / "questions.jsonl", Question)
    ]
    apart = filter.contamination_reasons(rows, against, filters.ngram_words)
    rows, decontaminated = filter_rows("decontaminated", rows, apart)
    rows, complete = filter_rows(filter.COMPLETE, rows, [filter.why_incomplete(row) for row in rows])
    rows, good = filter_rows("quality", rows, filter.quality_reasons(rows, filters.patterns))
    write_rows(work.out / ROWS, rows)
    write_funnel(work.out, [*read_funnel(source), decontaminated, complete, good])
    return {"against": len(against), **{step.name: step.kept for step in (decontaminated, complete, good)}}
