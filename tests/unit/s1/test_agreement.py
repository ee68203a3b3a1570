"""Two engines side by side: which traces differ, and from which token on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s1.records import AnswerEnd, Ending, TraceRow, write_rows
from s1.report.agreement import agreements, first_difference
from s1.report.findings import FirstDifference


def answer(question: str, *ids: int, text: str = "7") -> TraceRow:
    segments = [
        {"part": "thinking", "origin": "sampled", "ids": list(ids[:2]), "ended_by": [9]},
        {"part": "answer", "origin": "sampled", "ids": list(ids[2:]), "ended_by": None},
    ]
    return TraceRow(question, 0, 5, segments, "", text, Ending.NATURAL, 2, 1, AnswerEnd.STOP, 0, 0, 3)


def stored(directory: Path, *rows: TraceRow) -> Path:
    directory.mkdir()
    write_rows(directory / "traces.jsonl", rows)
    return directory


@pytest.mark.parametrize(
    ("one", "other", "place"),
    [([1, 2], [1, 2], None), ([1, 2], [1, 3], 1), ([1, 2], [1, 2, 3], 2), ([], [4], 0), ([5], [4, 5], 0)],
)
def test_the_first_difference_is_a_token_that_differs_or_is_missing(
    one: list[int], other: list[int], place: int | None
) -> None:
    assert first_difference(one, other) == first_difference(other, one) == place


def test_points_that_differ_in_the_engine_alone_are_compared(tmp_path: Path) -> None:
    """Token 2 is the stop after two thinking tokens, so an answer begins at token 3."""
    one = stored(tmp_path / "one", answer("a", 1, 2, 3), answer("b", 1, 2, 3), answer("c", 1, 2, 3))
    other = stored(
        tmp_path / "other", answer("a", 1, 2, 3), answer("b", 1, 2, 4), replace(answer("c", 7, 2, 3), answer="8")
    )
    budgets = [("max 4", {"budget.max_thinking_tokens": 4, "engine": engine}) for engine in ("transformers", "vllm")]
    alone = ("max 8", {"budget.max_thinking_tokens": 8, "engine": "vllm"}, one)
    (found,) = agreements([(*budgets[0], one), alone, (*budgets[1], other)])
    assert (found.label, found.engines, found.traces) == ("max 4", ["transformers", "vllm"], 3)
    assert found.first_differences == [FirstDifference(0, "c", 0), FirstDifference(3, "b", 0)]
    assert found.other_answers == 1


def test_points_without_an_engine_axis_are_not_read(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert not list(agreements([("max 4", {"seed": 0}, nowhere), ("max 4", {"seed": 1}, nowhere)]))
