"""Small trace archives built from values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s1.records import AnswerEnd, Ending, Outcome
from s1.report.trace_archive import ArchivedQuestion, ArchivedTrace, ArchivePoint, ArchiveSource, Origin, Piece
from s1.report.trace_archive.writer import ArchiveWriter

OPENING = Piece("<think>\n", Origin.DELIMITER)


def point(place: int, label: str, seeds: Sequence[int] = (0,), **given: Any) -> ArchivePoint:
    """A point with a source of its own for each seed."""
    sources = tuple(ArchiveSource(f"{place:06x}{seed:06x}", f"d{place}e{seed}f", seed) for seed in seeds)
    fields = {"series": ("",), "values": {"budget": label}, "valid": True, "samples": 1, "sources": sources}
    return ArchivePoint(place, label, **{**fields, **given})


def trace(thinking: str, answer: str, correct: bool = True, **given: Any) -> ArchivedTrace:
    """A trace that the model ended, unless `cut`: then the budget did; `pieces` replaces the thinking."""
    is_cut = given.pop("cut", False)
    end = Piece("\n</think>\nFinal Answer:" if is_cut else "\n</think>\n", Origin.CUT if is_cut else Origin.DELIMITER)
    pieces = given.pop("pieces", [Piece(thinking, Origin.SAMPLED)])
    fields = {
        "question": "What is it?",
        "prompt": "<user>What is it?<assistant>",
        "thinking": (OPENING, *pieces, end),
        "answer": answer,
        "graded": answer,
        "extracted": answer.strip(),
        "correct": correct,
        "outcome": Outcome.FORCED if is_cut else Outcome.ANSWERED,
        "ending": Ending.FORCED if is_cut else Ending.NATURAL,
        "answer_end": AnswerEnd.STOP,
        "thinking_tokens": len(thinking.split()),
        "answer_tokens": 1,
        "waits": 0,
        "loops": False,
    }
    return ArchivedTrace(**{**fields, **given})


def question(row: int, text: str = "What is it?", **given: str) -> ArchivedQuestion:
    fields = {"question_id": f"q{row:02}", "task": "dial", "gold": "7"}
    return ArchivedQuestion(row, text=text, **{**fields, **given})


Answers = Mapping[int, Sequence[ArchivedTrace]]  # by place of the source


def write(folder: Path, points: Sequence[ArchivePoint], rows: Sequence[tuple[ArchivedQuestion, Answers]]) -> Path:
    """An archive of these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = ArchiveWriter(folder, points)
    for each, traces in rows:
        writer.add(each, traces)
    writer.close()
    return folder


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
