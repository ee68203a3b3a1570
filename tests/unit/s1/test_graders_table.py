r"""The labelled answers of tests/support/graders/, MATH-500's references in many spellings, and monsters."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1.config.data import GraderKind
from s1.evaluate.graders import (
    Grade,
    GradeNote,
    grade_integer,
    grade_letter,
    grade_math,
    integer_results,
    normalised,
)
from s1.evaluate.grading.opinion import second_opinion
from s1.evaluate.grading.reading import complete_statements
from tests.support.graders.formula_endings import FORMULA_ENDINGS
from tests.support.graders.formulas import FORMULAS
from tests.support.graders.integer_endings import INTEGER_ENDINGS
from tests.support.graders.integers import INTEGERS, NONE, RIGHT, WRONG
from tests.support.graders.letter_endings import LETTER_ENDINGS
from tests.support.graders.letters import LETTERS
from tests.support.graders.monsters import MONSTERS

PROMISE_SECONDS = 5  # what any answer may take; an alarm, not a measurement
TABLES = (INTEGERS + INTEGER_ENDINGS, FORMULAS + FORMULA_ENDINGS, LETTERS + LETTER_ENDINGS)
GRADERS = {"integer": grade_integer, "math": grade_math, "letter": grade_letter}

SPELLINGS = [
    r"\boxed{%s}",
    "Final Answer: $%s$",
    "**Answer:** %s",
    "Final Answer: The answer is $%s$.",
    "**Final Answer**\n\n\\[\n%s\n\\]",
    "So we find that $\\boxed{ %s }$ holds, as claimed.",
    "The answer is \\(%s\\).",
    "We compute.\n\n$$\\boxed{%s}$$\n\nI hope this answer is correct.",
    "### Final Answer\n%s",
    "\\boxed{\\text{The answer is }%s}",
    "Final Answer: $\\displaystyle %s$.",
    "Therefore, the final answer is: $\\boxed{%s}$. I hope it is correct.",
]


def verdict(grade: Grade) -> str:
    return RIGHT if grade.correct else NONE if grade.extracted is None else WRONG


@pytest.mark.parametrize(("text", "gold", "expected", "note"), INTEGERS + INTEGER_ENDINGS)
def test_integers_are_judged_as_a_mathematician_would(text: str, gold: str, expected: str, note: str) -> None:
    assert verdict(grade_integer(text, gold)) == expected, note


@pytest.mark.parametrize(("text", "gold", "expected", "note"), FORMULAS + FORMULA_ENDINGS)
def test_formulas_are_judged_as_a_mathematician_would(text: str, gold: str, expected: str, note: str) -> None:
    assert verdict(grade_math(text, gold)) == expected, note


@pytest.mark.parametrize(("text", "gold", "expected", "note"), LETTERS + LETTER_ENDINGS)
def test_letters_are_judged_as_a_mathematician_would(text: str, gold: str, expected: str, note: str) -> None:
    assert verdict(grade_letter(text, gold)) == expected, note


def test_the_labelled_answers_are_many_and_none_is_there_twice() -> None:
    cases = [(text, gold) for table in TABLES for text, gold, *_ in table]
    assert len(cases) >= 500
    for table in TABLES:
        assert len({(text, gold) for text, gold, *_ in table}) == len(table)
        assert {expected for _, _, expected, _ in table} == {RIGHT, WRONG, NONE}


def test_units_keep_answers_apart_in_a_vote() -> None:
    assert normalised("5 cm") != normalised(r"5 \text{ m}")
    assert normalised("5 cm") == normalised("5 centimeters")


def test_equality_is_symmetric() -> None:
    for one, other in (
        ("(-2,1)", "-2,1"),
        ("x=5", "5"),
        (r"1 \pm \sqrt{2}", r"1+\sqrt{2}, 1-\sqrt{2}"),
        ("[1,2]", "(1,2]"),
    ):
        forth, back = grade_math(rf"\boxed{{{one}}}", other), grade_math(rf"\boxed{{{other}}}", one)
        assert forth.correct == back.correct


# ------------------------------------------------------------------------------------------ notes


def test_a_grade_says_why_it_is_no_answer() -> None:
    assert grade_integer("33 or 34", "33").note is GradeNote.AMBIGUOUS
    assert grade_integer("Answer: " + "7" * 5000, "7").note is GradeNote.TOO_LONG
    assert grade_math(r"\boxed{2^{99999999}}", "2").note is GradeNote.TOO_LONG
    assert grade_integer("Answer: 42", "42").note is None


def test_a_comparison_that_takes_too_long_is_no_silent_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    from s1.evaluate import graders

    def never(*_: object) -> bool:
        while True:
            pass

    monkeypatch.setattr(graders, "equal", never)
    monkeypatch.setattr(graders, "CPU_SECONDS", 0.05)
    assert grade_math(r"\boxed{x+1}", "1+x") == Grade("x+1", False, GradeNote.TIMED_OUT)


def test_the_task_files_get_the_notes_of_all_samples() -> None:
    results = integer_results({"answer": "42"}, [["Answer: 42", "33 or 34", "Answer: " + "7" * 5000]])
    assert results["correct"] == [True, False, False]
    assert results["extracted"] == ["42", None, None]
    assert results["notes"] == [None, "ambiguous", "too_long"]


# ------------------------------------------------------------------------------------- cut answers


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("Answer: To find the number of positive integers less than 1000 with ...", ""),
        ("Answer: 12", ""),
        ("Answer: 12.", ""),  # 12.5 may follow
        ("Answer: 12. We", "Answer: 12."),
        ("Answer: 12\n", "Answer: 12\n"),
        ("We add.\nAnswer: 12", "We add.\n"),
        (r"So \boxed{12}", r"So \boxed{12}"),
        (r"So \boxed{12} and \boxed{1", r"So \boxed{12}"),
        (r"\boxed{12}. Let me check whether", r"\boxed{12}."),
        ("It is 5. So x = 5. Then y = 1", "It is 5. So x = 5."),
        ("**Final Answer**\n\n\\[\n211", "**Final Answer**\n\n\\[\n"),
        ("", ""),
    ],
)
def test_of_a_cut_answer_only_what_is_complete_stays(text: str, complete: str) -> None:
    assert complete_statements(text) == complete


@pytest.mark.parametrize("cut", range(1, 60))
def test_no_cut_of_an_answer_gives_another_number(cut: int) -> None:
    text = "We add 123 and 4.\n\nFinal Answer: The total is $1274.5$"
    grade = grade_integer(complete_statements(text[:cut]), "1274")
    assert grade.extracted is None


# ----------------------------------------------------------------------------------- second opinion


def test_math_verify_gives_its_own_reading_and_verdict() -> None:
    ours, theirs = grade_integer(r"\boxed{34}. Wait, no. \boxed{33}", "33"), second_opinion(r"\boxed{33}", "33")
    assert ours.correct and theirs.correct and theirs.extracted == "33"
    assert second_opinion(r"7\sqrt(3)", "7").correct  # why it is a second opinion only
    assert not second_opinion(r"\boxed{43}", "42").correct
    assert second_opinion("The answer is B", "B", GraderKind.LETTER).correct
    assert second_opinion("", "42").extracted is None


def test_a_second_opinion_on_a_monster_is_not_asked_for() -> None:
    assert second_opinion("9" * 5000, "9").too_long
    assert second_opinion(r"\boxed{9^{9^{9^9}}}", "9").too_long


# -------------------------------------------------------------------------------------- real answers


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_reference_of_math500_is_right_in_every_spelling(spelling: str) -> None:
    golds = math500()
    assert len(golds) == 500
    wrong = [
        (spelling % spelled, gold)
        for gold in golds
        for spelled in {gold, respelled(gold)}
        if not grade_math(spelling % spelled, gold).correct
    ]
    assert wrong == []


def test_references_of_other_rows_are_wrong() -> None:
    golds = sorted(set(math500()))
    pairs = [(golds[(place * 7 + step) % len(golds)], gold) for place, gold in enumerate(golds) for step in (1, 50)]
    taken = [(other, gold) for other, gold in pairs if grade_math(rf"\boxed{{{other}}}", gold).correct]
    assert [pair for pair in taken if normalised(pair[0]) != normalised(pair[1]) and pair not in EQUAL_PAIRS] == []


def test_neighbours_of_a_reference_are_wrong() -> None:
    """The same reference with one digit changed."""
    digits = {digit: str((int(digit) + 1) % 10) for digit in "0123456789"}
    changed = [(gold, place) for gold in sorted(set(math500())) for place in range(len(gold)) if gold[place].isdigit()]
    taken = [
        (gold, place)
        for gold, place in changed[::3]
        if grade_math(rf"\boxed{{{gold[:place]}{digits[gold[place]]}{gold[place + 1 :]}}}", gold).correct
    ]
    assert taken == []


EQUAL_PAIRS = {("x=5", "5"), ("5", "x=5")}


def respelled(gold: str) -> str:
    spelled = (
        gold.replace(r"\dfrac", r"\frac").replace(r"\frac", r"\dfrac").replace(r"\left", "").replace(r"\right", "")
    )
    return spelled.replace("(", r"\left( ").replace(")", r" \right)").replace(r"\sqrt{", r"\sqrt {").replace("=", " = ")


def math500() -> list[str]:
    directory = os.environ.get("S1_DATA_DIR")
    if directory is None:
        pytest.skip("S1_DATA_DIR not set: real benchmark rows were not graded")
    lines = (Path(directory) / "math500.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["answer"] for line in lines]


# ------------------------------------------------------------------------------------------ monsters


@pytest.mark.parametrize("name", MONSTERS)
@pytest.mark.parametrize(
    ("kind", "gold"), [("integer", "42"), ("math", r"\sqrt{2}+x"), ("math", "42"), ("letter", "A")]
)
def test_an_answer_made_to_break_things_is_wrong_and_soon_done(name: str, kind: str, gold: str) -> None:
    with promise():
        assert not GRADERS[kind](MONSTERS[name], gold).correct


@pytest.mark.parametrize("name", MONSTERS)
def test_what_is_complete_and_normalised_of_a_monster_is_soon_known(name: str) -> None:
    with promise():
        assert len(complete_statements(MONSTERS[name])) <= len(MONSTERS[name])
        normalised(MONSTERS[name])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [GraderKind.MATH, GraderKind.LETTER])
def test_math_verify_survives_the_monsters(kind: GraderKind) -> None:
    for text in MONSTERS.values():
        assert not second_opinion(text, "B" if kind is GraderKind.LETTER else "1234567", kind).correct


PIECES = [
    *r"\{}$()[]|^_!,;:.=<>+-*/%&'~ xyABi0129",
    *(
        "\n",
        "\\boxed{",
        "\\frac",
        "\\sqrt",
        "\\text{",
        "answer is ",
        "Answer:",
        "**",
        "\\pm",
        "\\left",
        "\\cup",
        "\\infty",
    ),
    *(
        " or ",
        " not ",
        " and ",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "\\\\",
        "\\log",
        "\\sin",
        "\u00bd",
        "\u221a",
        "1,000",
    ),
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_no_text_breaks_a_grader(text: str) -> None:
    for grade in GRADERS.values():
        for gold in ("1", r"\frac{x}{2}", "(1,2]"):
            assert grade(text, gold).correct in (True, False)


@contextmanager
def promise() -> Iterator[None]:
    """Fails a test that takes longer than PROMISE_SECONDS of CPU time."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("the promise is broken")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, PROMISE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
