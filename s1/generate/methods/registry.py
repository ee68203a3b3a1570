"""Ways to spend test-time compute, one file each: a module of this folder is found by its being here.

    METHOD    it serves a request by itself
    WRAPPER   it serves a request on top of the method that would serve the rest of it, and comes before all methods

To add one: a file whose METHOD says what it `serves`, a yaml in conf/budget, a test. Nothing else names it.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from s1.config.schema import ComputeRequest, ConfigError
from s1.generate import methods as package
from s1.generate.methods.method import Method

CONSTANTS = ("METHOD", "WRAPPER")


def methods() -> tuple[Method, ...]:
    """All that serve a request by themselves, by the names of their modules."""
    return _named("METHOD", tuple(package.__path__))


def wrappers() -> tuple[Method, ...]:
    """All that serve a request on top of another."""
    return _named("WRAPPER", tuple(package.__path__))


def method_of(request: ComputeRequest) -> Method:
    """The one method that serves a request. Raises ConfigError if none does, or several do."""
    serving = [each for each in wrappers() if each.serves(request)]
    serving = serving or [each for each in methods() if each.serves(request)]
    if len(serving) != 1:
        names = ", ".join(method.name for method in serving) or "none"
        raise ConfigError(f"budget {request.budget}: served by {names}, not by one method. Correct the budget.")
    return serving[0]


def code_roots() -> tuple[str, ...]:
    """What a stage that asks methods reaches without naming them (sweep/source/digest.py)."""
    return tuple(f"{package.__name__}.{name}:{constant}" for name, constant in _found(tuple(package.__path__)))


@cache
def _named(constant: str, places: tuple[str, ...]) -> tuple[Method, ...]:
    return tuple(getattr(_module(name), constant) for name, each in _found(places) if each == constant)


@cache
def _found(places: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Modules, and which of the constants each has."""
    names = sorted(each.name for each in pkgutil.iter_modules(places) if each.name != "registry")
    return tuple((name, each) for name in names for each in CONSTANTS if hasattr(_module(name), each))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{package.__name__}.{name}")
