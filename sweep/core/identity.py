"""Canonical JSON of a stage's identity, and the key, which is its hash.

    key = sha256(canonical JSON of the value)[:12]

The encoder accepts frozen dataclasses, enums, strings, integers, booleans, finite floats, None, lists, tuples and
string-keyed mappings. It refuses everything else: with a permissive fallback (`str(o)`, a default repr), an
object's address or a local path would change the identity of a result.

A field that is added to a config later can declare `field(metadata={"omit_if": value})`. The encoder omits it while it
has that value, so earlier keys stay valid.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, NotRequired, TypeAlias, TypedDict

from sweep.errors import SweepError
from sweep.plain_values import is_list, is_mapping

KEY_CHARACTERS = 12
SHORT_DIGEST_CHARACTERS = 4  # in tables; 12 in data files

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class CodeIdentity(TypedDict):
    """Code of a stage whose code is part of its key."""

    files: Mapping[str, str]  # source digests by path
    packages: Mapping[str, str | None]  # versions


class Identity(TypedDict):
    """Everything that the key of a stage depends on."""

    name: str
    version: int
    config: Json
    inputs: Mapping[str, list[str]]  # keys, by role
    code: NotRequired[CodeIdentity]


class IdentityError(SweepError, TypeError):
    """A value without a stable identity."""


def canonical(value: object, where: str = "config") -> Json:
    """Convert `value` to plain JSON; errors name it as `where`."""
    if isinstance(value, Enum):
        return canonical(value.value, where)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _finite(value, where)
    if is_list(value):
        return [canonical(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if is_mapping(value):
        return {_text(name, where): canonical(item, f"{where}.{name}") for name, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return canonical_fields(value, where)
    raise IdentityError(f"{where} {value!r}: a {type(value).__name__} has no stable identity. {_fix_for(value)}")


def canonical_json(value: object) -> str:
    """One line of JSON with sorted keys; equal values give the same text on every machine."""
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def key_of(value: object) -> str:
    """The first 12 hex digits of the sha256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()[:KEY_CHARACTERS]


def cite(address: str, digest: str) -> str:
    """`scores/41687fbbc3b5@9c1f0a2b3c4d`: the request, and the digest of the bytes it produced."""
    return f"{address}@{digest}"


def shortened(citation: str) -> str:
    """Short form for tables: `scores/41687fbbc3b5@9c1f`."""
    address, at, digest = citation.rpartition("@")
    return f"{address}{at}{digest[:SHORT_DIGEST_CHARACTERS]}"


def canonical_fields(value: Any, where: str = "config") -> dict[str, Json]:
    """Convert a dataclass to plain JSON."""
    kept: dict[str, Json] = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if "omit_if" in field.metadata and item == field.metadata["omit_if"]:
            continue
        kept[field.name] = canonical(item, f"{where}.{field.name}")
    return kept


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise IdentityError(f"{where} {value!r}: not a finite number. Use None for a missing value.")
    return value


def _text(name: object, where: str) -> str:
    if not isinstance(name, str):
        raise IdentityError(f"{where} key {name!r}: not a string. Name the entries of a mapping with strings.")
    return name


def _fix_for(value: object) -> str:
    if isinstance(value, PurePath):
        return "Declare the file as an input of the stage: then its content is hashed, not its path."
    if isinstance(value, set | frozenset):
        return "Use a sorted tuple."
    return "Use a frozen dataclass, an enum, a string, a number, a list or a mapping."
