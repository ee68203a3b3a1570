r"""Each case: the text of an answer, the reference, what is extracted, whether it is right."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.config.data import GraderKind
from s1.evaluate.graders import grade_integer, grade_letter, grade_math, grader_of, reference_of, share

INTEGERS = [
    (r"\boxed{23}", "023", "23", True),
    (r"\boxed{023}", "23", "23", True),
    (r"\boxed{42.0}", "42", "42", True),
    (r"\boxed{\text{42}}", "42", "42", True),
    (r"\boxed{m + n = 42}", "42", "42", True),
    (r"\boxed{42^\circ}", "42", "42", True),
    (r"\boxed{42\%}", "42", "42", True),
    (r"\boxed{204 \text{ minutes}}", "204", "204", True),
    (r"\fbox{42}", "42", "42", True),
    (r"\boxed 42", "42", "42", True),
    (r"\boxed{1{,}000}", "1000", "1000", True),
    ("$42$", "42", "42", True),
    ("x=42", "42", "42", True),
    ("**42**", "42", "42", True),
    (" 42", "42", "42", True),
    ("The answer is 42. I used 3 lemmas.", "42", "42", True),
    ("Answer: 5\nmore", "5", "5", True),
    ("Final Answer: 23", "23", "23", True),
    ("Answer: 7. No.\n**Final Answer:** $8$", "8", "8", True),  # s1 takes all after the first "Answer:"
    (r"\boxed{34}. Wait, that is wrong. \boxed{33}", "33", "33", True),  # math-verify alone reads {33, 34}
    (r"\boxed{33}. Let me check: \boxed{3", "33", "33", True),  # an unclosed box voids nothing
    (r"\boxed{43}", "42", "43", False),
    (r"\boxed{-42}", "42", "-42", False),
    (r"\boxed{\frac{1}{2}}", "12", None, False),
    (r"\boxed{\sqrt{7}}", "7", None, False),
    (r"\boxed{x^2}", "2", None, False),
    (r"\boxed{}", "42", None, False),
    ("42.5", "42", None, False),
    ("33 apples and 4 pears", "4", None, False),
    ("To find it we add 2+3 and then", "2", None, False),
    ("Answer:", "42", None, False),
    ("", "42", None, False),
]

EXPRESSIONS = [
    (r"\boxed{0.5}", r"\frac{1}{2}", "0.5", True),
    (r"\boxed{\dfrac12}", r"\frac{1}{2}", r"\dfrac12", True),
    (r"\boxed{\frac{\sqrt{3}}{2}}", r"\frac{\sqrt{3}}{2}", r"\frac{\sqrt{3}}{2}", True),
    (r"\boxed{\{1, 2\}}", r"\{2, 1\}", r"\{1, 2\}", True),
    (r"\boxed{(3,\pi/2)}", r"\left( 3, \frac{\pi}{2} \right)", r"(3,\pi/2)", True),
    (r"\boxed{3, 2}", "2,3", "3, 2", True),
    (r"\boxed{33\%}", "33", r"33\%", True),
    (r"\boxed{10}", r"10\%", "10", True),
    (r"\boxed{36}", r"\$36", "36", True),
    (r"\boxed{\text{Evelyn}}", "Evelyn", r"\text{Evelyn}", True),  # math-verify alone reads no name
    ("Answer: Evelyn", r"\text{Evelyn}", "Evelyn", True),
    (r"\boxed{C}", r"\text{(C)}", "C", True),
    (r"\boxed{11111111100}", r"11,\! 111,\! 111,\! 100", "11111111100", True),
    (r"\boxed{90}", r"90^\circ", "90", True),
    (r"\boxed{70\sqrt{2}\text{ feet}}", r"70 \sqrt{2}", r"70\sqrt{2}\text{ feet}", True),
    (r"\boxed{y=2x+3}", "2x+3", "y=2x+3", True),
    (r"\boxed{[-2,7]}", r"x \in [-2,7]", "[-2,7]", True),
    (r"The final answer is $x = \frac12$. Since $x>3$, no.", r"\frac{1}{2}", r"$x = \frac12$", True),
    (r" \(\frac{3}{56}\)", r"\frac{3}{56}", r"\(\frac{3}{56}\)", True),
    (" 1/2", r"\frac{1}{2}", "1/2", True),
    (r"\boxed{34}. Wait. So \boxed{33}", "33", "33", True),
    (r"\boxed{\ldots}", r"\ldots", r"\ldots", True),  # math-verify alone cannot read it; equal text is right
    (r"\boxed{15.556}", r"11\sqrt2", "15.556", False),  # a rounded surd is another number
    (r"\boxed{0.1}", r"10\%", "0.1", False),
    (r"\boxed{2\le x<5}", "[2,5)", r"2\le x<5", True),  # math-verify alone holds them apart
    (r"\boxed{(1,2)}", "[1,2]", "(1,2)", False),
    (r"\boxed{12}", "1,2", "12", False),
    (r"\boxed{\text{west}}", r"\text{east}", r"\text{west}", False),
    (r"\boxed{((((}", "2", None, False),
    (r"\boxed{\frac{}{}}", "2", None, False),
    ("I do not know", "2", None, False),
    ("First $x=2$.\nThen $y=3$", "3", None, False),
    ("", "2", None, False),
]

LETTERS = [
    ("B", "B", "B", True),
    ("b", "B", "B", True),
    ("(B)", "B", "B", True),
    ("B)", "B", "B", True),
    ("**B.**", "B", "B", True),
    ("B) it loses two protons", "B", "B", True),
    (r"\boxed{\text{B}}", "B", "B", True),
    (r"\boxed{\textbf{(B)}}", "B", "B", True),
    ("The answer is option B because A fails.", "B", "B", True),
    ("A) no\nB) yes\nFinal Answer: c", "C", "C", True),
    (r"\boxed{A}, or rather \boxed{D}", "D", "D", True),
    (r"\boxed{A}", "D", "A", False),
    (r"\boxed{E}", "A", None, False),
    ("The answer is a mixture", "A", None, False),
    ("A) no\nB) yes", "A", None, False),
    ("Both are true", "A", None, False),
    ("", "A", None, False),  # never a default letter
]


@pytest.mark.parametrize(("text", "gold", "extracted", "correct"), INTEGERS)
def test_integers_are_read_in_every_usual_form(text: str, gold: str, extracted: str | None, correct: bool) -> None:
    grade = grade_integer(text, gold)
    assert (grade.extracted, grade.correct) == (extracted, correct)


@pytest.mark.parametrize(("text", "gold", "extracted", "correct"), EXPRESSIONS)
def test_expressions_are_equal_as_text_or_as_mathematics(
    text: str, gold: str, extracted: str | None, correct: bool
) -> None:
    grade = grade_math(text, gold)
    assert (grade.extracted, grade.correct) == (extracted, correct)


@pytest.mark.parametrize(("text", "gold", "extracted", "correct"), LETTERS)
def test_letters_are_read_in_every_usual_form(text: str, gold: str, extracted: str | None, correct: bool) -> None:
    grade = grade_letter(text, gold)
    assert (grade.extracted, grade.correct) == (extracted, correct)


@pytest.mark.parametrize(
    ("kind", "solution", "reference"),
    [
        (GraderKind.INTEGER, "We add 3 and 4.\nTherefore $x=\\boxed{007}$.", "7"),
        (GraderKind.INTEGER, "42", "42"),
        (GraderKind.INTEGER, "We add 3 and 4.", None),
        (GraderKind.MATH, r"By symmetry, $p = \boxed{\frac{1}{2}}$ as claimed.", r"\frac{1}{2}"),
        (GraderKind.MATH, r"\sqrt{2} + 1", r"\sqrt{2} + 1"),
        (GraderKind.MATH, "The proof is by induction on the number of edges.", None),
        (GraderKind.MATH, "", None),
        (GraderKind.MATH, "The answer is that they meet at noon.", None),
        (GraderKind.MATH, r"\boxed{\text{no solution}}", r"\text{no solution}"),
        (GraderKind.LETTER, "The mixture is racemic.\n\nAnswer: C", "C"),  # as s1 writes GPQA's
        (GraderKind.LETTER, "The mixture is racemic.", None),
    ],
)
def test_the_reference_is_what_a_whole_solution_gives(kind: GraderKind, solution: str, reference: str | None) -> None:
    assert reference_of(kind, solution) == reference
    if reference is not None:
        assert grader_of(kind)(rf"\boxed{{{reference}}}", reference).correct


@given(st.integers(0, 999), st.sampled_from(["{}", r"\boxed{{{}}}", "Answer: {}", "so ${}$.", r"\boxed{{n={}.0}}"]))
def test_an_integer_is_right_in_any_form_and_with_leading_zeros(value: int, form: str) -> None:
    assert grade_integer(form.format(f"{value:03d}"), str(value)).correct
    assert not grade_integer(form.format(value + 1), f"{value:03d}").correct


@given(st.text(st.sampled_from(list(r"\{}$()[]boxedtextfrac answer is:.,-^_/%*12AB" + "\n")), max_size=60))
def test_no_text_breaks_reading_integers_or_letters(text: str) -> None:
    assert grade_integer(text, "1").correct in (True, False)
    assert grade_letter(text, "A").extracted in (None, *"ABCD")


def test_the_share_counts_what_is_neither_none_nor_false() -> None:
    assert share([["0", None], [None, None]]) == 0.25
    assert share([[True, False], [True, True]]) == 0.75


@pytest.mark.parametrize("form", [r"\boxed{%s}", "Answer: $%s$", " $%s$", r"\boxed{7}? No: \boxed{%s}. So \boxed{"])
@pytest.mark.parametrize(("name", "rows"), [("aime24", 30), ("aime25", 30), ("math500", 500)])
def test_every_real_reference_fed_back_is_right(name: str, rows: int, form: str) -> None:
    golds = real_golds(name)
    grade = grade_math if name == "math500" else grade_integer
    assert len(golds) == rows
    assert [gold for gold in golds if not grade(form % gold, gold).correct] == []


@pytest.mark.parametrize("name", ["aime24", "aime25", "math500"])
def test_no_real_reference_takes_a_wrong_answer(name: str) -> None:
    golds = real_golds(name)
    grade = grade_math if name == "math500" else grade_integer
    assert [gold for gold in golds if grade(r"\boxed{98765}", gold).correct] == []


def test_every_real_solution_gives_its_reference() -> None:
    rows = real_rows("math500")
    found = [(reference_of(GraderKind.MATH, row["solution"]), row["answer"]) for row in rows]
    assert [each for each, gold in found if each is None or not grade_math(rf"\boxed{{{each}}}", gold).correct] == []


def real_golds(name: str) -> list[str]:
    return [row["answer"] for row in real_rows(name)]


def real_rows(name: str) -> list[dict[str, str]]:
    directory = os.environ.get("S1_DATA_DIR")
    if directory is None:
        pytest.skip("S1_DATA_DIR not set: real benchmark rows were not graded")
    lines = (Path(directory) / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
