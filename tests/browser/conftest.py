"""One Chromium for all tests of a worker, and pages that fail a test for console errors and requests elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.chromium import Opener, started

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture
def opener(chromium: Browser) -> Opener:
    return Opener(chromium)
