"""The sample of traces that W&B shows: which ones, and what of each. On a real archive of a few questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from s1.records import Outcome
from s1.report.trace_archive import Origin, Piece, TraceArchive, open_archive
from s1.track import trace_rows
from s1.track.trace_rows import HEAD_CHARACTERS, MOST_TRACES, TAIL_CHARACTERS
from tests.support.archives import point, question, trace, write

REFERENCE, OTHER = point(0, "natural end"), point(1, "max 8")


def archive(folder: Path, questions: int, flipped: set[int]) -> TraceArchive:
    """Both points are right but for the flipped questions of the second; question n has n + 1 words of thinking."""
    rows = [
        (
            question(row),
            {
                0: [trace("so " * (row + 1), "7")],
                1: [trace("so " * (row + 1), "8", correct=row not in flipped, cut=True)],
            },
        )
        for row in range(questions)
    ]
    return open_archive(write(folder, [REFERENCE, OTHER], rows))


def test_flips_come_first_then_the_longest_thinking(tmp_path: Path) -> None:
    made = archive(tmp_path / "a", 5, {0, 2})
    rows = [row for row in trace_rows.trace_rows(made, {"": "natural end"}) if row["point"] == "max 8"]
    assert [(row["row"], row["chosen"]) for row in rows] == [
        (0, "flip"),
        (2, "flip"),
        (4, "longest"),
        (3, "longest"),
        (1, "longest"),
    ]
    assert [row["verdict"] for row in rows] == ["wrong", "wrong", "right", "right", "right"]


def test_a_point_shows_at_most_fifty_traces(tmp_path: Path) -> None:
    made = archive(tmp_path / "a", MOST_TRACES + 9, set(range(3, MOST_TRACES + 9)))
    rows = trace_rows.trace_rows(made, {"": "natural end"})
    assert [row["point"] for row in rows] == ["natural end"] * MOST_TRACES + ["max 8"] * MOST_TRACES
    assert {row["chosen"] for row in rows[MOST_TRACES:]} == {"flip"}
    assert rows[0]["row"] == MOST_TRACES + 8  # the reference flips with nothing: its longest


def test_points_that_vote_over_the_same_samples_are_shown_once() -> None:
    votes = replace(REFERENCE, id=2, label="max 8, 4 votes")
    assert trace_rows.distinct_points([REFERENCE, OTHER, votes]) == [REFERENCE, OTHER]


def test_what_the_sweep_wrote_is_marked() -> None:
    pieces = [
        Piece("So 6.", Origin.SAMPLED),
        Piece("Wait", Origin.APPENDED),
        Piece(" no, 7.", Origin.SAMPLED),
        Piece("", Origin.APPENDED),
        Piece("\nFinal Answer:", Origin.CUT),
    ]
    opened, closed = "\u27e6", "\u27e7"
    assert trace_rows.marked(pieces) == (
        f"So 6.{opened}Wait{closed} no, 7.{opened}end suppressed{closed}{opened}cut{closed}\nFinal Answer:"
    )


def test_a_long_thinking_says_what_it_leaves_out() -> None:
    whole = "x" * (HEAD_CHARACTERS + TAIL_CHARACTERS)
    assert trace_rows.shortened(whole) == whole
    assert "\n[1,234 characters left out]\n" in trace_rows.shortened("x" * 1234 + whole)


def test_a_missing_answer_is_not_a_wrong_one() -> None:
    assert trace_rows.verdict_of(trace("so", "", correct=False, outcome=Outcome.NONE)) == "no answer"
