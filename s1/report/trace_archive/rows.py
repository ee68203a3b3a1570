"""What the trace archive holds: points, questions, cells of the grid, and traces as pieces of text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from s1.records import AnswerEnd, Ending, Outcome

EXTRACTED_SHOWN = 200  # characters of an extracted answer in a cell; the trace has all of it


class Origin(Enum):
    """Where a piece of a trace comes from."""

    SAMPLED = "sampled"  # the model wrote it
    APPENDED = "appended"  # we put it in the place of a suppressed end, or as a warning; empty: only the end went
    CUT = "cut"  # the marker that ends the thinking where a budget or the context cut it; may be empty
    DELIMITER = "delimiter"  # any other marker that we wrote, such as the one that opens the thinking
    UNKNOWN = "unknown"  # text whose parts the tokenizer at hand cannot tell apart


@dataclass(frozen=True)
class Piece:
    text: str
    origin: Origin


class TracePlace(NamedTuple):
    """Where a trace is, within one point: the row of its question, its seed and its sample."""

    row: int
    seed: int
    sample: int


@dataclass(frozen=True)
class ArchiveSource:
    """The scores of one seed: the directory scores/<key>, and the digest of its content ("": unknown)."""

    key: str
    digest: str
    seed: int

    @property
    def cited(self) -> str:
        """`scores/41687fbbc3b5@9c1f`."""
        return f"scores/{self.key}@{self.digest[:4]}" if self.digest else f"scores/{self.key}"


@dataclass(frozen=True)
class ArchivePoint:
    """A point of the curve. Points that aggregate the same samples differently share their sources."""

    id: int  # its place in TraceArchive.points
    label: str  # as measured; points of different series may share it
    series: tuple[str, ...]  # names of all series that it is on; ("",) if there is only one
    values: Mapping[str, Any]  # JSON values by axis
    valid: bool  # False: it failed the audit
    samples: int  # per question and seed
    sources: tuple[ArchiveSource, ...]  # one per seed

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(source.seed for source in self.sources)

    @property
    def scores(self) -> tuple[str, ...]:
        """What its numbers cite, one per seed."""
        return tuple(source.cited for source in self.sources)


@dataclass(frozen=True)
class QuestionId:
    """A question in the order of the archive; `row` is its number there, from 0."""

    row: int
    question_id: str
    task: str
    gold: str


@dataclass(frozen=True)
class ArchivedQuestion:
    row: int
    question_id: str
    task: str
    gold: str
    text: str  # the user's turn, as the task words it for the first point that has the question


@dataclass(frozen=True)
class Cell:
    """The result of one trace."""

    correct: bool
    outcome: Outcome
    ending: Ending
    is_cut: bool  # the answer was cut, by budget.answer_tokens or by the end of the context
    loops: bool  # the thinking loops (s1/stats/loops.py)
    thinking_tokens: int
    extracted: str | None  # at most EXTRACTED_SHOWN characters; None: no readable answer


@dataclass(frozen=True)
class ArchivedTrace:
    """One trace as text. The pieces of `thinking` and then `answer` are all that follows the prompt."""

    question: str  # the user's turn
    prompt: str | None  # as the engine saw it, up to the first piece; None: it cannot be made again exactly
    thinking: tuple[Piece, ...]  # with its delimiters
    answer: str
    graded: str  # the part of the answer that the grader read
    extracted: str | None
    correct: bool
    outcome: Outcome
    ending: Ending
    answer_end: AnswerEnd
    thinking_tokens: int
    answer_tokens: int | None  # None: no answer was requested
    waits: int
    loops: bool
    branches: int | None = None  # traces that were run for this answer, of which this is one; None: this one alone
    note: str | None = None  # from the grader

    @property
    def cell(self) -> Cell:
        is_cut = self.answer_end in (AnswerEnd.CAP, AnswerEnd.CONTEXT)
        return Cell(
            self.correct, self.outcome, self.ending, is_cut, self.loops, self.thinking_tokens, _shown(self.extracted)
        )


def _shown(extracted: str | None) -> str | None:
    if extracted is None or len(extracted) <= EXTRACTED_SHOWN:
        return extracted
    return f"{extracted[: EXTRACTED_SHOWN - 1]}\u2026"
