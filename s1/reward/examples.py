"""The reward_examples stage: dial traces of an imperfect reasoner, with a label for each step.

rows.jsonl        StepExample, the training examples: no held-out problem among them
held_out.jsonl    StepExample of held-out problems, on which the trained model is measured

Quick turns slip with `dial.slip_probability`, and always over the gap, as the reasoner of s1/dial.py does. Unlike a
training pool of traces, wrong ones are kept, and problems may touch the gap: who judges knows more than who answers.
Half of the traces are cut after a random sentence, as a budget cuts them, and answered by a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

from s1.dial import Family, Problem
from s1.records import ROWS, StepExample, write_rows
from s1.reward.dial_steps import is_right_answer, judged_sentences
from s1.stages import RewardExamplesConfig
from sweep.core.stage import Summary, Work

HELD_OUT = "held_out.jsonl"
CUT_SHARE = 0.5
TRUE_GUESS_SHARE = 0.3  # of the guesses after a cut, so that a cut alone does not mean a wrong answer


def reward_examples(work: Work[RewardExamplesConfig]) -> Summary:
    """Write the labelled traces of both sides of the split."""
    config = work.config
    sides = ((ROWS, config.examples, False), (HELD_OUT, config.held_out, True))
    labels: list[bool] = []
    for name, count, held_out in sides:
        random = Random(f"{config.seed} {name}")
        rows = list(islice(examples_of(Family(config.dial), random, held_out, config.step_separator), count))
        write_rows(work.out / name, rows)
        labels += [label for row in rows for label in row.labels]
    return {
        "examples": config.examples,
        "held_out": config.held_out,
        "steps": len(labels),
        "right_share": sum(labels) / len(labels),
    }


def examples_of(family: Family, random: Random, held_out: bool, separator: str) -> Iterator[StepExample]:
    """An endless stream of labelled traces of one side of the split."""
    for number, problem in enumerate(family.imperfect_problems(random, held_out)):
        thinking, answer = _imperfect_trace(family, problem, random)
        steps = labelled_steps(family, problem, thinking, separator)
        steps.append((answer, is_right_answer(family, problem, answer)))
        yield StepExample(
            f"dial-{number:05d}", problem.question, [step for step, _ in steps], [label for _, label in steps]
        )


def labelled_steps(family: Family, problem: Problem, thinking: str, separator: str) -> list[tuple[str, bool]]:
    """The steps of a trace and whether each is right: so is the last sentence that it completes."""
    judgements = judged_sentences(family, problem, thinking)
    labelled: list[tuple[str, bool]] = []
    end = 0
    for piece in thinking.split(separator):
        end += len(piece) + len(separator)
        complete = [right for place, right in judgements if place <= end]
        if step := piece.strip():
            labelled.append((step, complete[-1] if complete else True))
    return labelled


def _imperfect_trace(family: Family, problem: Problem, random: Random) -> tuple[str, str]:
    reasoning = family.reason(problem, random)
    if random.random() >= CUT_SHARE:
        return reasoning.thinking, f"Final Answer: {reasoning.answer}"
    ends = [end for end, _ in judged_sentences(family, problem, reasoning.thinking)]
    truth = family.truth(problem)
    guess = truth if random.random() < TRUE_GUESS_SHARE else random.randrange(family.dial.positions)
    return reasoning.thinking[: random.choice(ends)], f"Final Answer: {guess}"
