"""Conditional control: the prompt says how long to think, and the trace it is trained with is that long. Pure.

    question, a blank line, instruction                                           (paper, section 3.2 and Figure 10)

    tokens   "Think for up to N tokens."   N = tokens of the trace, rounded up to a power of two
    steps    "Think for up to N steps."    N = steps of the trace, likewise; a step is what stands between blank lines
    class    "Answer after a short (long) amount of thinking. ..."   long: more tokens than the median of the set

With steps the trace counts down, each step under a header that the thinking format opens:

    <|im_start|>64 steps left\\nSTEP\\n<|im_start|>63 steps left\\nSTEP\\n<|im_start|>answer\\nANSWER

A trace of 50 steps counts from 64 to 15, not from 50. The prompt says 64 and the first header is the model's repetition
of it, as in the paper's figure; "up to" is what the rounding leaves open. The count never reaches 0: that header is
where evaluation cuts the thinking (paper, Table 12), so training must not show it as a step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from statistics import median

from s1.config.data import Control
from s1.config.schema import ConfigError, ThinkingFormat
from s1.records import Example


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
COUNTED = re.compile(r"Think for up to (?P<count>[1-9][0-9]{0,17}) (?P<unit>tokens|steps)\.")


def instruction(control: Control, amount: int | Length) -> str:
    """What the prompt says of the length of thinking: tokens or steps, or a class. Raises ConfigError for another."""
    if control is Control.CLASS and isinstance(amount, Length):
        return CLASS_TEXTS[amount]
    if control in (Control.TOKENS, Control.STEPS) and isinstance(amount, int) and amount > 0:
        return f"Think for up to {amount} {control.value}."
    raise ConfigError(
        f"control {control.value}, amount {amount!r}: do not go together. Tokens and steps take a number, class a"
        " length: choose one of them."
    )


def amount_of(text: str) -> tuple[Control, int | Length] | None:
    """The inverse of `instruction`: what a text asks for; None for any other text."""
    text = text.strip()
    for length, words in CLASS_TEXTS.items():
        if text == words:
            return Control.CLASS, length
    counted = COUNTED.fullmatch(text)
    return (Control(counted["unit"]), int(counted["count"])) if counted else None


def prompted(question: str, control: Control, amount: int | Length) -> str:
    """The user's turn; an evaluation has the same with `task.instruction`."""
    return f"{question.strip()}\n\n{instruction(control, amount)}"


def conditioned(
    examples: Sequence[Example], lengths: Sequence[int], control: Control, thinking_format: ThinkingFormat
) -> list[Example]:
    """The conditional-control set of these examples; `lengths` in tokens of their traces."""
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
            raise ConfigError("control none: no set is made for it. Leave the stage out.")
    return [_prompted(example, control, amount) for example, amount in zip(examples, amounts, strict=True)]


def step_start_of(thinking_format: ThinkingFormat) -> str:
    """What opens a step. Raises ConfigError for a thinking format in which the second step would end the thinking."""
    start = thinking_format.thinking_start
    if not start or any(stop in f"{start}1 steps left" for stop in thinking_format.thinking_stops):
        raise ConfigError(
            f"model.thinking_format.thinking_start {start!r}, with data.control steps: it cannot open one step after"
            " another."
            " Choose thinking_format@model.thinking_format=s1_steps."
        )
    return start


def power_of_two_from(count: int) -> int:
    """The smallest power of two that is not below `count`, which is at least 1."""
    return 1 << (count - 1).bit_length()


def steps_of(thinking: str) -> list[str]:
    """What stands between blank lines; several of them in a row are one."""
    return [step.strip("\n") for step in thinking.strip().split("\n\n") if step.strip()]


def _counting_down(example: Example, step_start: str) -> Example:
    """The first header's delimiter is left to the thinking format, which opens the thinking with it."""
    if step_start in example.thinking:
        raise ConfigError(
            f"example {example.id}: its trace holds {step_start!r}, which is to open a step. Drop it with a pattern of"
            " data.filters."
        )
    steps = steps_of(example.thinking)
    budget = power_of_two_from(len(steps))
    parts = [f"{budget - index} steps left\n{step}" for index, step in enumerate(steps)]
    return replace(_prompted(example, Control.STEPS, budget), thinking=f"\n{step_start}".join(parts))


def _prompted(example: Example, control: Control, amount: int | Length) -> Example:
    return replace(example, question=prompted(example.question, control, amount))
