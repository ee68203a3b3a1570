"""Test-time-scaling experiments from Python: `s1.run`, `s1.plan`, `s1.load` (s1/api.py, docs/python-api.md).

Importing this package imports no other module of it until one of the names below is used.
"""

from typing import TYPE_CHECKING

__all__ = ["InputError", "Point", "Result", "RunError", "RunPlan", "StoreError", "Trace", "load", "plan", "run"]

if TYPE_CHECKING:
    from s1.api import InputError, Point, Result, RunError, RunPlan, StoreError, Trace, load, plan, run
else:  # unseen by type checkers, to which a module with a __getattr__ has every name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 's1' has no attribute {name!r}")
        from s1 import api

        return getattr(api, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
