"""Steps of dial traces, judged by arithmetic, and the examples that a process reward model learns from."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from random import Random

import pytest

from s1.config.schema import Dial
from s1.dial import Family, Problem
from s1.records import StepExample, read_rows
from s1.reward.dial_steps import is_right_answer, judged_sentences
from s1.reward.examples import HELD_OUT, examples_of, labelled_steps, reward_examples
from s1.stages import RewardExamplesConfig
from sweep.core.stage import Work

FAMILY = Family(Dial(slip_probability=0.2))
PROBLEM = Problem(11, (7, 2, 8))  # 18, 20 = 0, 8
WRONG = "Dial @11 = 11. Ann +7 = 18. Bob +2 = 1. Cal +8 = 9. So 9."
RECHECK = "Wait, check 2. Dial @11 = 11. Ann +7: +5 = 16 +2 = 18. Bob +2 = 0. Cal +8 = 8. So 8."


@pytest.mark.parametrize(
    ("thinking", "right"),
    [
        (WRONG, [True, True, False, False, False]),
        (RECHECK, [True] * 6),
        (f"{WRONG}\n{RECHECK}", [True, True, False, False, False, *[True] * 6]),
        ("Dial @11 = 11. Ann +7 = 18. Bob +2 = 1. Cal +8 = 8. So 8.", [True, True, False, True, True]),
        ("Dial @11 = 12.", [False]),  # copied wrongly
        ("Dial @11 = 11. Bob +2 = 13.", [True, False]),  # Ann's turn was left out
        ("Dial @11 = 11. Ann +8 = 18.", [True, False]),  # not Ann's turn
        ("Dial @11 = 11. So 11.", [True, False]),  # concluded too early
        ("Dial @11 = 11. Ann +7", [True, False]),  # cut
        ("Dial @11 = 11. Ann +7 = 18. Bob +2 = 0. Cal +8 = 8. Dan +1 = 9.", [True, True, True, True, False]),
        ("Let me think.", [False]),
        ("", []),
    ],
)
def test_a_sentence_is_right_if_it_states_the_true_position(thinking: str, right: list[bool]) -> None:
    assert [each for _, each in judged_sentences(FAMILY, PROBLEM, thinking)] == right


def test_an_answer_is_right_if_it_is_the_final_position() -> None:
    answers = ("Final Answer: 8", " Final Answer: 8.", "Final Answer: 9", "8", "")
    assert [is_right_answer(FAMILY, PROBLEM, each) for each in answers] == [True, True, False, False, False]


def test_a_step_of_several_sentences_is_as_right_as_its_last() -> None:
    assert labelled_steps(FAMILY, PROBLEM, f"{WRONG}\n{RECHECK}", "\n") == [(WRONG, False), (RECHECK, True)]
    assert labelled_steps(FAMILY, PROBLEM, WRONG, ".")[1:4] == [
        ("Ann +7 = 18", True),
        ("Bob +2 = 1", False),
        ("Cal +8 = 9", False),
    ]


def test_every_label_agrees_with_the_positions_in_the_text() -> None:
    """By another route than the judge: the number of the turn tells the position that must stand last in a sentence."""
    for example in islice(examples_of(FAMILY, Random(3), False, "."), 200):
        words = example.question.replace("?", "").split()
        start, turns = int(words[1].strip("@.")), [int(each.strip("+.")) for each in words[3:-2:2]]
        number = 0
        for step, label in zip(example.steps[:-1], example.labels[:-1], strict=True):
            if step.startswith("Wait"):
                number = 0
                continue
            number += not step.startswith(("Dial", "So"))
            assert label == (int(step.split()[-1]) == (start + sum(turns[:number])) % 20), step
        truth = (start + sum(turns)) % 20
        assert example.labels[-1] == (example.steps[-1] == f"Final Answer: {truth}")


def test_no_held_out_problem_is_learnt_from(tmp_path: Path) -> None:
    config = RewardExamplesConfig(FAMILY.dial, examples=60, held_out=20, step_separator=".", seed=0)
    work = Work("key", config, {}, tmp_path, tmp_path, tmp_path, {}, lambda *_: None)
    summary = reward_examples(work)
    learnt, measured = (read_rows(tmp_path / name, StepExample) for name in ("rows.jsonl", HELD_OUT))
    assert (len(learnt), len(measured)) == (60, 20)
    assert not any(_problem(each).is_held_out for each in learnt)
    assert all(_problem(each).is_held_out for each in measured)
    assert any(FAMILY.touches_gap(_problem(each)) for each in learnt)
    assert summary["steps"] == sum(len(each.labels) for each in learnt + measured)


def _problem(example: StepExample) -> Problem:
    words = example.question.replace("?", "").split()
    problem = Problem(int(words[1].strip("@.")), tuple(int(each.strip("+.")) for each in words[3:-2:2]))
    assert problem.question == example.question
    return problem
