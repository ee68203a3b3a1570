"""Read a trace archive: the grid at once, texts on request. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from s1.records import AnswerEnd
from s1.report.trace_archive.files import FORMAT, INDEX, MISSING, ORIGINS, ArchiveError, cell_of, read_file
from s1.report.trace_archive.rows import (
    ArchivedQuestion,
    ArchivedTrace,
    ArchivePoint,
    ArchiveSource,
    Cell,
    Origin,
    Piece,
    QuestionId,
    TracePlace,
)
from s1.report.trace_archive.texts import Node, shared_length, text_of

FILES_KEPT = 4  # files of texts in memory; neighbouring questions share one


def open_archive(folder: Path) -> TraceArchive:
    """Open the archive in a folder, such as `traces/` of a result. Raises ArchiveError if there is none."""
    index = read_file(folder, INDEX)
    if index.get("format") != FORMAT:
        raise ArchiveError(
            f"{folder}: a trace archive of format {index.get('format')}, not {FORMAT}. Read it with the version that"
            " wrote it, or run the sweep again."
        )
    return TraceArchive(folder, index)


class TraceArchive:
    """The traces of a scan. Questions, points, seeds and samples that do not meet have no trace (LookupError)."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self._folder, self._index = folder, index
        self._sources = [ArchiveSource(each["key"], each["digest"], each["seed"]) for each in index["sources"]]
        self._rows_of = lru_cache(maxsize=FILES_KEPT)(self._read_rows)

    @cached_property
    def points(self) -> Sequence[ArchivePoint]:
        return [
            ArchivePoint(
                id=place,
                label=each["label"],
                series=tuple(each["series"]),
                values=each["values"],
                valid=each["valid"],
                samples=each["samples"],
                sources=tuple(self._sources[source] for source in each["sources"]),
            )
            for place, each in enumerate(self._index["points"])
        ]

    @cached_property
    def questions(self) -> Sequence[QuestionId]:
        tasks = self._index["tasks"]
        return [
            QuestionId(row, question_id, tasks[task], gold)
            for row, (question_id, task, gold, _) in enumerate(self._index["questions"])
        ]

    @property
    def has_latex(self) -> bool:
        """Whether any text has LaTeX to typeset."""
        return self._index["latex"]

    def rows(self, question_id: str) -> list[int]:
        """Rows of the questions with this id; several if tasks or seeds share it."""
        return [each.row for each in self.questions if each.question_id == question_id]

    def question(self, row: int) -> ArchivedQuestion:
        each, stored = self.questions[row], self._row(row)
        text = text_of(stored["nodes"], stored["text"])
        return ArchivedQuestion(row, each.question_id, each.task, each.gold, text)

    def cell(self, row: int, point_id: int, seed: int, sample: int = 0) -> Cell:
        """Raises LookupError if the point has no such trace."""
        found = self.cell_or_none(row, point_id, seed, sample)
        if found is None:
            raise LookupError(f"row {row}: point {point_id} has no trace of seed {seed}, sample {sample}.")
        return found

    def cell_or_none(self, row: int, point_id: int, seed: int, sample: int = 0) -> Cell | None:
        source = self._source_or_none(point_id, seed)
        if source is None or not 0 <= sample < self._samples(source) or not 0 <= row < len(self.questions):
            return None
        cells, at = self._index["cells"][source], row * self._samples(source) + sample
        if cells["states"][at] == MISSING:
            return None
        answer = cells["answers"][at]
        extracted = None if answer < 0 else self._index["answers"][answer]
        return cell_of(cells["states"][at], cells["tokens"][at], extracted)

    def places(self, point_id: int, rows: Iterable[int] | None = None) -> Iterator[TracePlace]:
        """Every trace of a point, in the order of rows, seeds and samples."""
        point = self.points[point_id]
        for row in range(len(self.questions)) if rows is None else rows:
            for seed in point.seeds:
                for sample in range(point.samples):
                    if self.cell_or_none(row, point_id, seed, sample) is not None:
                        yield TracePlace(row, seed, sample)

    def trace(self, row: int, point_id: int, seed: int, sample: int = 0) -> ArchivedTrace:
        """Reads one compressed file. Raises LookupError if the point has no such trace."""
        self.cell(row, point_id, seed, sample)
        source = self._source_or_none(point_id, seed)
        stored = self._row(row)
        return _trace(stored["traces"][str(source)][sample], stored["nodes"])

    def traces(
        self, rows: Iterable[int] | None = None, point_ids: Iterable[int] | None = None
    ) -> Iterator[tuple[int, TracePlace, ArchivedTrace]]:
        """(point id, place, trace) of these rows and points, by default of all; row by row, so each file is read
        once."""
        chosen = range(len(self.points)) if point_ids is None else list(point_ids)
        for row in range(len(self.questions)) if rows is None else rows:
            for point_id in chosen:
                for place in self.places(point_id, [row]):
                    yield point_id, place, self.trace(row, point_id, place.seed, place.sample)

    def flips(self, a_id: int, b_id: int) -> list[TracePlace]:
        """Traces that are right under one of two points and wrong under the other, where both have them."""
        found: list[TracePlace] = []
        for place in self.places(a_id):
            other = self.cell_or_none(place.row, b_id, place.seed, place.sample)
            if other is not None and other.correct != self.cell(place.row, a_id, place.seed, place.sample).correct:
                found.append(place)
        return found

    def _source_or_none(self, point_id: int, seed: int) -> int | None:
        sources = self._index["points"][point_id]["sources"]
        return next((source for source in sources if self._sources[source].seed == seed), None)

    def _samples(self, source: int) -> int:
        return self._index["sources"][source]["samples"]

    def _row(self, row: int) -> dict[str, Any]:
        return self._rows_of(self._index["files"][self._index["questions"][row][3]])[row]

    def _read_rows(self, name: str) -> dict[int, dict[str, Any]]:
        return {each["row"]: each for each in read_file(self._folder, name)["rows"]}


