"""Convert plain JSON to frozen dataclasses; refuse unknown fields, wrong types and values out of range.

The type of a field states its range (sweep/core/ranges.py). NaN, infinity, and true or false in place of a number are
always refused.
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
OUT_OF_RANGE = {  # by pydantic's error type: what is wrong, before the bound; what to do
    "greater_than": ("not above", "Raise it."),
    "greater_than_equal": ("below", "Raise it."),
    "less_than": ("not below", "Lower it."),
    "less_than_equal": ("above", "Lower it."),
}


def typed(schema: type[Typed], value: object) -> Typed:
    """Build `schema` from nested mappings. Raises InputError with one line per fault."""
    if infinite := [
        f"{path} {number}: not a finite number. Correct the value." for path, number in _infinite(value, "")
    ]:
        raise InputError("\n".join(infinite))
    try:
        built: Typed = _adapter(schema).validate_python(value)
    except ValidationError as error:
        raise InputError("\n".join(_faults(error.errors(), value))) from None
    plain = dataclasses.asdict(built)
    if faults := list(_unknown(value, plain, "")) or list(_booleans(value, plain, "")):
        raise InputError("\n".join(faults))
    return built


@cache
def _adapter(schema: type[Any]) -> TypeAdapter[Any]:
    """Cached per schema: building an adapter takes a hundred times as long as checking a point."""
    return TypeAdapter(schema)


def no_such_field(path: str, known: Sequence[str]) -> str:
    """Error line for an unknown field: the nearest field, and all fields."""
    parent, _, name = path.rpartition(".")
    return unknown(path, "field", name, known, prefix=f"{parent}." if parent else "")


def _unknown(given: object, built: object, where: str) -> Iterator[str]:
    """Fields of the input that the schema ignored."""
    if not is_mapping(given) or not is_mapping(built):
        return
    for name, inner in given.items():
        path = f"{where}{name}"
        if name not in built:
            yield no_such_field(path, [str(each) for each in built])
        else:
            yield from _unknown(inner, built[name], f"{path}.")


def _infinite(given: object, where: str) -> Iterator[tuple[str, float]]:
    """Numbers that are NaN or infinite, with their paths."""
    for path, inner in _inner(given, where):
        if isinstance(inner, float) and not math.isfinite(inner):
            yield path, inner
        yield from _infinite(inner, path)


def _booleans(given: object, built: object, where: str) -> Iterator[str]:
    """Errors for true and false in number fields, where they would count as 1 and 0."""
    for path, inner in _inner(given, where):
        converted = _at(built, path.rpartition(".")[2])
        if isinstance(inner, bool) and isinstance(converted, int | float) and not isinstance(converted, bool):
            yield f"{path} {str(inner).lower()}: not a number. Correct the value."
        yield from _booleans(inner, converted, path)


def _at(built: object, name: str) -> object:
    if is_mapping(built):
        return built.get(name)
    return built[int(name)] if is_list(built) else None


def _inner(value: object, where: str) -> Iterator[tuple[str, object]]:
    """Items of a mapping or list, with their paths."""
    if is_mapping(value):
        yield from ((f"{where}.{name}" if where else str(name), inner) for name, inner in value.items())
    elif is_list(value):
        yield from ((f"{where}.{index}", inner) for index, inner in enumerate(value))


def _faults(errors: Sequence[Any], given: object) -> Iterator[str]:
    """One line per place. Of a field that takes several types, pydantic reports each type that did not fit."""
    by_path: dict[str, list[Mapping[str, Any]]] = {}
    for error in errors:
        by_path.setdefault(_path(error, given), []).append(error)
    for path, found in by_path.items():
        empty = [each for each in found if each["type"] == "predicate_failed"]
        lines = {_fault(each, path) for each in empty or found}
        if len(lines) == 1:
            yield lines.pop()
        else:
            yield f"{path} {_shown(found[0]['input'], path)}: not of a type that this field takes. Correct the value."


def _path(error: Mapping[str, Any], given: object) -> str:
    """The place of a fault in the input, without the types that pydantic names between its fields."""
    names: list[str] = []
    for part in error["loc"]:
        if (is_mapping(given) and part in given) or (is_list(given) and isinstance(part, int)):
            names.append(str(part))
            given = _at(given, str(part))
    if error["type"] == "missing":
        names.append(str(error["loc"][-1]))
    return ".".join(names)


def _fault(error: Mapping[str, Any], path: str) -> str:
    if error["type"] in OUT_OF_RANGE:
        bound, (what, fix) = next(iter(error["ctx"].values())), OUT_OF_RANGE[error["type"]]
        return f"{path} {_shown(error['input'], path)}: {what} {bound:g}. {fix}"
    if error["type"] == "value_error":  # raised by the schema, already in our format
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return f"{path}: missing. Give it a value."
    if error["type"] in ("tuple_type", "list_type"):
        return f"{path} {_shown(error['input'], path)}: not a list. Write it in brackets: {path}=[...]."
    if error["type"] == "path_type":
        return f"{path} {_shown(error['input'], path)}: not a path. Give it a value."
    if error["type"] in ("literal_error", "enum"):
        return f"{path} {_shown(error['input'], path)}: {_not_one_of(error)}"
    if error["type"] == "predicate_failed":  # sweep/core/ranges.py: has_text
        return f"{path} {_shown(error['input'], path)}: empty. Give it a value, or null."
    return f"{path} {_shown(error['input'], path)}: {error['msg'][0].lower()}{error['msg'][1:]}. Correct the value."


def _not_one_of(error: Mapping[str, Any]) -> str:
    """The accepted values, and the nearest of them."""
    possible = QUOTED.findall(str(error["ctx"]["expected"]))
    near = nearest(str(error["input"]), possible)
    return f"not one of {', '.join(possible)}. {f'Did you mean {near}?' if near else 'Choose one of them.'}"


def _shown(value: Any, path: str) -> str:
    """The refused value, hidden if it may be a key that was typed into the wrong field."""
    text = str(value)
    return "(not shown, it may be a key)" if key_in(text, path) or key_in(text, "key") else repr(value)
