"""Parses overrides: Hydra's grammar, with our axis function `geomspace` and our escapes.

budget.waits=2        a value, or a group's option       budget.waits=1,2      an axis
budget.waits=geomspace(8,256,32)                         an axis on a log scale:
    value_i = round(low * (high / low) ** (i / (points - 1))), both ends included, as numpy.geomspace
'budget.continuation="\n\nWait"'                         escapes in double quotes (sweep/config/escapes.py)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from sweep.config.escapes import decoded
from sweep.config.messages import syntax_message
from sweep.core.launch import full_path
from sweep.core.spending import LIMIT_FIELDS
from sweep.errors import InputError
from sweep.suggestions import nearest, unknown

MOST = 2**53  # above it, floats skip whole numbers
MOST_VALUES = 10_000  # of an axis, and points of a grid


def refuse_too_many(what: str, count: float) -> None:
    """Raises InputError for an axis or a grid that nobody means to run; called before it is expanded."""
    if not count <= MOST_VALUES:
        raise InputError(f"{what}: {count} points. Give at most {MOST_VALUES}.")


def geomspace(low: object, high: object, points: object) -> list[int]:
    """Integers, evenly spaced on a log scale, strictly increasing. Raises InputError if there are not enough."""
    call = f"geomspace({low},{high},{points})"
    if not (isinstance(low, int) and isinstance(high, int) and isinstance(points, int)):
        raise InputError(
            f"{call}: not whole numbers. Give low, high and the number of points, such as geomspace(8,256,32)."
        )
    if low <= 0:
        raise InputError(f"{call}: a log scale starts above 0. Raise the low end.")
    if points < 2 or low >= high:
        raise InputError(f"{call}: not an increasing axis. Give a low end, a higher one, and at least 2 points.")
    refuse_too_many(call, points)
    if high > MOST:
        raise InputError(f"{call}: the high end is too large. Give at most {MOST}.")
    values = [round(low * (high / low) ** (index / (points - 1))) for index in range(points)]
    different = len(set(values))
    if different < points:
        raise InputError(
            f"{call}: only {different} different whole numbers. Ask for fewer points or raise the low end."
        )
    return values


LAUNCH = "launch"  # the group that selects the launcher, which does not affect results
TRACK = "track"  # the group that selects where results are mirrored, which does not affect them either
NOT_OF_POINTS = ("store", "results", "plan", "yes", "redo", LAUNCH, TRACK)  # fields that do not affect the points
COMMAND_FIELDS = ("pipeline", *NOT_OF_POINTS, "also", "machine_of")  # fields with one value per command
# Left out of a recorded command: with a higher limit it is the same result, and what it has cost so far counts.
UNRECORDED = (*NOT_OF_POINTS, *LIMIT_FIELDS)

HYDRA_PARTS = ("hydra.", "hydra/")


@dataclass(frozen=True)
class Axis:
    field: str
    choices: tuple[str, ...]  # overrides, e.g. "seed=0"
    is_composed: bool  # Hydra composes each choice; otherwise values are set in place


def read(lines: Sequence[str]) -> list[Override]:
    """Parse overrides as typed, escapes included. Raises InputError for what Hydra's grammar does not read."""
    return parse_overrides([_read(line) for line in lines])


def _read(line: str) -> str:
    if not line.lstrip("+~").partition("=")[0].partition("@")[0].strip():
        raise InputError(f"{line}: names no field. Write FIELD=VALUE.")
    try:
        parse_overrides([line])
    except HydraException as error:
        if isinstance(error.__cause__, InputError):  # of geomspace
            raise error.__cause__ from None
        if line.lstrip("+").startswith("also=") and "['" not in line and '["' not in line:
            raise InputError(
                f"{line}: not a list of texts. Quote each line, such as \"also=['seed=1 x=2']\"."
            ) from None
        raise InputError(syntax_message(line, error)) from None
    return with_full_path(decoded(line))


