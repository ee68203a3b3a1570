"""Pools for curation tests: hand-written rows, stage outputs as directories, and stage contexts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s1.config.data import Pattern
from s1.data.funnel import FunnelStep, write_funnel
from s1.models.location import piece_tokenizer
from s1.records import ROWS, AnswerEnd, Ending, Outcome, PoolRow, ScoreRow, write_rows
from sweep.core.stage import Work

AIME = "qq8933/AIME_1983_2024"
PATTERNS = [  # those of s1
    Pattern("a figure in Asymptote", r"\[asy\]", except_sources=[AIME]),
    Pattern("an image", r"!\[Image\]"),
    Pattern("several problems", r"p[1-9][0-9]{0,2}\."),
    Pattern("bold numbers", r"\*\*(?=.*\d)[^\s\]]*\*\*"),
]
WORDS = ("step", "so", "two", "three")


def row(number: int, question: str | None = None, **fields: Any) -> PoolRow:
    """A whole row: its question is its own, its trace has `number` words and one more, its answer is right."""
    asked = f"What is {number} and one more?" if question is None else question
    given = {"solution": f"\\boxed{{{number + 1}}}", "source": "made", "domain": None}
    told = {"thinking": "step " * number + "so", "answer": f"Final Answer: {number + 1}"}
    return PoolRow(f"{number:04d}", asked, **{**given, **told, **fields})


def pool_directory(directory: Path, rows: Sequence[PoolRow]) -> Path:
    """A product with rows and their funnel."""
    directory.mkdir(parents=True)
    write_rows(directory / ROWS, rows)
    write_funnel(directory, [FunnelStep("collected", len(rows))])
    return directory


def model_directory(directory: Path) -> Path:
    """A start product of which only the tokenizer is there: one token for each of WORDS."""
    piece_tokenizer((*WORDS, *(f" {word}" for word in WORDS))).save_pretrained(directory)
    return directory


def order(out: Path, config: Any, **inputs: Path | Sequence[Path]) -> Work[Any]:
    """What a stage function receives."""
    out.mkdir(parents=True)
    paths = {role: (given,) if isinstance(given, Path) else tuple(given) for role, given in inputs.items()}
    return Work("key", config, paths, out, out, out, settings={}, report=lambda done, total, unit: None)


def score(question_id: str, *, correct: bool, sample: int = 0) -> ScoreRow:
    """One judgement, of which only the correctness matters."""
    ends: dict[str, Any] = {"ending": Ending.NATURAL, "answer_end": AnswerEnd.STOP, "thinks_on_tokens": 0}
    tokens: dict[str, Any] = {"thinking_tokens": 10, "answer_tokens": 1, "waits": 0, "sampled_tokens": 12}
    return ScoreRow(question_id, sample, "7", "7", correct, Outcome.ANSWERED, **ends, **tokens)
