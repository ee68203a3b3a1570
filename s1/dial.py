"""Dial problems: a task that a model learns in a minute, and on which longer thinking and "Wait" help by design.

Several people turn a dial with `positions` marks one after another; what is its final position? A trace has one or more
passes, one per line. A quick turn recalls one fact, (position, turn) -> position; a careful one splits a large turn
into two steps.

    Dial @11. Ann +7 Bob +2 Cal +8. Dial now?                                             question
    Dial @11 = 11. Ann +7 = 18. Bob +2 = 1. Cal +8 = 9. So 9.                             quick; Bob's turn is wrong
    Wait, check 2. Dial @11 = 11. Ann +7: +5 = 16 +2 = 18. Bob +2 = 0. Cal +8 = 8. So 8.  the first 2, 4, ... careful

The start is written @11 so that a small model, when it copies it, can distinguish it from other positions in a trace.

Why a budget matters: an early cut leaves turns unread. Why "Wait" matters: a share of the facts with large turns, the
gap, occurs in no training problem, so a quick turn over one fails at test time; a careful turn splits it into practiced
facts. Traces are kept only if their answer is correct, as in distillation; errors inside a trace are not marked.

The split is permanent: the hash of a question holds out one in four for evaluation, and training never draws these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from s1.config.schema import Dial

NAMES = ("Ann", "Bob", "Cal", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Jon", "Kim", "Leo")
WORDS = ("Dial", "now", "So", "Wait", "check", *NAMES)
MARKS = (".", ",", ":", "?", "=")
HELD_OUT_OF_256 = 64


@dataclass(frozen=True)
class Problem:
    start: int
    turns: tuple[int, ...]

    @property
    def question(self) -> str:
        turns = " ".join(f"{name} +{turn}" for name, turn in zip(NAMES, self.turns, strict=False))
        return f"Dial @{self.start}. {turns}. Dial now?"

    @property
    def is_held_out(self) -> bool:
        """Whether the problem is reserved for evaluation; depends only on the question, not on seeds or counts."""
        return hashlib.sha256(self.question.encode("ascii")).digest()[0] < HELD_OUT_OF_256


@dataclass(frozen=True)
class Reasoning:
    thinking: str
    answer: int


class Family:
    """All problems of one `Dial` configuration, and their reasoning traces."""

    def __init__(self, dial: Dial) -> None:
        self.dial = dial
        large = range(dial.practised_turn_max + 1, dial.turn_max + 1)
        facts = [(position, turn) for position in range(dial.positions) for turn in large]
        self.gap = frozenset(Random(dial.gap_seed).sample(facts, round(dial.gap_share * len(facts))))

    @property
    def questions(self) -> int:
        """The number of different questions, held out or not."""
        dial = self.dial
        return dial.positions * sum(dial.turn_max**turns for turns in range(dial.turns_min, dial.turns_max + 1))

    def truth(self, problem: Problem) -> int:
        return (problem.start + sum(problem.turns)) % self.dial.positions

    def touches_gap(self, problem: Problem) -> bool:
        """Whether any turn is a fact that never occurs in training."""
        position = problem.start
        for turn in problem.turns:
            if (position, turn) in self.gap:
                return True
            position = self._turned(position, turn)
        return False

    def held_out_problems(self, random: Random) -> Iterator[Problem]:
        """An endless stream of evaluation problems without duplicates; they touch the gap as often as by chance."""
        seen = set()
        while True:
            problem = self._draw(random)
            if problem.is_held_out and problem not in seen:
                seen.add(problem)
                yield problem

    def training_problems(self, random: Random) -> Iterator[Problem]:
        """An endless stream of training problems: none is held out, none touches the gap."""
        while True:
            problem = self._draw(random)
            if not problem.is_held_out and not self.touches_gap(problem):
                yield problem

    def imperfect_problems(self, random: Random, held_out: bool) -> Iterator[Problem]:
        """An endless stream of problems of one side of the split; they touch the gap as often as by chance."""
        while True:
            problem = self._draw(random)
            if problem.is_held_out == held_out:
                yield problem

    def reason(self, problem: Problem, random: Random) -> Reasoning:
        """One trace of an imperfect reasoner, with errors in quick turns and re-checks after a "Wait"."""
        waits = 0
        while waits < self.dial.waits_max and random.random() < self.dial.wait_probability:
            waits += 1
        careful = [min(number * self.dial.careful_turns, self.dial.turns_max) for number in range(waits + 1)]
        passes = [self._pass(problem, count, random) for count in careful]
        separator = "\n\n" if self.dial.blank_lines else "\n"
        return Reasoning(separator.join(each.thinking for each in passes), passes[-1].answer)

    def pieces(self) -> tuple[str, ...]:
        """Every word, mark and number in these problems, with and without a leading space."""
        largest = max(self.dial.positions - 1, self.dial.turns_max)
        numbers = [str(number) for number in range(largest + 1)]
        starts = [f"@{position}" for position in range(self.dial.positions)]
        turns = [f"+{turn}" for turn in range(self.dial.turn_max + 1)]
        bare = (*WORDS, *MARKS, *numbers, *starts, *turns)
        return (*bare, *(f" {piece}" for piece in bare), "\n")

    def _draw(self, random: Random) -> Problem:
        dial = self.dial
        count = random.randint(dial.turns_min, dial.turns_max)
        turns = tuple(random.randint(1, dial.turn_max) for _ in range(count))
        return Problem(random.randrange(dial.positions), turns)

    def _pass(self, problem: Problem, careful: int, random: Random) -> Reasoning:
        """One pass over all turns, the first `careful` of them careful."""
        position = problem.start
        sentences = [f"Wait, check {careful}."] if careful else []
        sentences.append(f"Dial @{position} = {position}.")
        for number, (name, turn) in enumerate(zip(NAMES, problem.turns, strict=False)):
            if number < careful:
                sentence, position = self._careful_turn(name, position, turn)
            else:
                sentence, position = self._quick_turn(name, position, turn, random)
            sentences.append(sentence)
        sentences.append(f"So {position}.")
        return Reasoning(" ".join(sentences), position)

    def _quick_turn(self, name: str, position: int, turn: int, random: Random) -> tuple[str, int]:
        slips = (position, turn) in self.gap or random.random() < self.dial.slip_probability
        after = random.randrange(self.dial.positions) if slips else self._turned(position, turn)
        return f"{name} +{turn} = {after}.", after

    def _careful_turn(self, name: str, position: int, turn: int) -> tuple[str, int]:
        first, after = self.dial.practised_turn_max, self._turned(position, turn)
        if turn <= first:
            return f"{name} +{turn} = {after}.", after
        return f"{name} +{turn}: +{first} = {self._turned(position, first)} +{turn - first} = {after}.", after

    def _turned(self, position: int, turn: int) -> int:
        return (position + turn) % self.dial.positions
