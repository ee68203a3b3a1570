"""Write a trace archive question by question, so that memory does not grow with questions times points times length.

Texts of questions in a row share a file of about CHUNK_CHARACTERS, unless one question alone has more.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from s1.report.trace_archive.files import FORMAT, INDEX, MISSING, ORIGINS, state_of, write_file
from s1.report.trace_archive.rows import ArchivedQuestion, ArchivedTrace, ArchivePoint, ArchiveSource
from s1.report.trace_archive.texts import Ref, TextStore, shared_length

CHUNK_CHARACTERS = 256 * 1024
LATEX = re.compile(r"\$|\\[(\[]|\\boxed")  # how formulas begin
PROBE = 64  # characters by which the graded text is searched in the answer


class ArchiveWriter:
    """Writes index.js and the files of texts into an existing, empty folder; call `close` at the end."""

    def __init__(self, folder: Path, points: Sequence[ArchivePoint]) -> None:
        self._folder, self._points = folder, points
        self.sources: list[ArchiveSource] = list(dict.fromkeys(source for point in points for source in point.sources))
        samples = {source: point.samples for point in points for source in point.sources}
        self._cells = [_Cells(samples[source]) for source in self.sources]
        self._answers: dict[str, int] = {}
        self._tasks: dict[str, int] = {}
        self._questions: list[list[Any]] = []
        self._files: list[str] = []
        self._waiting: list[dict[str, Any]] = []
        self._characters = 0
        self._has_latex = False

    def add(self, question: ArchivedQuestion, traces: Mapping[int, Sequence[ArchivedTrace]]) -> None:
        """Add the next question with its traces, one per sample, by place in `sources`. Raises ValueError for a row
        that is not the next one."""
        if question.row != len(self._questions):
            raise ValueError(f"row {question.row}: the next one is {len(self._questions)}. Add rows in order.")
        for place, cells in enumerate(self._cells):
            cells.add(traces.get(place, ()), self._answers)
        texts = TextStore()
        row = {
            "row": question.row,
            "text": texts.add(question.text),
            "traces": _traces(traces, texts),
            "nodes": texts.nodes,
        }
        self._has_latex = self._has_latex or any(LATEX.search(rest) for _, _, rest in texts.nodes)
        characters = sum(len(rest) for _, _, rest in texts.nodes)
        if self._waiting and self._characters + characters > CHUNK_CHARACTERS:
            self._flush()
        task = self._tasks.setdefault(question.task, len(self._tasks))
        self._questions.append([question.question_id, task, question.gold, len(self._files)])
        self._waiting.append(row)
        self._characters += characters

    def close(self) -> None:
        self._flush()
        points = [
            {
                **{name: value for name, value in asdict(point).items() if name not in ("id", "sources")},
                "sources": [self.sources.index(source) for source in point.sources],
            }
            for point in self._points
        ]
        cells = [each.packed for each in self._cells]
        index = {
            "format": FORMAT,
            "points": points,
            "sources": [
                {**asdict(source), "samples": each.samples}
                for source, each in zip(self.sources, self._cells, strict=True)
            ],
            "tasks": list(self._tasks),
            "questions": self._questions,
            "files": self._files,
            "answers": list(self._answers),
            "latex": self._has_latex,
            "cells": cells,
        }
        write_file(self._folder, INDEX, index)

    def _flush(self) -> None:
        if self._waiting:
            self._files.append(f"{len(self._files):04}")
            write_file(self._folder, self._files[-1], {"rows": self._waiting})
        self._waiting, self._characters = [], 0


class _Cells:
    """The cells of one source, row by row."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self._states: list[str] = []
        self._tokens, self._places = array("q"), array("q")

    def add(self, traces: Sequence[ArchivedTrace], answers: dict[str, int]) -> None:
        if len(traces) not in (0, self.samples):
            raise ValueError(f"samples {len(traces)}: the point has {self.samples}. Give a trace for each.")
        cells = [trace.cell for trace in traces]
        self._states.append("".join(map(state_of, cells)) or MISSING * self.samples)
        self._tokens.extend(cell.thinking_tokens for cell in cells)
        self._places.extend(
            -1 if cell.extracted is None else answers.setdefault(cell.extracted, len(answers)) for cell in cells
        )
        if not cells:
            self._tokens.extend([0] * self.samples)
            self._places.extend([-1] * self.samples)

    @property
    def packed(self) -> dict[str, Any]:
        return {"states": "".join(self._states), "tokens": list(self._tokens), "answers": list(self._places)}


def _traces(traces: Mapping[int, Sequence[ArchivedTrace]], texts: TextStore) -> dict[str, list[dict[str, Any]]]:
    """All traces of a question. The longest come first, so that shorter ones are their prefixes."""
    thinking = {
        (place, sample): "".join(piece.text for piece in trace.thinking)
        for place, samples in traces.items()
        for sample, trace in enumerate(samples)
    }
    for text in sorted(thinking.values(), key=len, reverse=True):
        texts.add(text)
    return {
        str(place): [_trace(trace, texts.add(thinking[place, sample]), texts) for sample, trace in enumerate(samples)]
        for place, samples in traces.items()
    }


def _trace(trace: ArchivedTrace, thinking: Ref, texts: TextStore) -> dict[str, Any]:
    return {
        "question": texts.add(trace.question),
        "prompt": None if trace.prompt is None else texts.add(trace.prompt),
        "thinking": thinking,
        "pieces": [(len(piece.text), ORIGINS.index(piece.origin)) for piece in trace.thinking],
        "answer": texts.add(trace.answer),
        "graded": _graded(trace, texts),
        "extracted": trace.extracted,
        "note": trace.note,
        "tokens": (trace.thinking_tokens, trace.answer_tokens),
        "waits": trace.waits,
        "branches": trace.branches,
        "state": state_of(trace.cell),
        "answer_end": trace.answer_end.value,
    }


def _graded(trace: ArchivedTrace, texts: TextStore) -> list[Any] | Ref:
    """The graded text as a part of what was written, if most of it is one."""
    written, graded = written_end(trace), trace.graded
    start = written.find(graded[:PROBE])
    if start < 0:
        return texts.add(graded)
    length = shared_length(written[start:], graded)
    return [start, length, graded[length:]]


def written_end(trace: ArchivedTrace) -> str:
    """The last piece of the thinking, which is the marker before the answer, and the answer."""
    return (trace.thinking[-1].text if trace.thinking else "") + trace.answer
