"""The files of the trace archive: JSON, compressed, as a call that a page can load from anywhere, also from file://.

    s1Traces("index", "<base64 of zlib>");

index.js, JSON once unpacked (lists by source have the order of `sources`, lists by row that of `questions`):

    format     1
    points     {label, series, values, valid, samples, sources: places in `sources`}, in the order of the curve
    sources    {key, digest, seed, samples}: the scores of one seed
    tasks      names
    questions  [question id, place in `tasks`, gold, place in `files`]
    files      names of the other files
    answers    extracted answers, each once
    latex      whether any text has LaTeX to typeset
    cells      {states, tokens, answers} by source: one character, number and place in `answers` for each row and
               sample (row * samples + sample); a missing trace is " ", 0 and -1

Another file:

    rows       {row, text, traces: {place in `sources`: a trace per sample}, nodes}

where a text is a reference into `nodes` (s1/report/trace_archive/texts.py) and a trace is

    question, prompt (null: unknown), thinking, answer: references
    pieces     [characters, place in ORIGINS], in order: how `thinking` is divided
    graded     [start, length, rest] in the last piece followed by the answer, and text after it; or a reference
    extracted, note, tokens: [thinking, answer], waits, branches, state, answer_end: as in ArchivedTrace
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

from s1.records import Ending, Outcome
from s1.report.trace_archive.rows import Cell, Origin
from sweep.errors import InputError

FORMAT = 1
INDEX = "index"
CALL = "s1Traces"
ORIGINS = list(Origin)
MISSING = " "
FIRST_STATE = 48  # "0"
OUTCOMES, ENDINGS = list(Outcome), list(Ending)
LEVEL = 9  # of zlib; texts are written once and read often


class ArchiveError(InputError):
    """A folder that is no trace archive, or a damaged file in one."""


def state_of(cell: Cell) -> str:
    """One character for what a cell tells besides numbers and texts."""
    flags = cell.correct + 2 * cell.is_cut + 4 * cell.loops
    return chr(FIRST_STATE + flags + 8 * (OUTCOMES.index(cell.outcome) + 3 * ENDINGS.index(cell.ending)))


def cell_of(state: str, thinking_tokens: int, extracted: str | None) -> Cell:
    """The cell of a character from `state_of`."""
    value = ord(state) - FIRST_STATE
    flags, outcome, ending = value % 8, value // 8 % 3, value // 24
    return Cell(
        correct=bool(flags & 1),
        outcome=OUTCOMES[outcome],
        ending=ENDINGS[ending],
        is_cut=bool(flags & 2),
        loops=bool(flags & 4),
        thinking_tokens=thinking_tokens,
        extracted=extracted,
    )


def write_file(folder: Path, name: str, content: Any) -> None:
    """Write one file of the archive. The same content gives the same bytes with the same zlib."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    packed = base64.b64encode(zlib.compress(text.encode("utf-8"), LEVEL)).decode("ascii")
    (folder / f"{name}.js").write_text(f'{CALL}("{name}", "{packed}");\n', encoding="ascii")


def read_file(folder: Path, name: str) -> Any:
    """Read what `write_file` wrote. Raises ArchiveError for a missing or damaged file."""
    packed = packed_file(folder, name)
    try:
        return json.loads(zlib.decompress(base64.b64decode(packed, validate=True)))
    except (ValueError, zlib.error):  # JSON errors and base64 errors are ValueErrors
        raise _damaged(folder / f"{name}.js") from None


def packed_file(folder: Path, name: str) -> str:
    """The argument of the call in a file, base64. Raises ArchiveError for a missing or damaged file."""
    path = folder / f"{name}.js"
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read ({error.strerror}). Copy the result with its traces/.") from None
    except UnicodeDecodeError:
        raise _damaged(path) from None
    found = re.fullmatch(rf'{CALL}\("{re.escape(name)}", "([A-Za-z0-9+/=]*)"\);\n?', text)
    if found is None:
        raise _damaged(path)
    return found[1]


def _damaged(path: Path) -> ArchiveError:
    return ArchiveError(f"{path}: not a file of a trace archive, or damaged. Publish the result again.")
