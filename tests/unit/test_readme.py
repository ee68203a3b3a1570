"""The README tells the truth: its table is the result's, its commands and its paths exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
RESULT = PROJECT / "results" / "published" / "budget_scan" / "README.md"
TABLE = re.compile(r"(<!-- table.*?-->\n)(.*?)(<!-- end of table -->)", re.DOTALL)


def table_of(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith("|"))


def test_the_table_is_the_committed_result(request: pytest.FixtureRequest) -> None:
    """`pytest tests/unit/test_readme.py --accept` copies it."""
    readme, table = README.read_text(encoding="utf-8"), table_of(RESULT.read_text(encoding="utf-8"))
    if request.config.getoption("--accept"):
        README.write_text(TABLE.sub(lambda found: f"{found[1]}\n{table}\n\n{found[3]}", readme), encoding="utf-8")
        return
    (_, shown, _) = TABLE.findall(readme)[0]
    assert shown.strip() == table, "the README shows another result. Copy it: pytest tests/unit/test_readme.py --accept"


def test_every_make_target_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert named and named <= targets


def test_every_path_it_links_exists() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8"))
    missing = [path for path in linked if not (PROJECT / path).exists()]
    assert not missing


def test_every_option_it_names_exists() -> None:
    text = README.read_text(encoding="utf-8")
    groups = {path.name for path in (PROJECT / "conf").iterdir() if path.is_dir()}
    for group, options in re.findall(r"\b([a-z]+)=([a-z][a-z0-9_|]*)\b", text):
        for option in options.split("|") if group in groups else []:
            assert (PROJECT / "conf" / group / f"{option}.yaml").exists(), f"{group}={option}"
