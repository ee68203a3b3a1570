"""Points beside the grid: the lines of `also`, each a point of its own, or a few.

    also=['budget.max_thinking_tokens=null budget.waits=1', 'budget.waits=2,4']

A line is overrides with spaces between them. Quotes inside an override are those of Hydra's grammar, as in
`budget.continuation="\\n\\nWait"`; an override that begins with a quote is a word of a shell. A line may have axes
of its own. It takes the place of the command's axes on the fields that it sets, and is joined with all others.

What is typed on the command line always runs, in place of the experiment's own lines. A line of the experiment is left
out if the command line sets a field that it sets.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from sweep.config.overrides import (
    COMMAND_FIELDS,
    Axis,
    axes_of,
    field_of,
    fixed_overrides,
    joined_lines,
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
    """One line of `also`, read."""

    text: str
    overrides: tuple[Override, ...]

    def fixed_beside(self, axes: Sequence[Axis]) -> tuple[list[str], list[Axis]]:
        """What it fixes: for Hydra to compose, and plain values, which are axes of one choice.

        All is composed if one field is set twice or lies in another: which of the two counts, their order says.
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
        """It names the field of this axis, or the group that it is in."""
        return any(_lies_in(axis.field, field) for field in self.fields)


def _lies_in(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}.")


def parse_extra_points(text: str) -> ExtraPoints:
    """Raises InputError for what is no point beside a grid."""
    try:
        overrides = tuple(read(list(_words(text))))
        refuse_impossible_axes(overrides)
    except HydraException as error:
        raise InputError(f"also {text!r}: {joined_lines(error)}") from None
    except InputError as error:
        raise InputError(f"also {text!r}: {error}") from None
    if not overrides:
        raise InputError(f"also {text!r}: says nothing. Give a line such as 'budget.waits=1', or take it out.")
    for each in overrides:
        if sets_any(each, (*COMMAND_FIELDS, "experiment", "hydra")):
            raise InputError(
                f"also {text!r}: {field_of(each)} is the command's, not a point's. Set it outside of also."
            )
    return ExtraPoints(text, overrides)


def _words(text: str) -> Iterator[str]:
    at = 0
    while text[at:].strip():
        word = WORD.match(text, at)
        if word is None:
            raise InputError("a quote is not closed, or stands outside of a value. Correct its quotes.")
        at = word.end()
        yield from shlex.split(word["shell"]) if word["shell"] else [word["plain"]]


def select_extra_points(
    lines: Sequence[ExtraPoints], given: Sequence[Override], are_typed: bool
) -> tuple[list[ExtraPoints], list[str]]:
    """The lines that run; and of those left out, which field of the command line stands against them."""
    taken = {field_of(each) for each in given}
    against = {line.text: [field for field in line.fields if field in taken] for line in lines if not are_typed}
    notes = [
        f"also {text!r} is left out: the command line sets {fields[0]}. To run it too, type also=[...] with it."
        for text, fields in against.items()
        if fields
    ]
    return [line for line in lines if not against.get(line.text)], notes
