"""CSV files of ours read back: a column has one type, and a key is a text whatever its digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from s1.files.csv_files import FILES, Type
from s1.report.tables import as_written, read_table, shown
from sweep.errors import InputError

HEADING = (
    "label,budget.max_thinking_tokens,model.revision,series,n,accuracy,lo,hi,thinking_tokens,forced_share,mean_waits,"
    "no_answer_share,answers_cut_share,valid,sampled_tokens,key\n"
)
ROW = "max 16,16,1e5,model.revision 1e5,300,0.19,0.15,0.238,16.0,1.0,0.0,0.0,0.0,yes,4800,{key}\n"


def table(folder: Path, *keys: str) -> Path:
    path = folder / "table.csv"
    path.write_text(HEADING + "".join(ROW.format(key=key) for key in keys), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "key", ["729325237762", "1e5000000000", "12345678e123", "0000", "inf", "nan", "1_000", "bfae1f"]
)
def test_a_key_is_a_text_whatever_it_looks_like(tmp_path: Path, key: str) -> None:
    first, second = read_table(table(tmp_path, key, "41687fbbc3b5"))
    assert (first["key"], second["key"]) == (key, "41687fbbc3b5")
    assert first["n"] == 300 and isinstance(first["n"], int)
    assert first["accuracy"] == 0.19 and isinstance(first["thinking_tokens"], float)


def test_an_axis_is_text_so_that_all_of_its_cells_have_one_type(tmp_path: Path) -> None:
    path = table(tmp_path, "a", "b")
    path.write_text(
        path.read_text(encoding="utf-8").replace("max 16,16,1e5,model.revision 1e5", "end,,nan,model.revision nan", 1),
        encoding="utf-8",
    )
    assert [(row["budget.max_thinking_tokens"], row["model.revision"]) for row in read_table(path)] == [
        (None, "nan"),
        ("16", "1e5"),
    ]
    assert [row["point"] for row in shown(path)] == ["model.revision nan, end", "model.revision 1e5, max 16"]


@pytest.mark.parametrize(
    ("column", "cell", "fault"),
    [
        ("accuracy", "inf", "not a number"),
        ("accuracy", "nan", "not a number"),
        ("accuracy", "0,19", "17 cells under 16 names"),
        ("accuracy", "1_9", "not a number"),
        ("accuracy", " 0.19", "not a number"),
        ("n", "300.0", "not a whole number"),
        ("n", "3e2", "not a whole number"),
        ("n", "many", "not a whole number"),
        ("valid", "1", "not yes or no"),
        ("valid", "True", "not yes or no"),
    ],
)
def test_a_cell_that_does_not_fit_its_column_is_refused_by_file_row_and_column(
    tmp_path: Path, column: str, cell: str, fault: str
) -> None:
    path = table(tmp_path, "bfae1ffea911", "41687fbbc3b5")
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[2].split(",")
    cells[lines[0].split(",").index(column)] = cell
    path.write_text("\n".join([*lines[:2], ",".join(cells)]) + "\n", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_table(path)
    assert f"{path}: row 2" in str(refused.value) and fault in str(refused.value)
    assert "cells" in fault or f", {column} {cell!r}" in str(refused.value)


def test_a_short_row_and_a_column_named_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "funnel.csv"
    for text in ("set,step,kept\na,b\n", "set,set\na,b\n", "set,colour\na,b\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"funnel\.csv: (row 1|heading)"):
            read_table(path)


def test_other_files_have_columns_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "funnel.csv"
    path.write_text("set,step,kept,dropped,reason,key\n007,dedup,12,3,,123456789012\n", encoding="utf-8")
    (row,) = read_table(path)
    assert row == {"set": "007", "step": "dedup", "kept": 12, "dropped": 3, "reason": None, "key": "123456789012"}
    assert as_written(path)[0]["reason"] == ""
    path.write_text("set,step,kept,dropped,reason,key\na,dedup,twelve,3,,k\n", encoding="utf-8")
    with pytest.raises(InputError, match="row 1, kept 'twelve': not a whole number"):
        as_written(path)


def test_disputed_answers_and_numbered_audits_are_tables(tmp_path: Path) -> None:
    path = tmp_path / "grader_disagreement.csv"
    path.write_text("label,question_id,sample,our_reading\nmax 4,007,2,'=1\n", encoding="utf-8")
    assert read_table(path) == [{"label": "max 4", "question_id": "007", "sample": 2, "our_reading": "=1"}]
    path = tmp_path / "audit-12.csv"
    path.write_text("what,count,of,verdict\nrows,3,4,\n", encoding="utf-8")
    assert read_table(path) == [{"what": "rows", "count": 3, "of": 4, "verdict": None}]


def test_a_csv_file_without_declared_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.csv: its columns are not declared here\. "):
        read_table(tmp_path / "mine.csv")


def test_every_key_and_label_is_declared_a_text() -> None:
    assert all(columns[name] is Type.TEXT for columns in FILES.values() for name in ("label", "key") if name in columns)
