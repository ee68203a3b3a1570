"""Write and read our CSV files: the type of every column, and cells that are safe to open in a spreadsheet.

Types are declared below and never guessed. A cell is text unless its column says otherwise; keys are text even if they
are all digits. An empty cell is a missing value. In table.csv, seeds.csv and samples.csv an undeclared column is an
axis, whose values are text.

No text may act as a formula: one that begins with =, +, -, @, a tab or a new line gets an apostrophe in front, as OWASP
recommends, unless it is a plain number. A text that begins with apostrophes followed by one of these gets one more, so
that reading removes exactly what writing added.
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
    """The text as written to a file, with an apostrophe if a spreadsheet could run it as a formula."""
    return f"'{text}" if FORMULA.match(text) and not SPREADSHEET_NUMBER.fullmatch(text) else text


def unguarded(cell: str) -> str:
    """The text of a cell as read from a file: the inverse of `guarded`."""
    return cell[1:] if QUOTED.match(cell) else cell


def csv_text(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The text of a whole file, with \\n line ends; numbers are formatted as by Python, None is an empty cell."""
    return "".join(map(_line, [heading, *rows]))


def _line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    # With \r\n as its line end, csv quotes cells that contain either character, so that neither ends a row.
    csv.writer(text, lineterminator="\r\n").writerow(
        [guarded(cell) if isinstance(cell, str) else cell for cell in cells]
    )
    return text.getvalue().removesuffix("\r\n") + "\n"


Cell: TypeAlias = "str | float | int | None"


