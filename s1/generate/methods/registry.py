"""Ways to spend test-time compute, one file each: a module of this folder that has a `METHOD` is a method.

To add one: a file with a config that `serves` recognises, a yaml in conf/budget, a test. Nothing else names it.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from s1.config import ConfigError
from s1.generate import methods as package
from s1.generate.methods.method import ComputeRequest, Method


@cache
def methods() -> tuple[Method, ...]:
    """All methods, by the names of their modules."""
    names = (found.name for found in pkgutil.iter_modules(package.__path__) if found.name != "registry")
    modules = (importlib.import_module(f"{package.__name__}.{name}") for name in names)
    return tuple(module.METHOD for module in modules if hasattr(module, "METHOD"))


def method_of(request: ComputeRequest) -> Method:
    """The one method that serves a request. Raises ConfigError if none does, or several do."""
    serving = [method for method in methods() if method.serves(request)]
    if len(serving) != 1:
        names = ", ".join(method.name for method in serving) or "none"
        raise ConfigError(f"budget {request.budget}: served by {names}, not by one method. Correct the budget.")
    return serving[0]
