"""Cells of CSV files, as a spreadsheet may open them: none of their texts is a formula. Pure.

A text that begins with =, +, -, @, a tab or a new line gets an apostrophe before it, as OWASP advises; a plain number
does not need one. A text of apostrophes and then one of these gets one more, so that reading takes off exactly what
writing put there.

The columns of every CSV file of ours, and how a file is read back: a column has one type, and no cell is guessed.

A cell is text unless its column is declared otherwise; keys are text, whatever their digits. An empty cell is missing.
A text that a spreadsheet would take for a formula stands behind an apostrophe, which reading takes off
(s1/files/csv_files.py).
In table.csv, seeds.csv and samples.csv a column that is not declared is an axis, whose values are kept as text.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from sweep.errors import InputError

FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
QUOTED = re.compile("'+[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
SPREADSHEET_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def guarded(text: str) -> str:
    """The text as it stands in a file."""
    return f"'{text}" if FORMULA.match(text) and not SPREADSHEET_NUMBER.fullmatch(text) else text


def unguarded(cell: str) -> str:
    """The text that a cell of a file stands for."""
    return cell[1:] if QUOTED.match(cell) else cell


def csv_text(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A whole file, lines ending in a new line; numbers as Python writes them, None as an empty cell."""
    return "".join(map(_line, [heading, *rows]))


def _line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    # With this end csv puts quotes around either of its characters in a cell, so that neither ends a row.
    csv.writer(text, lineterminator="\r\n").writerow(
        [guarded(cell) if isinstance(cell, str) else cell for cell in cells]
    )
    return text.getvalue().removesuffix("\r\n") + "\n"


Cell: TypeAlias = "str | float | int | None"


class Type(Enum):
    """What stands in a column; the value describes a cell to people."""

    TEXT = "a text"
    NUMBER = "a number"
    INTEGER = "a whole number"
    FLAG = "yes or no"  # stays text


TABLE: Mapping[str, Type] = {
    "label": Type.TEXT,
    "series": Type.TEXT,
    "n": Type.INTEGER,
    "samples": Type.INTEGER,
    "seeds": Type.INTEGER,
    "accuracy": Type.NUMBER,
    "lo": Type.NUMBER,
    "hi": Type.NUMBER,
    "method": Type.TEXT,
    "seeds_lowest": Type.NUMBER,
    "seeds_highest": Type.NUMBER,
    "accuracy_if_cut_right": Type.NUMBER,
    "thinking_tokens": Type.NUMBER,
    "thinking_lo": Type.NUMBER,
    "thinking_hi": Type.NUMBER,
    "thinking_max": Type.INTEGER,
    "answer_tokens": Type.NUMBER,
    "forced_share": Type.NUMBER,
    "waits": Type.INTEGER,
    "mean_waits": Type.NUMBER,
    "all_waits_share": Type.NUMBER,
    "no_answer_share": Type.NUMBER,
    "answers_cut_share": Type.NUMBER,
    "thinks_on_share": Type.NUMBER,
    "graders_disagree": Type.INTEGER,
    "over_budget": Type.INTEGER,
    "under_minimum": Type.INTEGER,
    "valid": Type.FLAG,
    "sampled_tokens": Type.INTEGER,
    "device_seconds": Type.NUMBER,
    "usd": Type.NUMBER,
    "key": Type.TEXT,
    "digest": Type.TEXT,
}
SEEDS: Mapping[str, Type] = {
    "label": Type.TEXT,
    "series": Type.TEXT,
    "seed": Type.INTEGER,
    "accuracy": Type.NUMBER,
    "lo": Type.NUMBER,
    "hi": Type.NUMBER,
    "thinking_tokens": Type.NUMBER,
    "valid": Type.FLAG,
    "key": Type.TEXT,
    "digest": Type.TEXT,
}
SAMPLES: Mapping[str, Type] = {
    "label": Type.TEXT,
    "series": Type.TEXT,
    "n": Type.INTEGER,
    "samples": Type.INTEGER,
    "k": Type.INTEGER,
    "pass": Type.NUMBER,
    "pass_lo": Type.NUMBER,
    "pass_hi": Type.NUMBER,
    "pass_method": Type.TEXT,
    "maj": Type.NUMBER,
    "maj_lo": Type.NUMBER,
    "maj_hi": Type.NUMBER,
    "maj_method": Type.TEXT,
    "gain": Type.NUMBER,
    "gain_lo": Type.NUMBER,
    "gain_hi": Type.NUMBER,
    "thinking_tokens": Type.NUMBER,
    "thinking_lo": Type.NUMBER,
    "thinking_hi": Type.NUMBER,
    "valid": Type.FLAG,
    "key": Type.TEXT,
    "digest": Type.TEXT,
}
FUNNEL: Mapping[str, Type] = {
    "set": Type.TEXT,
    "step": Type.TEXT,
    "kept": Type.INTEGER,
    "dropped": Type.INTEGER,
    "reason": Type.TEXT,
    "key": Type.TEXT,
}
TRAINING: Mapping[str, Type] = {
    "checkpoint": Type.TEXT,
    "steps": Type.INTEGER,
    "tokens": Type.INTEGER,
    "first loss": Type.NUMBER,
    "final loss": Type.NUMBER,
    "mean loss": Type.NUMBER,
    "where": Type.TEXT,
}
AUDIT: Mapping[str, Type] = {"what": Type.TEXT, "count": Type.INTEGER, "of": Type.INTEGER, "verdict": Type.TEXT}
FILES: Mapping[str, Mapping[str, Type]] = {
    "table.csv": TABLE,
    "seeds.csv": SEEDS,
    "samples.csv": SAMPLES,
    "funnel.csv": FUNNEL,
    "training.csv": TRAINING,
    "audit.csv": AUDIT,
}
HAS_AXES = ("table.csv", "seeds.csv", "samples.csv")
INTEGER = re.compile(r"-?\d+", re.ASCII)
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)  # as Python writes a finite one


