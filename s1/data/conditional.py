"""Conditional length control: training examples whose prompt states how long the trace thinks.

    question, a blank line, instruction                                           (paper, section 3.2 and Figure 10)

    tokens   "Think for up to N tokens."   N = tokens of the trace, rounded up to a power of two
    steps    "Think for up to N steps."    N = steps of the trace, rounded up the same way; blank lines separate steps
    class    "Answer after a short (long) amount of thinking. ..."   long: more tokens than the median of the set

With steps, the trace counts down. Each step has a header that begins with the thinking format's opening delimiter:

    <|im_start|>64 steps left\\nSTEP\\n<|im_start|>63 steps left\\nSTEP\\n<|im_start|>answer\\nANSWER

A trace of 50 steps counts from 64 to 15, not from 50: the prompt says 64 and the first header repeats it, as in the
paper's figure, and "up to" covers the rounding. The count never reaches 0: evaluation cuts the thinking at that header
(paper, Table 12), so training must not contain it.

Output of the stage: rows.jsonl of records.Example.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from statistics import median

from s1.config.data import Control
from s1.config.schema import ConfigError, ThinkingFormat
from s1.models.location import tokenizer_at, tokenizer_location
from s1.models.thinking_format import encode
from s1.records import ROWS, Example, read_rows, write_rows
from s1.stages import ConditionedConfig
from sweep.core.stage import Summary, Work


class Length(Enum):
    """The two classes of class-conditional control."""

    SHORT = "short"
    LONG = "long"


CLASS_TEXTS = {
    Length.SHORT: "Answer after a short amount of thinking. Do not spend excessive time double-checking your work.",
    Length.LONG: "Answer after a long amount of thinking. If you feel like you are finished early, spend the extra time"
    " trying to double-check your work until you are absolutely sure that you have the correct answer.",
}
# As `instruction` writes it: no sign, no leading zero, no thousands separator.
COUNT_INSTRUCTION = re.compile(r"Think for up to (?P<count>[1-9][0-9]{0,17}) (?P<unit>tokens|steps)\.")


def instruction(control: Control, amount: int | Length) -> str:
    """The sentence that requests so many tokens or steps, or a class. Raises ConfigError if the two do not match."""
    if control is Control.CLASS and isinstance(amount, Length):
        return CLASS_TEXTS[amount]
    if control in (Control.TOKENS, Control.STEPS) and isinstance(amount, int) and amount > 0:
        return f"Think for up to {amount} {control.value}."
    raise ConfigError(
        f"control {control.value}, amount {amount!r}: they do not match. Give a positive number for tokens or steps,"
        " or a Length for class."
    )


def amount_of(text: str) -> tuple[Control, int | Length] | None:
    """Parse an instruction, as the inverse of `instruction`; None for any other text."""
    text = text.strip()
    for length, sentence in CLASS_TEXTS.items():
        if text == sentence:
            return Control.CLASS, length
    counted = COUNT_INSTRUCTION.fullmatch(text)
    return (Control(counted["unit"]), int(counted["count"])) if counted else None


def prompted(question: str, control: Control, amount: int | Length) -> str:
    """The user's turn; `task.instruction` gives an evaluation the same one."""
    return f"{question.strip()}\n\n{instruction(control, amount)}"


def conditioned_rows(work: Work[ConditionedConfig]) -> Summary:
    """Add the length instruction to every example. Raises ConfigError for an empty trace."""
    location = tokenizer_location(work.one("model"))
    tokenizer = tokenizer_at(location)
    examples = read_rows(work.one("rows") / ROWS, Example)
    lengths = [len(encode(example.thinking.strip(), tokenizer)) for example in examples]
    if 0 in lengths:
        raise ConfigError(f"example {examples[lengths.index(0)].id}: its trace is empty. Remove it from the pool.")
    config = work.config
    count = write_rows(work.out / ROWS, conditioned(examples, lengths, config.control, config.thinking_format))
    return {"examples": count, "shortest_tokens": min(lengths), "longest_tokens": max(lengths)}


def conditioned(
    examples: Sequence[Example], lengths: Sequence[int], control: Control, thinking_format: ThinkingFormat
) -> list[Example]:
    """The examples with length instructions; `lengths` are the token counts of their traces."""
    match control:
        case Control.STEPS:
            step_start = step_start_of(thinking_format)
            return [_counting_down(example, step_start) for example in examples]
        case Control.TOKENS:
            amounts: list[int | Length] = [power_of_two_from(length) for length in lengths]
        case Control.CLASS:
            middle = median(lengths)
            amounts = [Length.LONG if length > middle else Length.SHORT for length in lengths]
        case Control.NONE:
            raise ConfigError("control none: it needs no conditional set. Remove the stage.")
    return [_prompted(example, control, amount) for example, amount in zip(examples, amounts, strict=True)]


def step_start_of(thinking_format: ThinkingFormat) -> str:
    """The delimiter before each step header. Raises ConfigError for a format in which it would end the thinking."""
    start = thinking_format.thinking_start
    if not start or any(stop in f"{start}1 steps left" for stop in thinking_format.thinking_stops):
        raise ConfigError(
            f"model.thinking_format.thinking_start {start!r}: with data.control steps, it cannot open several steps."
            " Choose thinking_format@model.thinking_format=s1_steps."
        )
    return start


def power_of_two_from(count: int) -> int:
    """The smallest power of two that is at least `count`; `count` is at least 1."""
    return 1 << (count - 1).bit_length()


def steps_of(thinking: str) -> list[str]:
    """The paragraphs of a trace; several blank lines in a row count as one."""
    return [step.strip("\n") for step in thinking.strip().split("\n\n") if step.strip()]


def _counting_down(example: Example, step_start: str) -> Example:
    """Add step headers; the first has no delimiter, since the thinking format itself opens the thinking with it."""
    if step_start in example.thinking:
        raise ConfigError(
            f"example {example.id}: its trace contains {step_start!r}, the delimiter before each step. Drop it with a"
            " pattern in data.filters."
        )
    steps = steps_of(example.thinking)
    budget = power_of_two_from(len(steps))
    parts = [f"{budget - index} steps left\n{step}" for index, step in enumerate(steps)]
    return replace(_prompted(example, Control.STEPS, budget), thinking=f"\n{step_start}".join(parts))


def _prompted(example: Example, control: Control, amount: int | Length) -> Example:
    return replace(example, question=prompted(example.question, control, amount))
