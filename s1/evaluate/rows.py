"""Read the rows of a benchmark from a file or the hub as id, problem, answer.

    a JSON-lines file                {"id": "aime24-00", "problem": "...", "answer": "73"}
    a pinned hub dataset             its own column names, see COLUMNS
    GPQA, file or hub                Record ID, Question, Correct Answer, Incorrect Answer 1..3

GPQA's options follow the question as A) to D), sorted by sha256(id, option). The order depends on nothing else, so
answers generated today are graded against the same letters tomorrow. A faulty shuffle would favor one letter, so an
uneven distribution of right answers is refused.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1.config.schema import ConfigError, Hub
from s1.hub.datasets import rows_at
from s1.records import read_objects

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = {
    "id": ("id", "ID", "unique_id", "Record ID", "question_id"),
    "problem": ("problem", "Problem", "Question", "prompt"),
    "answer": ("answer", "Answer", "gold"),
}
OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
LETTERS = "ABCD"
LOPSIDED_DEVIATIONS = 4.0  # a fair order exceeds this in one of 4,000 datasets


@dataclass(frozen=True)
class Row:
    id: str
    problem: str  # including the options
    answer: str


def dataset(
    data_file: str | None = None, hub: Mapping[str, Any] | None = None, **_lm_eval_arguments: object
) -> dict[str, Dataset]:
    """`custom_dataset` function of our lm-eval tasks. lm-eval passes the task's metadata as keyword arguments."""
    from datasets import Dataset

    if data_file is not None:
        rows = rows_of_file(Path(data_file))
    elif hub is not None:
        rows = rows_of_hub(Hub(**hub))
    else:
        raise ConfigError("task.data_file null: the task has no rows. Set it to a JSON-lines file, or set task.hub.")
    return {"test": Dataset.from_list([asdict(row) for row in rows])}


def rows_of_file(path: Path) -> list[Row]:
    """Read a JSON-lines file. Raises ConfigError that names the file, line and column at fault."""
    if not path.is_file():
        raise ConfigError(f"task.data_file {path}: no such file. Name a JSON-lines file with the columns {_ours()}.")
    raws = [(f"{path} line {number}", raw) for number, raw in enumerate(read_objects(path), start=1)]
    return _rows(str(path), raws)


def rows_of_hub(hub: Hub) -> list[Row]:
    """Read a hub dataset. Raises ConfigError if its commit cannot be loaded: no network, access or such revision."""
    table = rows_at(hub, "task.hub", "set task.data_file to a local copy")
    return _rows(hub.repo, [(f"{hub.repo} row {number}", raw) for number, raw in enumerate(table, start=1)])


def check_letters(where: str, letters: Sequence[str]) -> None:
    """Raise ConfigError if some letter is the right answer in far more or far fewer than a quarter of the rows."""
    deviation = math.sqrt(len(letters) * 3) / 4
    for letter in LETTERS:
        count = letters.count(letter)
        if abs(count - len(letters) / 4) > LOPSIDED_DEVIATIONS * deviation:
            counts = dict(sorted(Counter(letters).items()))
            raise ConfigError(
                f"{where} letter {letter}: right in {count} of {len(letters)} rows, far from a quarter ({counts})."
                " Check how the options were shuffled."
            )


def _rows(where: str, raws: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Row]:
    if not raws:
        raise ConfigError(f"{where}: no rows. Write one JSON object per line with the columns {_ours()}.")
    if OPTIONS[0] not in raws[0][1]:
        rows = [_row(place, raw) for place, raw in raws]
        _refuse_duplicates(rows, [place for place, _ in raws])
        return rows
    rows = [_choice(place, raw) for place, raw in raws]
    _refuse_duplicates(rows, [place for place, _ in raws])
    check_letters(where, [row.answer for row in rows])
    return rows


def _refuse_duplicates(rows: Sequence[Row], places: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for row, place in zip(rows, places, strict=True):
        if row.id in first:
            raise ConfigError(f"{place}: id {row.id!r} is also the id of {first[row.id]}. Give each row a unique id.")
        first[row.id] = place


def _row(where: str, raw: Mapping[str, Any]) -> Row:
    return Row(**{ours: _text(where, raw, theirs) for ours, theirs in COLUMNS.items()})


def _choice(where: str, raw: Mapping[str, Any]) -> Row:
    item_id = _text(where, raw, COLUMNS["id"])
    question = _text(where, raw, COLUMNS["problem"])
    texts = [_text(where, raw, (column,)) for column in OPTIONS]
    ordered = sorted(texts, key=lambda text: hashlib.sha256(f"{item_id}\n{text}".encode()).hexdigest())
    lines = [f"{letter}) {text}" for letter, text in zip(LETTERS, ordered, strict=True)]
    return Row(item_id, "\n".join([f"{question}\n", *lines]), LETTERS[ordered.index(texts[0])])


def _text(where: str, raw: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The first of these columns that the row has, as text. Raises ConfigError if it has none."""
    for column in columns:
        value = raw.get(column)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    found = ", ".join(raw) or "none"
    raise ConfigError(f"{where} column {columns[0]!r}: missing, empty or not text (columns: {found}). Add it.")


def _ours() -> str:
    return ", ".join(COLUMNS)
