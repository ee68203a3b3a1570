"""The README shows the committed result, and stays short. Its commands and links: tests/test_docs.py."""

from __future__ import annotations

import re
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
RESULT = PROJECT / "results" / "published" / "budget_scan" / "README.md"
LONGEST_LINES = 110
TABLE = re.compile(r"(<!-- table.*?-->\n)(.*?)(<!-- end of table -->)", re.DOTALL)


def table_of(text: str) -> str:
    """The first table of a page."""
    lines = dropwhile(lambda line: not line.startswith("|"), text.splitlines())
    return "\n".join(takewhile(lambda line: line.startswith("|"), lines))


def test_the_table_is_the_committed_result(request: pytest.FixtureRequest) -> None:
    """`pytest tests/unit/test_readme.py --accept` copies it."""
    readme, table = README.read_text(encoding="utf-8"), table_of(RESULT.read_text(encoding="utf-8"))
    if request.config.getoption("--accept"):
        README.write_text(TABLE.sub(lambda found: f"{found[1]}\n{table}\n\n{found[3]}", readme), encoding="utf-8")
        return
    (_, shown, _) = TABLE.findall(readme)[0]
    assert shown.strip() == table, "the README shows another result. Copy it: pytest tests/unit/test_readme.py --accept"


def test_it_stays_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST_LINES
