"""The walks of docs/design.md lead through functions that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
WALKS = (
    "From a configuration value to the curve",
    "From an answer to the table",
    "From a stage to its record",
)
STEP = re.compile(
    r"^\d+\. `(?P<file>[\w/]+\.py): (?P<name>[\w.]+)`(?P<rest>.*?)(?=^\d+\. |\Z)", re.MULTILINE | re.DOTALL
)
ALSO = re.compile(r"`([\w.]+)`")


def section(title: str) -> str:
    text = (PROJECT / "docs" / "design.md").read_text(encoding="utf-8")
    found = re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/design.md: no section {title!r}"
    return found[1]


def defined_in(path: Path) -> set[str]:
    """Functions, classes, methods as Class.method, and fields as Class.field."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return names


@pytest.mark.parametrize("title", WALKS)
def test_the_functions_of_a_walk_are_in_the_files_that_it_names(title: str) -> None:
    steps = list(STEP.finditer(section(title)))
    assert len(steps) >= 8
    everywhere = set().union(*(defined_in(PROJECT / step["file"]) for step in steps))
    for step in steps:
        assert step["name"] in defined_in(PROJECT / step["file"]), f"{step['file']}: has no {step['name']}"
        for name in ALSO.findall(step["rest"]):
            if "_" in name or "." in name:  # a function; the others are classes, commands and columns
                assert name in everywhere, f"step {step[0][:40]}: no file of the walk has {name}"


@pytest.mark.parametrize("title", WALKS)
def test_the_table_of_walks_counts_their_files(title: str) -> None:
    text = (PROJECT / "docs" / "design.md").read_text(encoding="utf-8")
    files = {step["file"] for step in STEP.finditer(section(title))}
    row = re.search(rf"^\| {title.replace('From', 'from')} \| (\d+) \|", text, re.MULTILINE)
    assert row, f"docs/design.md: the table has no row for {title!r}"
    assert int(row[1]) == len(files)
