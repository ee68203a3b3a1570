"""Rows that stages write for later stages to read, one JSON object per line.

pool, filtered/rows.jsonl         PoolRow             candidates for training
problems, solver_rows/rows.jsonl  Row                 questions and references (s1/evaluate/rows.py)
curated/rows.jsonl                Example             training examples
curated/selection.jsonl           SelectedRow         the source and domain of each example
rendered/rows.jsonl               TokenRow            training examples as token ids
questions/questions.jsonl         Question            prompts as the lm-eval task words them
traces/answers.jsonl              TraceRow            token ids with their origin, and the texts they decode to
scores/scores.jsonl               ScoreRow            one judgement per question and sample
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from s1.config.schema import ConfigError

ROWS = "rows.jsonl"


class Ending(Enum):
    """How the thinking ended."""

    NATURAL = "natural"  # the model ended it
    FORCED = "forced"  # the budget or the context ended it
    NONE = "none"  # there was no thinking section, or plain generation ran out before closing it


class AnswerEnd(Enum):
    """How the answer ended."""

    STOP = "stop"  # the model ended it
    CAP = "cap"  # budget.answer_tokens cut it
    CONTEXT = "context"  # the end of the context cut it
    NONE = "none"  # the model was never asked for an answer


class Outcome(Enum):
    """Whether there is an answer to grade; a missing answer is not the same as a wrong one."""

    ANSWERED = "answered"  # an answer after a natural end
    FORCED = "forced"  # an answer after a forced end
    NONE = "none"  # the grader can read no answer


@dataclass(frozen=True)
class PoolRow:
    """A candidate for training."""

    id: str  # the first 16 hex digits of sha256(question), as in s1; of a dial pool its number
    question: str
    solution: str | None  # the reference: a whole solution, or the final answer alone
    source: str
    domain: str | None
    thinking: str | None  # None: no trace yet
    answer: str | None


@dataclass(frozen=True)
class Example:
    """A training example: question, reasoning trace, answer."""

    id: str
    question: str
    thinking: str
    answer: str


@dataclass(frozen=True)
class SelectedRow:
    """Where an example came from, and what is known about its trace."""

    id: str
    source: str
    domain: str
    tokens: int  # of its trace
    teacher_correct: bool | None  # None: the grader cannot read its reference


@dataclass(frozen=True)
class TokenRow:
    """A training example as token ids; the first `prompt_tokens` of them have no loss."""

    id: str
    input_ids: list[int]
    prompt_tokens: int


@dataclass(frozen=True)
class Question:
    question_id: str
    prompt: str  # the user's turn, as the task words it
    gold: str
    doc: dict[str, Any] | None = None  # the row for the task's templates and graders; None: it has only our columns


@dataclass(frozen=True)
class TraceRow:
    question_id: str
    sample: int
    prompt_tokens: int
    segments: list[dict[str, Any]]  # {part, origin, ids, ended_by}: s1/generate/trace.py
    thinking: str
    answer: str
    ending: Ending
    thinking_tokens: int
    answer_tokens: int | None  # None: the answer stage did not run
    answer_end: AnswerEnd
    thinks_on_tokens: int  # of the answer: in a thinking section that the model opened again; mostly 0
    waits: int  # ends suppressed
    sampled_tokens: int  # tokens to generate this trace alone, stop tokens included


@dataclass(frozen=True)
class ScoreRow:
    question_id: str
    sample: int
    gold: str
    extracted: str | None
    correct: bool
    outcome: Outcome
    ending: Ending
    thinking_tokens: int
    answer_tokens: int | None  # None: the answer stage did not run
    answer_end: AnswerEnd
    thinks_on_tokens: int
    waits: int
    sampled_tokens: int
    note: str | None = None  # of the grader: "timed_out"


RowType = TypeVar("RowType")


def write_rows(path: Path, rows: Iterable[Any]) -> int:
    """Write dataclass rows as JSON lines. Returns how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(asdict(row), ensure_ascii=False, default=_enum_value) + "\n")
            count += 1
    return count


def read_objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file, one per line; skips blank lines and a byte order mark.

    Raises ConfigError naming the line that is not an object, or why the file is not text.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if text := _text_of(line, number, path).strip():
                yield _object_of(text, f"{path} line {number}")


def _text_of(line: bytes, number: int, path: Path) -> str:
    if number == 1 and line.startswith(b"\x1f\x8b"):
        raise ConfigError(f"{path}: compressed. Unpack it: gzip -d.")
    if number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigError(f"{path}: UTF-16, not UTF-8. Convert it: iconv -f utf-16 -t utf-8 {path.name}.")
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} line {number}: byte {line[error.start]:#04x} is not UTF-8. Convert the file, from Latin-1 for"
            " example: iconv -f latin1 -t utf-8."
        ) from None


def _object_of(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not JSON ({error.msg}). Repair or remove the line.") from None
    except RecursionError:
        raise ConfigError(f"{where}: not JSON (too many nested brackets). Remove the line.") from None
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: not a JSON object. Write one object per line.")
    return row


def read_rows(path: Path, row_type: type[RowType]) -> list[RowType]:
    """Read rows that `write_rows` wrote."""
    enums = {"ending": Ending, "outcome": Outcome, "answer_end": AnswerEnd}
    return [
        row_type(**{name: enums[name](value) if name in enums else value for name, value in row.items()})
        for row in read_objects(path)
    ]


def _enum_value(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{value!r}: no JSON form. Use a plain type in the row.")
