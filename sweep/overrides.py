"""Overrides as they are written: Hydra's grammar, with an axis function of ours, and what they set.

budget.waits=2        a value, or a group's option       budget.waits=1,2      an axis
budget.waits=geomspace(8,256,32)                         an axis by rule (sweep/spacing.py)
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import ChoiceSweep, Override

from sweep.errors import InputError
from sweep.spacing import geomspace


@dataclass(frozen=True)
class Axis:
    field: str
    choices: tuple[str, ...]  # overrides, e.g. "seed=0"
    is_composed: bool  # by Hydra, for every choice; otherwise values are set in place


def parse(lines: Sequence[str]) -> list[Override]:
    functions = create_functions()
    functions.register("geomspace", lambda low, high, points: ChoiceSweep(list=geomspace(low, high, points)))
    return OverridesParser(functions).parse_overrides(list(lines))


def field_of(override: Override) -> str:
    """What an override sets; `dialect@model.dialect=plain` sets model.dialect."""
    return override.package or override.key_or_group


def fields_of(lines: Sequence[str]) -> list[str]:
    return [field_of(each) for each in parse(lines)]


def axes_of(overrides: Sequence[Override]) -> list[Axis]:
    """The axes among the overrides, in their order."""
    loader = GlobalHydra.instance().config_loader()
    return [
        Axis(
            field=field_of(each),
            choices=tuple(f"{each.get_key_element()}={choice}" for choice in each.sweep_string_iterator()),
            is_composed=bool(loader.get_group_options(each.key_or_group)) or not _is_plain(each),
        )
        for each in overrides
        if each.is_sweep_override()
    ]


def _is_plain(override: Override) -> bool:
    """Its values replace one another in place; a mapping would be merged with the one before it."""
    values = override.sweep_iterator()
    return not (override.is_add() or override.is_force_add() or any(isinstance(value, dict) for value in values))


def sets_axis(line: Sequence[str], axis: Axis) -> bool:
    """A point beside the grid names the field of this axis, or the group that it is in."""
    return any(axis.field == field or axis.field.startswith(f"{field}.") for field in fields_of(line))


def split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise InputError(f"also {line!r}: not a command line ({error}). Mend its quotes.") from None


def refuse_two_experiments(given: Sequence[Override]) -> None:
    named = [each for each in given if each.key_or_group == "experiment"]
    if len(named) > 1 or any(each.is_sweep_override() for each in named):
        names = ", ".join(each.input_line for each in named)
        raise InputError(f"{names}: two experiments in one command lose their own axes. Run one command for each.")


def refuse_axes_without_multirun(given: Sequence[Override], is_multirun: bool) -> None:
    swept = [each for each in given if each.is_sweep_override()]
    if swept and not is_multirun:
        raise InputError(f"{swept[0].input_line}: several values are a sweep. Add -m.")


def as_list(argument: str, field: str) -> str:
    """`redo=scores,answers` as the list that is meant, for a field of which nobody wants an axis."""
    name, equals, value = argument.partition("=")
    return argument if name != field or not equals or value.startswith("[") else f"{name}=[{value}]"


def one_line(error: Exception) -> str:
    """Hydra's and OmegaConf's messages span lines; the first carries the fault."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[0].rstrip('.')}. {' '.join(lines[1:3]) or 'See --help.'}"
