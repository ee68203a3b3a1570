"""Plain JSON to frozen dataclasses, strictly: unknown fields and wrong types are refused by name, value and mend."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sweep.errors import InputError
from sweep.key_text import key_in

Typed = TypeVar("Typed")


def typed(schema: type[Typed], value: Mapping[str, Any]) -> Typed:
    """Build `schema` from nested mappings. Raises InputError that lists every fault, one a line."""
    try:
        built = _adapter(schema).validate_python(value)
    except ValidationError as error:
        raise InputError("\n".join(dict.fromkeys(_fault(each) for each in error.errors()))) from None
    unknown = list(_unknown(value, dataclasses.asdict(built), ""))
    if unknown:
        raise InputError("\n".join(unknown))
    return built


@cache
def _adapter(schema: type[Typed]) -> TypeAdapter[Typed]:
    """Built once for each schema: building costs a hundred times what checking a point does."""
    return TypeAdapter(schema)


def no_such_field(path: str, known: list[str]) -> str:
    """The one-line complaint about a name that does not exist, with the nearest that does."""
    parent, _, name = path.rpartition(".")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    mend = (
        f"Did you mean {f'{parent}.' if parent else ''}{near[0]}?"
        if near
        else f"Known here: {', '.join(sorted(known))}."
    )
    return f"{path}: no such field. {mend}"


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
