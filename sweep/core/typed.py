"""Plain JSON to frozen dataclasses, strictly: unknown fields, wrong types and values out of range are refused.

The range of a field stands beside it (sweep/core/ranges.py). A number that is NaN or infinite is refused whatever its
field,
and so is true or false in place of a number.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sweep.errors import InputError
from sweep.plain_values import is_list, is_mapping
from sweep.redaction import key_in
from sweep.suggestions import nearest, unknown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Typed = TypeVar("Typed", bound="DataclassInstance")
QUOTED = re.compile(r"'([^']*)'")
OUT_OF_RANGE = {  # pydantic's name of a fault: what is wrong, before the bound; what to do
    "greater_than": ("not above", "Raise it."),
    "greater_than_equal": ("below", "Raise it."),
    "less_than": ("not below", "Lower it."),
    "less_than_equal": ("above", "Lower it."),
}


def typed(schema: type[Typed], value: object) -> Typed:
    """Build `schema` from nested mappings. Raises InputError that lists every fault, one a line."""
    if endless := [f"{path} {number}: not a finite number. Correct the value." for path, number in _endless(value, "")]:
        raise InputError("\n".join(endless))
    try:
        built: Typed = _adapter(schema).validate_python(value)
    except ValidationError as error:
        raise InputError("\n".join(dict.fromkeys(_fault(each) for each in error.errors()))) from None
    plain = dataclasses.asdict(built)
    if faults := list(_unknown(value, plain, "")) or list(_truth_values(value, plain, "")):
        raise InputError("\n".join(faults))
    return built


@cache
def _adapter(schema: type[Any]) -> TypeAdapter[Any]:
    """Built once for each schema: building costs a hundred times what checking a point does."""
    return TypeAdapter(schema)


def no_such_field(path: str, known: Sequence[str]) -> str:
    """One line about a field that does not exist: the nearest that does, and all that do."""
    parent, _, name = path.rpartition(".")
    return unknown(path, "field", name, known, prefix=f"{parent}." if parent else "")


def _unknown(given: object, built: object, where: str) -> Iterator[str]:
    """Names in the input that the schema silently left out."""
    if not is_mapping(given) or not is_mapping(built):
        return
    for name, inner in given.items():
        path = f"{where}{name}"
        if name not in built:
            yield no_such_field(path, [str(each) for each in built])
        else:
            yield from _unknown(inner, built[name], f"{path}.")


def _endless(given: object, where: str) -> Iterator[tuple[str, float]]:
    """Numbers that are NaN or infinite, and their places."""
    for path, inner in _inner(given, where):
        if isinstance(inner, float) and not math.isfinite(inner):
            yield path, inner
        yield from _endless(inner, path)


def _truth_values(given: object, built: object, where: str) -> Iterator[str]:
    """true and false where a number is meant: they would count as 1 and 0."""
    for path, inner in _inner(given, where):
        became = _at(built, path.rpartition(".")[2])
        if isinstance(inner, bool) and isinstance(became, int | float) and not isinstance(became, bool):
            yield f"{path} {str(inner).lower()}: not a number. Correct the value."
        yield from _truth_values(inner, became, path)


def _at(built: object, name: str) -> object:
    if is_mapping(built):
        return built.get(name)
    return built[int(name)] if is_list(built) else None


def _inner(value: object, where: str) -> Iterator[tuple[str, object]]:
    """What a mapping or a list holds, each with its place."""
    if is_mapping(value):
        yield from ((f"{where}.{name}" if where else str(name), inner) for name, inner in value.items())
    elif is_list(value):
        yield from ((f"{where}.{index}", inner) for index, inner in enumerate(value))


def _fault(error: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] in OUT_OF_RANGE:
        bound, (what, fix) = next(iter(error["ctx"].values())), OUT_OF_RANGE[error["type"]]
        return f"{path} {_shown(error['input'], path)}: {what} {bound:g}. {fix}"
    if error["type"] == "value_error":  # raised by the schema itself, already in our form
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return f"{path}: missing. Give it a value."
    if error["type"] in ("tuple_type", "list_type"):
        return f"{path} {_shown(error['input'], path)}: not a list. Write it in brackets: {path}=[...]."
    if error["type"] in ("literal_error", "enum"):
        return f"{path} {_shown(error['input'], path)}: {_not_one_of(error)}"
    if error["type"] == "predicate_failed":  # sweep/core/ranges.py: has_text
        return f"{path} {_shown(error['input'], path)}: empty. Give it a value, or null where there is none."
    return f"{path} {_shown(error['input'], path)}: {error['msg'][0].lower()}{error['msg'][1:]}. Correct the value."


def _not_one_of(error: Mapping[str, Any]) -> str:
    """What is possible instead, and the nearest of it."""
    possible = QUOTED.findall(str(error["ctx"]["expected"]))
    near = nearest(str(error["input"]), possible)
    return f"not one of {', '.join(possible)}. {f'Did you mean {near}?' if near else 'Choose one of them.'}"


def _shown(value: Any, path: str) -> str:
    """A value that was refused, unless it may be a key that was typed into the wrong field."""
    text = str(value)
    return "(not shown, it may be a key)" if key_in(text, path) or key_in(text, "key") else repr(value)
