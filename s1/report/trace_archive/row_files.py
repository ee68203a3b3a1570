"""Rows of a JSON lines file by question, read on request: the file may be larger than the memory."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from s1.config.schema import ConfigError
from s1.records import AnswerEnd, Ending, Outcome, ScoreRow, TraceRow

FIRST = re.compile(rb'\{"question_id": ("(?:[^"\\]|\\.)*")')  # how `write_rows` begins a line
ENUMS = {"ending": Ending, "outcome": Outcome, "answer_end": AnswerEnd}


class RowFile:
    """Finds the lines of each question in one pass over the file, then reads them one question at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, list[tuple[int, int]]] = {}  # offset and length of lines, by question
        with path.open("rb") as file:
            offset = 0
            for line in file:
                if line.strip():
                    self._places.setdefault(_question_of(line), []).append((offset, len(line)))
                offset += len(line)

    def scores(self, question_id: str) -> list[ScoreRow]:
        return sorted((ScoreRow(**row) for row in self._rows(question_id)), key=lambda row: row.sample)

    def traces(self, question_id: str) -> list[TraceRow]:
        return sorted((TraceRow(**row) for row in self._rows(question_id)), key=lambda row: row.sample)

    def _rows(self, question_id: str) -> list[dict[str, Any]]:
        if question_id not in self._places:
            raise ConfigError(f"{self.path}: has no question {question_id}. Run with redo=traces to make it again.")
        rows: list[dict[str, Any]] = []
        with self.path.open("rb") as file:
            for offset, length in self._places[question_id]:
                file.seek(offset)
                row = json.loads(file.read(length))
                rows.append({name: ENUMS[name](value) if name in ENUMS else value for name, value in row.items()})
        return rows


def _question_of(line: bytes) -> str:
    found = FIRST.match(line)
    return json.loads(found[1]) if found else json.loads(line)["question_id"]
