"""Row types that stages exchange, as JSON lines.

pool, filtered/rows.jsonl         PoolRow             candidates for training
problems/rows.jsonl               Row                 evaluation problems (s1/evaluate/rows.py)
curated/rows.jsonl                Example             training examples
curated/selection.jsonl           SelectedRow         the source and domain of each example
rendered/rows.jsonl               TokenRow            examples as token ids
questions/questions.jsonl         Question            prompts as the lm-eval task words them
traces/traces.jsonl               TraceRow            token ids with their origin, and the decoded text
reward_examples/rows.jsonl        StepExample         traces with a label for each step
rewards/rewards.jsonl             RewardRow           what a reward model gives each trace
scores/scores.jsonl               ScoreRow            one score per question and sample
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from s1.config.schema import ConfigError

ROWS = "rows.jsonl"
REWARDS = "rewards.jsonl"


class Ending(Enum):
    """How the thinking ended."""

    NATURAL = "natural"  # the model ended it
    FORCED = "forced"  # the budget or the context ended it
    NONE = "none"  # no thinking section, plain generation that ran out before closing it, or no accepted try


class AnswerEnd(Enum):
    """How the answer ended."""

    STOP = "stop"  # the model ended it
    CAP = "cap"  # budget.answer_tokens cut it
    CONTEXT = "context"  # the end of the context cut it
    NONE = "none"  # no answer was generated


class Outcome(Enum):
    """Whether there is an answer to grade: a missing answer is not a wrong one."""

    ANSWERED = "answered"  # an answer after a natural end
    FORCED = "forced"  # an answer after a forced end
    NONE = "none"  # no answer that the grader can read


@dataclass(frozen=True)
class PoolRow:
    """A candidate for training."""

    id: str  # the first 16 hex digits of sha256(question), as in s1; a number in dial pools
    question: str
    solution: str | None  # the reference: a whole solution, or the final answer alone
    source: str
    domain: str | None
    thinking: str | None  # None: no teacher has answered it yet
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
    """Metadata of a selected training example."""

    id: str
    source: str
    domain: str
    tokens: int  # of its trace
    teacher_correct: bool | None  # None: its reference cannot be graded


@dataclass(frozen=True)
class TokenRow:
    """A training example as token ids; the first `prompt_tokens` have no loss."""

    id: str
    input_ids: list[int]
    prompt_tokens: int


@dataclass(frozen=True)
class StepExample:
    """A training example of a process reward model; the last step is the answer."""

    id: str
    question: str
    steps: list[str]
    labels: list[bool]  # whether each step is right


@dataclass(frozen=True)
class RewardRow:
    question_id: str
    sample: int
    steps: list[float]  # the reward of each step; of a classifier, the score alone
    score: float  # of the whole trace


@dataclass(frozen=True)
class Question:
    question_id: str
    prompt: str  # the user's turn, as the task words it
    gold: str
    doc: dict[str, Any] | None = None  # the task's own row; None: it has only our columns


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
    answer_tokens: int | None  # None: no answer was requested
    answer_end: AnswerEnd
    thinks_on_tokens: int  # part of the answer in a reopened thinking section; mostly 0
    waits: int  # suppressed ends of thinking
    sampled_tokens: int  # cost of this trace from scratch, stop tokens included; of a group: of all its branches
    # traces that were run for this answer (s1/generate/group.py); None: this one alone
    branches: int | None = field(default=None, metadata={"omit_if": None})
    # whether the thinking format's warning was inserted; None: it has none
    warned: bool | None = field(default=None, metadata={"omit_if": None})


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
    answer_tokens: int | None  # None: no answer was requested
    answer_end: AnswerEnd
    thinks_on_tokens: int
    waits: int
    sampled_tokens: int
    note: str | None = None  # from the grader: "timed_out"
    branches: int | None = field(default=None, metadata={"omit_if": None})  # as in TraceRow
    warned: bool | None = field(default=None, metadata={"omit_if": None})  # as in TraceRow
    # from a reward model; None: the point has none
    reward: float | None = field(default=None, metadata={"omit_if": None})


RowType = TypeVar("RowType")


def write_rows(path: Path, rows: Iterable[Any]) -> int:
    """Write dataclass rows as JSON lines; returns their number.

    A field with `omit_if` in its metadata is left out where it has that value, so that older rows keep their bytes.
    """
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(_columns(row), ensure_ascii=False, default=_plain_value) + "\n")
            count += 1
    return count


def _columns(row: Any) -> dict[str, Any]:
    """The fields of a row that are written. Not `asdict`, which would copy each token id of a trace."""
    named = [(each, getattr(row, each.name)) for each in fields(row)]
    return {
        each.name: value for each, value in named if "omit_if" not in each.metadata or value != each.metadata["omit_if"]
    }


def read_objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file, line by line, skipping blank lines and a byte order mark.

    Raises ConfigError that names the invalid line, or says why the file is not text.
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
        raise ConfigError(f"{where}: not JSON (nested too deeply). Remove the line.") from None
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: not a JSON object. Write one object per line.")
    return row


def read_rows(path: Path, row_type: type[RowType]) -> list[RowType]:
    """Read back what `write_rows` wrote."""
    enums = {"ending": Ending, "outcome": Outcome, "answer_end": AnswerEnd}
    return [
        row_type(**{name: enums[name](value) if name in enums else value for name, value in row.items()})
        for row in read_objects(path)
    ]


def _plain_value(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r}: not JSON. Give the row a plain field.")