def read_rows(path: Path) -> list[dict[str, Cell]]:
    """Every row of one of our files, typed by its column. Raises InputError that names file, row and column."""
    columns = columns_of(path)
    return [
        {name: _cell(text, columns.get(name, Type.TEXT), f"{path}: row {number}, {name}") for name, text in row.items()}
        for number, row in enumerate(_rows(path), start=1)
    ]


def written_rows(path: Path) -> list[dict[str, str]]:
    """The same, each cell as a text. Raises InputError as `read_rows` does."""
    read_rows(path)
    return _rows(path)


def columns_of(path: Path) -> Mapping[str, Type]:
    """The declared columns of one of our files. Raises InputError for any other file."""
    if path.name not in FILES:
        raise InputError(f"{path}: not a table of ours. Known: {', '.join(FILES)}.")
    return FILES[path.name]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        heading, *rows = list(csv.reader(file)) or [[]]
    known = columns_of(path)
    for name in heading:
        if heading.count(name) > 1 or (name not in known and path.name not in HAS_AXES):
            raise InputError(f"{path}: heading, {name!r}: twice, or no column of this file. Make the file again.")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(heading):
            raise InputError(f"{path}: row {number}: {len(row)} cells under {len(heading)} names. Make the file again.")
    are_texts = [known.get(name, Type.TEXT) is Type.TEXT for name in heading]
    return [
        {
            name: unguarded(cell) if is_text else cell
            for name, cell, is_text in zip(heading, row, are_texts, strict=True)
        }
        for row in rows
    ]


def _cell(text: str, of: Type, where: str) -> Cell:
    if text == "":
        return None
    if of is Type.INTEGER and INTEGER.fullmatch(text):
        return int(text)
    if of is Type.NUMBER and NUMBER.fullmatch(text):
        return float(text)
    if of is Type.TEXT or (of is Type.FLAG and text in ("yes", "no")):
        return text
    raise InputError(f"{where} {text!r}: not {of.value}. Make the file again.")
