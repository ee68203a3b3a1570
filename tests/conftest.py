"""Golden files: `golden("report/table.csv", text)` holds a whole text against tests/golden/report/table.csv.

A difference fails with a unified diff; `pytest --accept` writes the new text instead, to be reviewed as a diff in git.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
LONGEST = ("test_scan.py", "test_slurm_scan.py", "test_distributed.py", "test_scan_on_vllm.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="rewrite golden files with what the code makes now")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first: begun last, one of them would run alone at the end (`--no-loadscope-reorder`)."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


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
