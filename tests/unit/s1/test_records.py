"""Rows that people write: what a text editor or a spreadsheet does to a file is read, or refused with the way out."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from s1.config.schema import ConfigError
from s1.records import read_objects

LINE = '{"question": "caf\u00e9\u2028?"}\n'.encode()
ROW = {"question": "caf\u00e9\u2028?"}


@pytest.mark.parametrize(
    "content",
    [
        LINE + LINE,
        LINE + LINE[:-1],
        LINE.replace(b"\n", b"\r\n") * 2,
        b"\xef\xbb\xbf" + LINE + LINE,
        LINE + b"\n" + LINE + b"\n  \n",
    ],
    ids=["plain", "no last newline", "windows", "byte order mark", "blank lines"],
)
def test_the_rows_are_what_the_lines_hold(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    assert list(read_objects(tmp_path / "rows.jsonl")) == [ROW, ROW]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LINE + b'{"question": "caf\xe9?"}\n', r"line 2: byte 0xe9 is not UTF-8\. .*iconv -f latin1"),
        (gzip.compress(LINE, mtime=0), r"rows\.jsonl: compressed\. Unpack it: gzip -d\."),
        (LINE.decode().encode("utf-16"), r"rows\.jsonl: UTF-16, not UTF-8\. Convert it: iconv -f utf-16 -t utf-8"),
        (b"[" * 100_000 + b"\n", r"line 1: not JSON"),
        (LINE + b"{\n", r"line 2: not JSON \(.*\)\. Repair or remove the line\."),
        (b"[1]\n", r"line 1: not a JSON object\. Write one object per line\."),
    ],
)
def test_what_is_no_row_is_refused_by_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(ConfigError, match=message) as refusal:
        list(read_objects(tmp_path / "rows.jsonl"))
    assert "\n" not in str(refusal.value)
