"""Requirements of each tier. If one is missing, tests are skipped with the command that installs it, or fail in CI."""

from __future__ import annotations

import os
import warnings

import pytest


def need(is_there: object, missing: str, install: str) -> None:
    """Skip the tests that ask for this, with a warning, unless it is there; where CI=true, fail them."""
    if is_there:
        return
    reason = f"{missing}. To run these tests: {install}"
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI runs every tier)", pytrace=False)
    warnings.warn(f"SKIPPED: {reason}", stacklevel=2)
    pytest.skip(reason)
