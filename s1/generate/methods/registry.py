"""Registry of methods of test-time compute: every module of this folder that defines one of these constants.

    METHOD    serves a request by itself
    WRAPPER   serves a request on top of the method that serves the rest of it; is tried before all methods

To add a method, write a file here whose METHOD implements `serves`, a yaml in conf/budget, and a test.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from s1.config.schema import Budget, ComputeRequest, ConfigError
from s1.generate import methods as package
from s1.generate.methods.method import Method

CONSTANTS = ("METHOD", "WRAPPER")


def methods() -> tuple[Method, ...]:
    """All methods, sorted by module name."""
    return _named("METHOD", tuple(package.__path__))


def wrappers() -> tuple[Method, ...]:
    """All wrappers, sorted by module name."""
    return _named("WRAPPER", tuple(package.__path__))


def method_of(request: ComputeRequest) -> Method:
    """Find the method that serves a request. Raises ConfigError unless there is exactly one."""
    serving = [each for each in wrappers() if each.serves(request)]
    serving = serving or [each for each in methods() if each.serves(request)]
    if len(serving) != 1:
        names = ", ".join(method.name for method in serving) or "none"
        raise ConfigError(
            f"budget {request.budget}: served by {names} instead of exactly one method."
            " Correct `serves` of the methods in s1/generate/methods."
        )
    return serving[0]


def inserts_warning(budget: Budget) -> bool:
    """Whether traces of this budget get the warning of a thinking format: a method must insert it before a maximum."""
    request = ComputeRequest(budget)
    generated = method_of(request).effective_budget(request)
    return generated.max_thinking_tokens is not None and method_of(ComputeRequest(generated)).warns


def code_roots() -> tuple[str, ...]:
    """Code that a stage reaches through this registry rather than by imports (sweep/source/digest.py)."""
    return tuple(f"{package.__name__}.{name}:{constant}" for name, constant in _found(tuple(package.__path__)))


@cache
def _named(constant: str, places: tuple[str, ...]) -> tuple[Method, ...]:
    return tuple(getattr(_module(name), constant) for name, each in _found(places) if each == constant)


@cache
def _found(places: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Pairs of module name and constant for every method and wrapper."""
    names = sorted(each.name for each in pkgutil.iter_modules(places) if each.name != "registry")
    return tuple((name, each) for name in names for each in CONSTANTS if hasattr(_module(name), each))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{package.__name__}.{name}")
