"""Decontamination: no question may share so many consecutive words with an evaluation, or with an earlier source
(paper, section 2.1; s1's code).

A word is what white space separates, in lower case. A question of fewer words than that matches nothing. Sources come
in the order of their first rows; the questions that a source keeps are closed to all later ones. Within a source
questions may be alike, though not the same.

Every run of words gets a number, equal runs the same one: as exact as comparing strings, and light enough for 59,029
questions in seconds. Axes: T texts (the evaluations, then the rows), W words of all texts, N runs inside a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from s1.records import PoolRow

ASKED_BEFORE, EVALUATED = "asked before", "asked by an evaluation"


def verdicts(rows: Sequence[PoolRow], against: Sequence[str], ngram_words: int) -> list[str | None]:
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