class Type(Enum):
    """The type of a column; the value describes a cell in error messages."""

    TEXT = "a text"
    NUMBER = "a number"
    INTEGER = "a whole number"
    FLAG = "yes or no"  # read as text


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
    "warned_share": Type.NUMBER,
    "branches": Type.NUMBER,
    "votes": Type.INTEGER,
    "pareto": Type.FLAG,
    "all_waits_share": Type.NUMBER,
    "no_answer_share": Type.NUMBER,
    "answers_cut_share": Type.NUMBER,
    "thinks_on_share": Type.NUMBER,
    "loop_share": Type.NUMBER,
    "loop_lo": Type.NUMBER,
    "loop_hi": Type.NUMBER,
    "distinct_4": Type.NUMBER,
    "graders_disagree": Type.INTEGER,
    "over_budget": Type.INTEGER,
    "under_minimum": Type.INTEGER,
    "valid": Type.FLAG,
    "sampled_tokens": Type.INTEGER,
    "device_seconds": Type.NUMBER,
    "usd": Type.NUMBER,
    "usd_per_point": Type.NUMBER,
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
FRONTIER: Mapping[str, Type] = {
    "frontier": Type.TEXT,
    "point": Type.TEXT,
    "label": Type.TEXT,
    "method": Type.TEXT,
    "n": Type.INTEGER,
    "accuracy": Type.NUMBER,
    "lo": Type.NUMBER,
    "hi": Type.NUMBER,
    "tokens": Type.NUMBER,
    "tokens_lo": Type.NUMBER,
    "tokens_hi": Type.NUMBER,
    "device_seconds": Type.NUMBER,
    "usd": Type.NUMBER,
    "pareto": Type.FLAG,
    "front_share": Type.NUMBER,
    "key": Type.TEXT,
    "against_method": Type.TEXT,
    "against": Type.TEXT,
    "against_tokens": Type.NUMBER,
    "difference": Type.NUMBER,
    "difference_lo": Type.NUMBER,
    "difference_hi": Type.NUMBER,
}
SETTLING: Mapping[str, Type] = {
    "series": Type.TEXT,
    "question_id": Type.TEXT,
    "seed": Type.INTEGER,
    "sample": Type.INTEGER,
    "settled": Type.TEXT,
    "settled_tokens": Type.INTEGER,
    "end": Type.TEXT,
    "end_tokens": Type.INTEGER,
    "answer": Type.TEXT,
    "right": Type.FLAG,
    "lost": Type.FLAG,
    "last_right": Type.TEXT,
    "last_right_tokens": Type.INTEGER,
    "last_right_answer": Type.TEXT,
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
DISAGREEMENTS: Mapping[str, Type] = {
    "label": Type.TEXT,
    "series": Type.TEXT,
    "scores": Type.TEXT,
    "question_id": Type.TEXT,
    "sample": Type.INTEGER,
    "gold": Type.TEXT,
    "our_reading": Type.TEXT,
    "our_verdict": Type.TEXT,
    "math_verify_reading": Type.TEXT,
    "math_verify_verdict": Type.TEXT,
    "answer_tail": Type.TEXT,
}
PAPER: Mapping[str, Type] = {
    "table": Type.TEXT,
    "row": Type.TEXT,
    "task": Type.TEXT,
    "metric": Type.TEXT,
    "published": Type.NUMBER,
    "published_tokens": Type.NUMBER,
    "published_n": Type.INTEGER,
    "model": Type.TEXT,
    "source": Type.TEXT,
    "label": Type.TEXT,
    "ours": Type.NUMBER,
    "lo": Type.NUMBER,
    "hi": Type.NUMBER,
    "n": Type.INTEGER,
    "method": Type.TEXT,
    "thinking_tokens": Type.NUMBER,
    "compared_by": Type.TEXT,
    "verdict": Type.TEXT,
    "remark": Type.TEXT,
    "scores": Type.TEXT,
}
COSTS: Mapping[str, Type] = {
    "name": Type.TEXT,
    "stage": Type.TEXT,
    "reused": Type.FLAG,
    "planned_tokens": Type.INTEGER,
    "planned_device_seconds": Type.NUMBER,
    "planned_usd": Type.NUMBER,
    "spent_tokens": Type.INTEGER,
    "spent_device_seconds": Type.NUMBER,
    "spent_usd": Type.NUMBER,
    "spent_seconds": Type.NUMBER,
}
FILES: Mapping[str, Mapping[str, Type]] = {
    "table.csv": TABLE,
    "seeds.csv": SEEDS,
    "samples.csv": SAMPLES,
    "settling.csv": SETTLING,
    "frontier.csv": FRONTIER,
    "funnel.csv": FUNNEL,
    "training.csv": TRAINING,
    "audit.csv": AUDIT,
    "grader_disagreement.csv": DISAGREEMENTS,
    "paper.csv": PAPER,
    "costs.csv": COSTS,
}
NUMBERED = re.compile(r"-\d+(?=\.csv$)")  # audit-1.csv: one of several files with the columns of audit.csv
HAS_AXES = ("table.csv", "seeds.csv", "samples.csv")
INTEGER = re.compile(r"-?\d+", re.ASCII)
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)  # as Python formats finite floats


def read_rows(path: Path) -> list[dict[str, Cell]]:
    """Read one of our files, converting cells by column. Raises InputError that names file, row and column."""
    columns = columns_of(path)
    return [
        {name: _cell(text, columns.get(name, Type.TEXT), f"{path}: row {number}, {name}") for name, text in row.items()}
        for number, row in enumerate(_rows(path), start=1)
    ]


def written_rows(path: Path) -> list[dict[str, str]]:
    """Like `read_rows`, but all cells are text. Raises InputError for the same files."""
    read_rows(path)
    return _rows(path)


def columns_of(path: Path) -> Mapping[str, Type]:
    """The declared columns of one of our files. Raises InputError for any other file."""
    columns = FILES.get(NUMBERED.sub("", path.name))
    if columns is None:
        raise InputError(f"{path}: its columns are not declared here. Read it with the version that wrote it.")
    return columns


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        heading, *rows = list(csv.reader(file)) or [[]]
    known = columns_of(path)
    for name in heading:
        if heading.count(name) > 1 or (name not in known and path.name not in HAS_AXES):
            raise InputError(
                f"{path}: heading {name!r}: a duplicate, or not a column of this file. Make the file again."
            )
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
    raise InputError(f"{where} {text!r}: not {of.value}. Restore the file from its result, or run the command again.")
