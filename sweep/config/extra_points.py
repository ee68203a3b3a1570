"""Points outside the grid: each line of `also` is one point or a few.

    also=['budget.max_thinking_tokens=null budget.waits=1', 'budget.waits=2,4']

A line is a list of overrides separated by spaces. Quotes inside an override follow Hydra's grammar, as in
`budget.continuation="\\n\\nWait"`; an override that begins with a quote is quoted as in a shell. A line may have its
own axes. It replaces the command's axes on the fields that it sets, and is combined with all others.

Lines typed on the command line always run and replace those of the experiment. A line of the experiment is dropped if
the command line sets one of its fields.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

from hydra.core.override_parser.types import Override

from sweep.config.overrides import (
    COMMAND_FIELDS,
    Axis,
    axes_of,
    field_of,
    fixed_overrides,
    read,
    refuse_impossible_axes,
    sets_any,
    single_axis,
)
from sweep.errors import InputError

WORD = re.compile(
    r"""\s*(?:
    (?P<shell> (?=['"]) (?: '[^']*' | "(?:\\.|[^"\\])*" | \\. | [^\s"'\\] )+ )
    | (?P<plain> (?: "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \\. | [^\s"'\\] )+ )
    )(?=\s|\Z)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class ExtraPoints:
    """One parsed line of `also`."""

    text: str
    overrides: tuple[Override, ...]

    def fixed_beside(self, axes: Sequence[Axis]) -> tuple[list[str], list[Axis]]:
        """Its fixed overrides: those for Hydra to compose, and plain values as axes with one choice.

        If a field is set twice or is part of another, Hydra composes all of them, because their order matters.
        """
        fields = [*self.fields, *(axis.field for axis in axes)]
        is_ordered = any(_lies_in(one, other) for one, other in permutations(fields, 2))
        single = {each.input_line: axis for each in self.overrides if not is_ordered and (axis := single_axis(each))}
        return [line for line in fixed_overrides(self.overrides) if line not in single], list(single.values())

    @property
    def axes(self) -> list[Axis]:
        return axes_of(self.overrides)

    @property
    def fields(self) -> list[str]:
        return [field_of(each) for each in self.overrides]

    def sets(self, axis: Axis) -> bool:
        """Whether the line sets the field of this axis, or the group that contains it."""
        return any(_lies_in(axis.field, field) for field in self.fields)


def _lies_in(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}.")


def parse_extra_points(text: str) -> ExtraPoints:
    """Parse a line of `also`. Raises InputError."""
    try:
        overrides = tuple(read(list(_words(text))))
        refuse_impossible_axes(overrides)
    except InputError as error:
        raise InputError(f"also {text!r}: {error}") from None
    if not overrides:
        raise InputError(f"also {text!r}: empty. Write a line such as 'budget.waits=1', or remove it.")
    for each in overrides:
        if sets_any(each, (*COMMAND_FIELDS, "experiment", "hydra")):
            raise InputError(
                f"also {text!r}: {field_of(each)} belongs to the command, not to a point. Set it outside also."
            )
    return ExtraPoints(text, overrides)


def _words(text: str) -> Iterator[str]:
    at = 0
    while text[at:].strip():
        word = WORD.match(text, at)
        if word is None:
            raise InputError("a quote is not closed, or is outside a value. Correct the quotes.")
        at = word.end()
        yield from shlex.split(word["shell"]) if word["shell"] else [word["plain"]]


def select_extra_points(
    lines: Sequence[ExtraPoints], given: Sequence[Override], are_typed: bool
) -> tuple[list[ExtraPoints], list[str]]:
    """The lines that run, and a note on each dropped line with the field that the command line sets."""
    taken = {field_of(each) for each in given}
    against = {line.text: [field for field in line.fields if field in taken] for line in lines if not are_typed}
    notes = [
        f"also {text!r} is dropped: the command line sets {fields[0]}. To run it too, add also=[...] with it."
        for text, fields in against.items()
        if fields
    ]
    return [line for line in lines if not against.get(line.text)], notes
