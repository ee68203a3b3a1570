"""Cells of CSV files, as a spreadsheet may open them: none of their texts is a formula. Pure.

A text that begins with =, +, -, @, a tab or a new line gets an apostrophe before it, as OWASP advises; a plain number
does not need one. A text of apostrophes and then one of these gets one more, so that reading takes off exactly what
writing put there.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
QUOTED = re.compile("'+[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def guarded(text: str) -> str:
    """The text as it stands in a file."""
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


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
