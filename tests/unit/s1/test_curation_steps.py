"""What each step of curation keeps, and how the funnel counts it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.config.data import GraderKind, Pattern
from s1.config.schema import ConfigError
from s1.data import difficulty, filter
from s1.data.difficulty import solved_by, solver_rows_of
from s1.data.funnel import Drop, FunnelStep, filter_rows, funnel_step, read_funnel, write_funnel
from s1.evaluate.rows import Row
from s1.records import Question
from tests.support.pools import AIME, PATTERNS, row, score

# -------------------------------------------------------------------------------------------------- funnel


@given(st.lists(st.none() | st.sampled_from(["too long", "too short"]), min_size=1, max_size=20))
def test_kept_and_dropped_add_up(verdicts: list[str | None]) -> None:
    rows = [row(n) for n in range(len(verdicts))]
    if None not in verdicts:
        with pytest.raises(ConfigError, match=f"data step named: keeps none of {len(rows)} rows"):
            filter_rows("named", rows, verdicts)
        return
    kept, step = filter_rows("named", rows, verdicts)
    assert step.kept == len(kept)
    assert step.kept + step.dropped_rows == len(rows)
    assert step.dropped == {reason: verdicts.count(reason) for reason in set(verdicts) - {None}}
    assert kept == [each for each, verdict in zip(rows, verdicts, strict=True) if verdict is None]


def test_a_step_shows_two_rows_of_each_reason_by_how_their_questions_begin(tmp_path: Path) -> None:
    rows = [row(n, f"Question\n  {n} " + "long " * 40) for n in range(5)]
    step = funnel_step("named", rows[:1], [Drop(each, "long") for each in rows[1:]])
    assert [(each.id, each.reason) for each in step.examples] == [("0001", "long"), ("0002", "long")]
    assert step.examples[0].question.startswith("Question 1 long long")
    assert len(step.examples[0].question) == 80
    write_funnel(tmp_path, [FunnelStep("collected", 5), step])
    assert read_funnel(tmp_path) == [FunnelStep("collected", 5), step]


# ------------------------------------------------------------------------------------------------- quality


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"question": " \n"}, "no question"),
        ({"thinking": None}, "no reasoning trace"),
        ({"thinking": " "}, "no reasoning trace"),
        ({"answer": None}, "no answer of the teacher"),
        ({"answer": ""}, "no answer of the teacher"),
        ({"solution": None}, None),  # only what is graded needs a reference
    ],
)
def test_a_row_that_cannot_be_an_example_says_what_it_lacks(fields: dict[str, str | None], reason: str | None) -> None:
    assert filter.incomplete_reason(row(1, **fields)) == reason


@pytest.mark.parametrize(
    ("question", "source", "reason"),
    [
        ("In the figure [asy] draw(a--b); [/asy] find x.", "MATH", "a figure in Asymptote"),
        ("In the figure [asy] draw(a--b); [/asy] find x.", AIME, None),
        ("See ![Image](https://x) and ![Image] too.", AIME, "an image"),
        ("p1. Show this. p2. Show that.", "aops", "several problems"),
        ("p999. Show this.", "aops", "several problems"),
        ("p0. Show this; p1000. and that.", "aops", None),
        ("**p12** Find x.", "aops", "bold numbers"),
        ("**Problem 3** Find x.", "aops", None),  # there is a space inside
        ("**Find** x.", "aops", None),  # no digit follows
    ],
)
def test_the_patterns_of_s1_drop_what_they_did(question: str, source: str, reason: str | None) -> None:
    assert filter.quality_reasons([row(1, question, source=source)], PATTERNS) == [reason]


def test_a_bad_regular_expression_is_named_when_the_config_is_read() -> None:
    with pytest.raises(ConfigError, match=r"data.filters.patterns '\(p1': invalid regular expression \(missing \)"):
        Pattern("several problems", "(p1")


# ----------------------------------------------------------------------------------------------- difficulty


def test_only_rows_whose_solutions_can_be_graded_are_asked() -> None:
    rows = [
        row(1, solution="First 3, then 4.\nSo it is \\boxed{7}."),
        row(2, solution="7"),
        row(3, solution="The proof is left to the reader."),
        row(4, solution=None),
    ]
    assert solver_rows_of(rows, GraderKind.INTEGER) == [
        Row("0001", rows[0].question, "7"),
        Row("0002", rows[1].question, "7"),
    ]


def test_a_row_that_any_solver_gets_right_in_any_sample_is_solved() -> None:
    asked = [Row("a", "A?", "1"), Row("b", "B?", "2"), Row("c", "C?", "3")]
    made = [Question(f"hash of {each.id}", f"Answer this: {each.problem}", each.answer) for each in asked]
    scores = [
        score("hash of c", correct=False),
        score("hash of b", correct=False),
        score("hash of b", correct=True, sample=1),
        score("hash of b", correct=False, sample=2),
        score("hash of a", correct=False),
    ]
    assert solved_by(asked, made, scores) == {"b"}


@pytest.mark.parametrize(
    ("golds", "scored", "message"),
    [
        (["1"], ["0"], "solver_rows of 2 rows: the 1 questions were not made from them"),
        (["1", "3"], ["0", "1"], "solver_rows of 2 rows: the 2 questions were not made from them"),
        (["1", "2"], ["0", "9"], "solver_rows question 9: it has a score but is not among the questions"),
        (["1", "2"], ["0", "0"], "solver_rows: 1 of 2 have scores"),
    ],
)
def test_questions_and_scores_of_other_solver_rows_are_refused(
    golds: Sequence[str], scored: Sequence[str], message: str
) -> None:
    made = [Question(str(n), "?", gold) for n, gold in enumerate(golds)]
    with pytest.raises(ConfigError, match=message):
        solved_by([Row("a", "A?", "1"), Row("b", "B?", "2")], made, [score(each, correct=True) for each in scored])


def test_easy_rows_name_their_solvers_and_rows_that_were_never_asked_the_grader() -> None:
    rows = [row(n) for n in range(4)]
    judged = difficulty.difficulty_reasons(rows, {"0000", "0001", "0002"}, {"7b": {"0001"}, "32b": {"0001", "0002"}})
    assert judged == [
        None,
        "too easy: solved by 7b and 32b",
        "too easy: solved by 32b",
        "no reference that the grader can read",
    ]
