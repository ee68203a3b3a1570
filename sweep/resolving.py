"""Interpolations, resolved once for many points: nearly all of the time that a large grid takes goes into them.

That is right as long as no interpolation reads a field that the points set: `seed` is read by many, so a sweep over it
is resolved point by point.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

INTERPOLATION = re.compile(r"\$\{([^${}]*)\}")


def resolved_once(config: DictConfig, fields: Sequence[str]) -> dict[str, Any] | None:
    """The configuration as plain values; None if some interpolation reads one of the fields, or may."""
    for text in _texts(OmegaConf.to_container(config)):
        names = INTERPOLATION.findall(text)
        is_nested = len(names) < text.count("${")
        if is_nested or any(_touches(name.strip(), field) for name in names for field in fields):
            return None
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def replaced(plain: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with other values at dotted fields; what does not change is shared."""
    result = dict(plain)
    for field, value in values.items():
        *parents, name = field.split(".")
        place = result
        for parent in parents:
            place[parent] = dict(place[parent])
            place = place[parent]
        place[name] = value
    return result


def _touches(name: str, field: str) -> bool:
    """Whether what an interpolation names holds the field, or is held by it; a relative or computed name may."""
    if not re.fullmatch(r"\w+(\.\w+)*", name):
        return True
    return name == field or field.startswith(f"{name}.") or name.startswith(f"{field}.")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
