"""Rows made by rule: fresh problems to evaluate on, and reasoned examples to train on.

problems -> rows.jsonl   {"id", "problem", "answer"}                 what an lm-eval task reads
curated  -> rows.jsonl   {"id", "question", "thinking", "answer"}    records.Example; only traces with a right answer

The two can share no question: s1/data/dial.py divides the questions of a family for good. Training answers open with
"Final Answer:", as s1's do, so that the model knows the words a forced end appends (conf/dialect/s1.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

from s1.config import ConfigError
from s1.data.dial import Family
from s1.evaluate.rows import Row
from s1.records import Example, write_rows
from s1.stages import Curated, Problems
from sweep.stage import Summary, Work

ROWS = "rows.jsonl"


def problems(work: Work[Problems]) -> Summary:
    """Evaluation rows, the gap included. Raises ConfigError if the family is too small for so many."""
    config = work.config
    family = Family(config.dial)
    if config.problems > family.questions // 8:  # of the quarter held out, half
        raise ConfigError(
            f"task.problems {config.problems}: this family has {family.questions} questions. Ask for an eighth of them."
        )
    drawn = list(islice(family.held_out_problems(Random(config.seed)), config.problems))
    rows = (Row(f"dial-{i:04d}", each.question, str(family.truth(each))) for i, each in enumerate(drawn))
    count = write_rows(work.out / ROWS, rows)
    return {"problems": count, "gap_share": sum(map(family.touches_gap, drawn)) / count}


def curate(work: Work[Curated]) -> Summary:
    """Training examples, the gap avoided."""
    count = write_rows(work.out / ROWS, islice(examples(work.config), work.config.examples))
    return {"examples": count}


def examples(data: Curated) -> Iterator[Example]:
    """Reasoned training problems without end; a trace that ends in a wrong answer is left out."""
    family, random = Family(data.dial), Random(data.seed)
    kept = 0
    for problem in family.training_problems(random):
        reasoning = family.reason(problem, random)
        if reasoning.answer == family.truth(problem):
            answer = f"Final Answer: {reasoning.answer}"
            yield Example(f"dial-{kept:04d}", problem.question, reasoning.thinking, answer)
            kept += 1