def with_full_path(line: str) -> str:
    """The override with a short path, such as launch.partition=gpu, written in full."""
    prefix, path, rest = re.fullmatch(r"([+~]*)([\w.]*)(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{prefix}{full_path(path)}{rest}"


def parse_overrides(lines: Sequence[str]) -> list[Override]:
    """Overrides whose escapes are decoded, as Hydra's grammar reads them."""
    functions = create_functions()
    # A lambda has no annotations. Hydra would check those of a function, but cannot read them as strings.
    axis: Callable[[object, object, object], ChoiceSweep] = lambda low, high, points: ChoiceSweep(  # noqa: E731
        list=[*geomspace(low, high, points)]
    )
    functions.register("geomspace", axis)
    return OverridesParser(functions, GlobalHydra.instance().config_loader()).parse_overrides(list(lines))


def written(override: Override) -> str:
    """The text of an override."""
    assert override.input_line is not None  # Hydra's parser always sets it
    return override.input_line


def field_of(override: Override) -> str:
    """The field that an override sets; `thinking_format@model.thinking_format=plain` sets model.thinking_format."""
    return override.package or override.key_or_group


def sets_any(override: Override, names: Sequence[str]) -> bool:
    """Whether the override sets one of these fields, or a part of one."""
    return any(override.key_or_group == each or override.key_or_group.startswith(f"{each}.") for each in names)


def fixed_overrides(overrides: Sequence[Override]) -> list[str]:
    return [written(each) for each in overrides if not each.is_sweep_override()]


def axes_of(overrides: Sequence[Override]) -> list[Axis]:
    """The axes among the overrides, in order. Raises InputError for a shuffled axis, which no rerun could repeat."""
    return [_axis(each) for each in overrides if each.is_sweep_override()]


def _axis(override: Override) -> Axis:
    if getattr(override.value(), "shuffle", False):
        raise InputError(
            f"{override.input_line}: shuffles in a different order each time. List the values in the order you want."
        )
    if override.is_interval_sweep():
        raise InputError(f"{override.input_line}: an interval has no list of values. Use range or geomspace.")
    refuse_too_many(str(override.input_line), _length(override))
    choices = tuple(f"{override.get_key_element()}={choice}" for choice in override.sweep_string_iterator())
    if not choices:
        raise InputError(f"{override.input_line}: no values. List the values you want.")
    return Axis(field_of(override), choices, not _is_plain(override, override.sweep_iterator()))


def _length(override: Override) -> float:
    """The number of values of an axis, or what exceeds any limit. Raises InputError for a range that never ends."""
    swept = override.value()
    if not isinstance(swept, RangeSweep):
        return len(swept.list) if isinstance(swept, ChoiceSweep) else 0
    assert swept.start is not None and swept.stop is not None  # Hydra's grammar fills them in
    if swept.step == 0:
        raise InputError(f"{override.input_line}: a range with step 0 never ends. Give another step.")
    length = (swept.stop - swept.start) / swept.step
    return math.ceil(length) if math.isfinite(length) else length


def single_axis(override: Override) -> Axis | None:
    """A plain value as an axis with one choice; None for an axis or an override that Hydra must compose."""
    if override.is_sweep_override() or not _is_plain(override, [override.value()]):
        return None
    return Axis(field_of(override), (written(override),), is_composed=False)


def _is_plain(override: Override, values: Iterable[object]) -> bool:
    """Whether it sets an existing field to values that replace the old one; Hydra would merge mappings."""
    sets = not (override.is_add() or override.is_force_add() or override.is_delete() or override.package)
    is_group = bool(GlobalHydra.instance().config_loader().get_group_options(override.key_or_group))
    return sets and not is_group and not any(isinstance(value, dict) for value in values)


def refuse_two_experiments(given: Sequence[Override]) -> None:
    named = [each for each in given if each.key_or_group == "experiment"]
    if len(named) > 1 or any(each.is_sweep_override() for each in named):
        names = ", ".join(written(each) for each in named)
        raise InputError(f"{names}: a command takes one experiment. Run one command for each.")


def refuse_axes_without_multirun(given: Sequence[Override], is_multirun: bool) -> None:
    swept = [each for each in given if each.is_sweep_override()]
    if swept and not is_multirun:
        raise InputError(f"{swept[0].input_line}: a field with several values makes the command a sweep. Add -m.")


def refuse_impossible_axes(given: Sequence[Override]) -> None:
    """Raises InputError for axes on fields with one value per command, and on fields that are set twice."""
    for line in _impossible(given):
        raise InputError(line)


def _impossible(given: Sequence[Override]) -> Iterator[str]:
    for axis in (each for each in given if each.is_sweep_override()):
        if axis.key_or_group.startswith(HYDRA_PARTS):
            yield f"{axis.input_line}: a Hydra setting has one value per command. Give one."
        if sets_any(axis, COMMAND_FIELDS):
            yield f"{axis.input_line}: several values, but a command has one {field_of(axis)}. Give one."
        again = [written(each) for each in given if each is not axis and field_of(each) == field_of(axis)]
        if again:
            yield f"{axis.input_line} {again[0]}: {field_of(axis)} is set twice. Write one list of all its values."


def as_list(argument: str, field: str) -> str:
    """Turn `redo=scores,traces` into a list, as `redo` is never an axis."""
    name, equals, value = argument.partition("=")
    return argument if name != field or not equals or value.startswith("[") else f"{name}=[{value}]"


def refuse_missing_plus(given: Override) -> None:
    """Raises InputError for a group that is not in the defaults list and needs a `+`."""
    options = _options(given.key_or_group)
    if not given.is_delete() and str(given.value()) in options:
        raise InputError(f"{given.input_line}: not part of this command yet. Write +{given.input_line}.")


def refuse_misspelt_groups(given: Sequence[Override]) -> None:
    """Raises InputError for `poool@data.pool=file`, and for `+experimnt=smoke`, which Hydra would add as a field."""
    groups = GlobalHydra.instance().config_loader().get_group_options("", ObjectType.GROUP)
    for each in given:
        name = each.key_or_group
        if name in groups or "/" in name:
            continue
        near = nearest(name, groups)
        is_meant = near and each.is_add() and not each.is_sweep_override() and str(each.value()) in _options(near)
        if each.package or is_meant:
            raise InputError(unknown(name, "group", name, groups, prefix="+" if each.is_add() else ""))


def is_option(override: Override) -> bool:
    """Whether it chooses an option of a group, such as launch=slurm."""
    return not override.is_delete() and str(override.value()) in _options(override.key_or_group)


def refuse_values_of_groups(given: Sequence[Override]) -> None:
    """Raises InputError for `model=null` and `task=true`, which name no option."""
    for each in given:
        options = [] if each.is_delete() else _options(each.key_or_group)
        if options and not isinstance(each.value(), (str, list, dict)):
            known = ", ".join(sorted(options))
            raise InputError(f"{each.input_line}: not the name of an option. Known here: {known}.")


def _options(group: str) -> list[str]:
    return GlobalHydra.instance().config_loader().get_group_options(group)
