"""Many points of one composed configuration as plain values: nearly all of the time that takes is interpolation.

Most fields that an axis sets are read by no interpolation, and can be put into what was resolved before. Those that are
read, as `seed` is by many, are set first, and what comes of it is resolved once for all points that agree on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

INTERPOLATION = re.compile(r"\$\{([^${}]*)\}")
PATH = re.compile(r"\w+(\.\w+)*")


class Resolver:
    """One configuration, under any values of its fields."""

    def __init__(self, config: DictConfig) -> None:
        self._config = config
        self._texts = [text for text in texts_of(OmegaConf.to_container(config)) if "${" in text]
        self._is_read: dict[str, bool] = {}
        self._known: dict[str, Mapping[str, Any]] = {}  # by the values of the fields that are read

    def resolved(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with these values at dotted fields; what is the same for others is shared with them."""
        read = {field: value for field, value in values.items() if self._reads(field) or "${" in str(value)}
        known = repr(sorted(read.items()))
        if known not in self._known:
            for field, value in read.items():
                OmegaConf.update(self._config, field, value, merge=True)
            self._known[known] = OmegaConf.to_container(self._config, resolve=True, throw_on_missing=True)
        return _replaced(self._known[known], {field: values[field] for field in values if field not in read})

    def _reads(self, field: str) -> bool:
        if field not in self._is_read:
            self._is_read[field] = any(_reads(text, field) for text in self._texts)
        return self._is_read[field]


def _replaced(plain: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
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


def _reads(text: str, field: str) -> bool:
    """Whether an interpolation in a text reads the field; what is nested may read anything."""
    names = INTERPOLATION.findall(text)
    return len(names) < text.count("${") or any(_touches(name.strip(), field) for name in names)


def _touches(name: str, field: str) -> bool:
    """Whether what an interpolation names holds the field, or is held by it; a relative or computed name may."""
    if not PATH.fullmatch(name):
        return True
    return name == field or field.startswith(f"{name}.") or name.startswith(f"{field}.")


def names(text: str, field: str) -> bool:
    """Whether an interpolation in a text names the field; a computed one does if it holds the first word of it."""
    plain = [name.strip() for name in INTERPOLATION.findall(text)]
    if any(PATH.fullmatch(name) and _touches(name, field) for name in plain):
        return True
    is_computed = len(plain) < text.count("${") or not all(map(PATH.fullmatch, plain))
    return is_computed and re.search(rf"\b{re.escape(field.partition('.')[0])}\b", text) is not None


def texts_of(value: Any) -> Iterator[str]:
    """All texts among plain values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)
