"""The walks of docs/design.md lead through functions that exist, and the table above them counts their files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SCHEMA = ("s1/config/schema.py", "s1/point.py", "s1/report/findings.py")  # types that the steps mention
WALKS = (
    "From a configuration value to the curve",
    "From an answer to the table",
    "From a stage to its record",
)
STEP = re.compile(
    r"^\d+\. `(?P<file>[\w/]+\.py): (?P<name>[\w.]+)`(?P<rest>.*?)(?=^\d+\. |\Z)", re.MULTILINE | re.DOTALL
)
NAMED = re.compile(r"`([\w.]+)`")


@pytest.fixture(scope="module")
def page() -> str:
    return (PROJECT / "docs" / "design.md").read_text(encoding="utf-8")


def steps_of(page: str, title: str) -> list[re.Match[str]]:
    found = re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"docs/design.md: no section {title!r}"
    return list(STEP.finditer(found[1]))


def defined_in(file: str) -> Iterator[str]:
    """Functions, classes, methods as Class.method, and fields of classes."""
    for node in ast.parse((PROJECT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if not isinstance(node, ast.ClassDef):
            continue
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef):
                yield f"{node.name}.{inner.name}"
            if isinstance(inner, ast.AnnAssign):
                yield ast.unparse(inner.target)


@pytest.mark.parametrize("title", WALKS)
def test_the_functions_of_a_walk_are_in_the_files_that_it_names(page: str, title: str) -> None:
    steps = steps_of(page, title)
    anywhere = {name for file in (*SCHEMA, *(step["file"] for step in steps)) for name in defined_in(file)}
    for step in steps:
        assert step["name"] in set(defined_in(step["file"])), f"{step['file']}: has no {step['name']}"
        missing = set(NAMED.findall(step["rest"])) - anywhere
        assert not missing, f"{step['file']}: {step['name']}: no file of the walk has {missing}"


@pytest.mark.parametrize("title", WALKS)
def test_the_table_of_walks_counts_their_files(page: str, title: str) -> None:
    row = re.search(rf"^\| f{title.removeprefix('F')} \| (\d+) \|", page, re.MULTILINE)
    assert row, f"docs/design.md: the table has no row for {title!r}"
    assert int(row[1]) == len({step["file"] for step in steps_of(page, title)})