def common_prefix(one: Sequence[Piece], other: Sequence[Piece]) -> int:
    """Characters that two traces have in common at their beginning, in text and in origin.

    A "Wait" that one model wrote is another beginning than one that was appended.
    """
    shared = shared_length("".join(piece.text for piece in one), "".join(piece.text for piece in other))
    place = 0
    for (origin, length), (origin_of_other, length_of_other) in zip(_runs(one), _runs(other), strict=False):
        if origin is not origin_of_other:
            return min(shared, place)
        place += min(length, length_of_other)
        if length != length_of_other:
            return min(shared, place)
    return shared


def _runs(pieces: Sequence[Piece]) -> list[tuple[Origin, int]]:
    """Origin and characters of neighbouring pieces of one origin; a piece without text stands for itself."""
    found: list[tuple[Origin, int]] = []
    for piece in pieces:
        if found and piece.text and found[-1][1] and found[-1][0] is piece.origin:
            found[-1] = (piece.origin, found[-1][1] + len(piece.text))
        else:
            found.append((piece.origin, len(piece.text)))
    return found


def _trace(stored: dict[str, Any], nodes: Sequence[Node]) -> ArchivedTrace:
    cell = cell_of(stored["state"], stored["tokens"][0], None)
    thinking = tuple(_pieces(stored, nodes))
    answer = text_of(nodes, stored["answer"])
    return ArchivedTrace(
        question=text_of(nodes, stored["question"]),
        prompt=None if stored["prompt"] is None else text_of(nodes, stored["prompt"]),
        thinking=thinking,
        answer=answer,
        graded=_graded(stored, (thinking[-1].text if thinking else "") + answer, nodes),
        extracted=stored["extracted"],
        correct=cell.correct,
        outcome=cell.outcome,
        ending=cell.ending,
        answer_end=AnswerEnd(stored["answer_end"]),
        thinking_tokens=stored["tokens"][0],
        answer_tokens=stored["tokens"][1],
        waits=stored["waits"],
        loops=cell.loops,
        branches=stored["branches"],
        note=stored["note"],
    )


def _pieces(stored: dict[str, Any], nodes: Sequence[Node]) -> Iterator[Piece]:
    text, start = text_of(nodes, stored["thinking"]), 0
    for length, origin in stored["pieces"]:
        yield Piece(text[start : start + length], ORIGINS[origin])
        start += length


def _graded(stored: dict[str, Any], written: str, nodes: Sequence[Node]) -> str:
    place = stored["graded"]
    if len(place) == 2:
        return text_of(nodes, (place[0], place[1]))
    start, length, rest = place
    return written[start : start + length] + rest
