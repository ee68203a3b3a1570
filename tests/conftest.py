"""Golden files: `golden("report/table.csv", text)` holds a whole text against tests/golden/report/table.csv.

A difference fails with a unified diff; `pytest --accept` writes the new text instead, to be reviewed as a diff in git.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="rewrite golden files with what the code makes now")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a whole text with the golden file of that name, or rewrite the file under --accept."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--accept"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        if text != expected:
            before, after = expected.splitlines(), text.splitlines()
            lines = difflib.unified_diff(before, after, f"golden/{name}", "made now", lineterm="")
            accept = f"pytest {request.node.nodeid.partition('::')[0]} --accept"
            pytest.fail("\n".join([*lines, f"If this is right: {accept}"]), pytrace=False)

    return compare
