"""Plain JSON to frozen dataclasses, strictly: unknown fields and wrong types are refused by name, value and fix."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sweep.errors import InputError
from sweep.key_text import key_in
from sweep.suggestions import unknown

Typed = TypeVar("Typed")


def typed(schema: type[Typed], value: Mapping[str, Any]) -> Typed:
    """Build `schema` from nested mappings. Raises InputError that lists every fault, one a line."""
    try:
        built = _adapter(schema).validate_python(value)
    except ValidationError as error:
        raise InputError("\n".join(dict.fromkeys(_fault(each) for each in error.errors()))) from None
    faults = [*_unknown(value, dataclasses.asdict(built), ""), *_not_numbers(value, "")]
    if faults:
        raise InputError("\n".join(faults))
    return built


@cache
def _adapter(schema: type[Typed]) -> TypeAdapter[Typed]:
    """Built once for each schema: building costs a hundred times what checking a point does."""
    return TypeAdapter(schema)


def no_such_field(path: str, known: Sequence[str]) -> str:
    """One line about a field that does not exist: the nearest that does, and all that do."""
    parent, _, name = path.rpartition(".")
    return unknown(path, "field", name, known, prefix=f"{parent}." if parent else "")


def _unknown(given: Any, built: Any, where: str) -> Iterator[str]:
    """Names in the input that the schema silently left out."""
    if not isinstance(given, Mapping) or not isinstance(built, Mapping):
        return
    for name, inner in given.items():
        path = f"{where}{name}"
        if name not in built:
            yield no_such_field(path, [str(each) for each in built])
        else:
            yield from _unknown(inner, built[name], f"{path}.")


def _not_numbers(given: Any, where: str) -> Iterator[str]:
    """NaN, which compares as false with every bound; infinity may be meant as no limit."""
    if isinstance(given, Mapping):
        for name, inner in given.items():
            yield from _not_numbers(inner, f"{where}.{name}" if where else str(name))
    elif isinstance(given, list | tuple):
        for index, inner in enumerate(given):
            yield from _not_numbers(inner, f"{where}[{index}]")
    elif isinstance(given, float) and math.isnan(given):
        yield f"{where} nan: not a number. Write one, or null where none is meant."


def _fault(error: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "value_error":  # raised by the schema itself, already in our form
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return f"{path}: missing. Give it a value."
    if error["type"] in ("tuple_type", "list_type"):
        return f"{path} {_shown(error['input'], path)}: not a list. Write it in brackets: {path}=[...]."
    return f"{path} {_shown(error['input'], path)}: {error['msg'][0].lower()}{error['msg'][1:]}. Correct the value."


def _shown(value: Any, path: str) -> str:
    """A value that was refused, unless it may be a key that was typed into the wrong field."""
    text = str(value)
    return "(not shown, it may be a key)" if key_in(text, path) or key_in(text, "key") else repr(value)
