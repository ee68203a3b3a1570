"""Tell values of unknown type apart. As isinstance, but what is inside keeps a type that a checker can follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard


def is_table(value: object) -> TypeGuard[dict[str, Any]]:
    """A dict, as JSON or YAML gives one: its names are strings."""
    return isinstance(value, dict)


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """A list or a tuple."""
    return isinstance(value, list | tuple)
