"""Judge the steps of a dial trace by arithmetic. The text may be a rule's (s1/dial.py) or a model's.

A sentence is right if it states the true position after the turns that its pass has read so far, whatever stood before
it. A re-check after "Wait" begins anew, and is right itself:

    Dial @11 = 11. Ann +7 = 18. Bob +2 = 1. Cal +8 = 9. So 9.      right, right, wrong, wrong, wrong
    Wait, check 2. Dial @11 = 11. Ann +7: +5 = 16 +2 = 18. ...     right, right, right
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from s1.dial import NAMES, Family, Problem

SENTENCE = re.compile(r"[^.\n]+(?:\.|$|(?=\n))")
RESTART = re.compile(r"Wait, check \d+\.?")
START = re.compile(r"Dial @(\d+) = (\d+)\.?")
TURN = re.compile(r"(\w+) \+(\d+)(?:: \+\d+ = \d+ \+\d+)? = (\d+)\.?")
CONCLUSION = re.compile(r"So (\d+)\.?")
ANSWER = re.compile(r"Final Answer: ?(\d+)\.?")


def judged_sentences(family: Family, problem: Problem, thinking: str) -> list[tuple[int, bool]]:
    """Each sentence as the offset of its end in `thinking`, and whether it is right."""
    return [
        judgement
        for line in re.finditer(r"[^\n]+", thinking)
        for judgement in _pass(family, problem, line[0], line.start())
    ]


def is_right_answer(family: Family, problem: Problem, answer: str) -> bool:
    """Whether an answer such as "Final Answer: 9" is the true final position."""
    found = ANSWER.fullmatch(answer.strip())
    return found is not None and int(found[1]) == family.truth(problem)


def _pass(family: Family, problem: Problem, line: str, offset: int) -> Iterator[tuple[int, bool]]:
    """The sentences of one pass; an incomplete one at the end of a cut trace counts as a sentence."""
    read = 0
    for sentence in SENTENCE.finditer(line):
        text = sentence[0].strip()
        if turn := TURN.fullmatch(text):
            asked = (NAMES[read], problem.turns[read]) if read < len(problem.turns) else None
            read += 1
            right = (turn[1], int(turn[2])) == asked and int(turn[3]) == _position(family, problem, read)
        elif start := START.fullmatch(text):
            right = int(start[1]) == int(start[2]) == problem.start
        elif conclusion := CONCLUSION.fullmatch(text):
            right = read == len(problem.turns) and int(conclusion[1]) == family.truth(problem)
        else:
            right = RESTART.fullmatch(text) is not None
        yield offset + sentence.end(), right


def _position(family: Family, problem: Problem, turns: int) -> int:
    """The true position after the first turns."""
    return family.truth(Problem(problem.start, problem.turns[:turns]))
