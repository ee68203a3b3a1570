"""Slow artifacts that several test files share are made once per run, by whichever xdist worker comes first.

    made = made_once(tmp_path_factory, "smoke", lambda place: scan(place))

The folder is shared: tests read it, or copy what they change.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

READY = "ready"


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of this run, filled by `make` unless another worker has done so. What `make` raises is raised.

    A failed attempt leaves its folder for inspection, and the next test that asks tries again in another one.
    """
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(shared / f"{name}.lock"):
        ready = shared / f"{name}.{READY}"
        if not ready.exists():
            attempt = len(list(shared.glob(f"{name}-*")))
            place = shared / f"{name}-{attempt}"
            place.mkdir()
            make(place)
            ready.write_text(place.name, encoding="utf-8")
        return shared / ready.read_text(encoding="utf-8")
