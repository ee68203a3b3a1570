"""Text that a spreadsheet or Markdown would obey, in every table that is written."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.files.csv_files import csv_text, guarded, read_rows, unguarded, written_rows
from s1.report import format

FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+cmd",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1",
    "'=1",
    "''@x",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_written_with_an_apostrophe_and_read_back_unchanged(text: str) -> None:
    assert guarded(text) == f"'{text}" and unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", ["", "-3.5", "+4", "-1e-05", "max 8", "'quoted'", "a=b", " =1", "it's", "'"])
def test_numbers_and_plain_texts_stay(text: str) -> None:
    assert guarded(text) == text and unguarded(text) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=4))
def test_every_text_comes_back_whatever_it_begins_with(texts: list[str]) -> None:
    written = csv_text(["name"] * len(texts), [texts, texts])
    _, *rows = csv.reader(io.StringIO(written, newline=""))
    assert [[unguarded(cell) for cell in row] for row in rows] == [texts, texts]


def test_a_table_of_ours_gives_labels_back_and_keeps_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    label = '=HYPERLINK("http://evil")\r\n,\'x'
    written = csv_text(("label", "temperature", "n", "gain"), [(label, "-3.5", 8, -3.5), ("@x", "=1", 8, None)])
    path.write_text(written, encoding="utf-8", newline="")
    assert written.splitlines()[-1] == "'@x,'=1,8," and ",-3.5,8,-3.5\n" in written
    assert [row["label"] for row in read_rows(path)] == [label, "@x"]
    assert [(row["temperature"], row["gain"]) for row in read_rows(path)] == [("-3.5", -3.5), ("=1", None)]
    assert written_rows(path)[1] == {"label": "@x", "temperature": "=1", "n": "8", "gain": ""}


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("max 8, x=1", "max 8, x=1"),
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("`rm`", r"\`rm\`"),
        ("<img src=x onerror=y>&amp;", "&lt;img src=x onerror=y>&amp;amp;"),
        ("<|im_end|>", r"&lt;\|im_end\|>"),
        ("two\nlines\x1b[31m", r"two\nlines\x1b[31m"),
        ("end\\", "end\\\\"),
        ("R&D", "R&D"),
    ],
)
def test_a_cell_of_a_markdown_table_stays_one_cell_of_text(text: str, cell: str) -> None:
    assert format.cell(text) == cell


def test_code_and_blocks_keep_what_is_in_them() -> None:
    assert format.code("id-1") == "`id-1`"
    assert format.code("a`b|c") == "`` a`b\\|c ``"
    assert format.indented("one\n# two") == "    one\n    # two"
    assert format.prose("<script>\n# title") == "&lt;script>\\n# title"
