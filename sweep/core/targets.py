"""Import modules and functions named as `package.module:name` by a file or command, if their package is allowed.

A stage.json, submission or command line may come from somebody else, and importing a module runs its code. Allowed are
this project, packages outside site-packages (on PYTHONPATH or installed in editable mode), and distributions that
require this one. The standard library and all other installed packages are refused.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from sweep.core.provenance import DISTRIBUTION
from sweep.errors import InputError

OURS = ("sweep", "s1")
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
INSTALLED = ("site-packages", "dist-packages")


def function_of(target: str) -> Callable[..., Any]:
    """The function `package.module:name`. Raises InputError unless that module defines it."""
    found, module = _member(target)
    if not inspect.isfunction(found) or found.__module__ != module:
        raise InputError(f"run {target!r}: not a function of that module. Run the sweep again to rewrite the stage.")
    return found


def schema_of(target: str) -> type[Any]:
    """The dataclass `package.module:name`. Raises InputError for anything else."""
    found, _ = _member(target)
    if not isinstance(found, type) or not dataclasses.is_dataclass(found) or not _is_allowed(_top(found.__module__)):
        raise InputError(f"config_type {target!r}: not a dataclass. Run the sweep again to rewrite the stage.")
    return found


def module_of(name: str, field: str) -> ModuleType | None:
    """Import a module by dotted name; None if it does not exist. Raises InputError if its package is not allowed."""
    if not MODULE.fullmatch(name):
        return None
    top = _top(name)
    if not _is_allowed(top):
        if _found(top) is None:
            return None
        raise InputError(
            f"{field} {name}: not part of this project, so it is not imported. Name a module of s1, of a package on"
            f" PYTHONPATH, or of a distribution that requires {DISTRIBUTION}."
        )
    return importlib.import_module(name)


def _member(target: str) -> tuple[Any, str]:
    name, _, member = target.partition(":")
    try:
        module = module_of(name, "stage function")
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise  # the module exists, but one of its imports is missing
        module = None
    if module is None or not member.isidentifier() or not hasattr(module, member):
        raise InputError(f"{target!r}: not in this code. Run the sweep again with the code that planned it.")
    return getattr(module, member), name


def _top(name: str) -> str:
    return name.partition(".")[0]


@cache
def _is_allowed(top: str) -> bool:
    """Decide by the location of the top-level package, without importing it."""
    if top in OURS:
        return True
    if top in sys.stdlib_module_names or top in sys.builtin_module_names or (place := _found(top)) is None:
        return False
    return not set(place.parts) & set(INSTALLED) or _requires_us(top)


def _found(top: str) -> Path | None:
    """The folder or file of a top-level module; `.` if it has none, None if it does not exist."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    return Path(next(iter(spec.submodule_search_locations or ()), None) or spec.origin or ".")


def _requires_us(top: str) -> bool:
    for name in importlib.metadata.packages_distributions().get(top, ()):
        for requirement in importlib.metadata.requires(name) or ():
            if re.match(rf"{DISTRIBUTION}(?![\w.-])", requirement.replace("_", "-"), re.IGNORECASE):
                return True
    return False
