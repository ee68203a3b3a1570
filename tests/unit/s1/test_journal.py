"""Replies that were paid for: no accident to their file changes one, loses a whole one, or asks for it again."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from s1.config.schema import ConfigError
from s1.data.chat_requests import distil
from s1.data.replies import Reply
from s1.data.reply_journal import REPLIES_FILE, ReplyJournal
from s1.files.checked_lines import LineWriter, checked_line, value_of
from s1.records import read_rows
from tests.support.teachers import THINKS, lay_out, teaching, work

REPLIES = [Reply(f"r{i}", "m\u00e9", "stop", f"six {i}", f"is {i}\u2028", None, {"prompt_tokens": i}) for i in range(3)]


def kept(directory: Path) -> list[Reply]:
    with ReplyJournal(directory) as journal:
        return list(journal.replies.values())


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    with ReplyJournal(tmp_path) as journal:
        for each in REPLIES:
            journal.add(each)
    return (tmp_path / REPLIES_FILE).read_bytes().splitlines(keepends=True)


def test_any_flipped_bit_costs_its_line_and_no_other(tmp_path: Path, lines, caplog) -> None:
    """But for a newline, which two lines share."""
    first, second, third = lines
    for place in range(len(second) - 1):
        for bit in (0, 2, 4, 6):
            flipped = second[:place] + bytes([second[place] ^ (1 << bit)]) + second[place + 1 :]
            (tmp_path / REPLIES_FILE).write_bytes(first + flipped + third)
            caplog.clear()
            assert kept(tmp_path) == [REPLIES[0], REPLIES[2]]
            assert "line 2" in caplog.text
            assert (tmp_path / REPLIES_FILE).read_bytes() == first + flipped + third, "nothing is removed"


@pytest.mark.parametrize(
    "line",
    [
        b"\n".join([b"not a line", b""]),
        b"\xff\xfe\x00\n",
        b'{"id": "r1"}\n',
        b"[1]\n",
        checked_line([1]),
        checked_line({"id": "r1"}),
        checked_line({**asdict(REPLIES[1]), "more": 1}),
        checked_line({**asdict(REPLIES[1]), "id": 1}),
        checked_line({**asdict(REPLIES[1]), "usage": "free"}),
    ],
    ids=str,
)
def test_a_damaged_line_is_skipped_and_named_by_number(tmp_path: Path, lines, caplog, line: bytes) -> None:
    (tmp_path / REPLIES_FILE).write_bytes(lines[0] + line + lines[2])
    assert kept(tmp_path) == [REPLIES[0], REPLIES[2]]
    assert "answers.jsonl line 2: damaged; the questions are sent again." in caplog.text


def test_lines_of_an_earlier_version_are_read_and_the_log_says_so(tmp_path: Path, lines, caplog) -> None:
    old = json.dumps(asdict(REPLIES[0]), ensure_ascii=False).encode() + b"\n"
    (tmp_path / REPLIES_FILE).write_bytes(old + lines[1])
    assert kept(tmp_path) == REPLIES[:2]
    assert "using 1 lines of an earlier version, without checksums" in caplog.text


def test_of_two_replies_to_one_question_the_first_counts(tmp_path: Path, lines, caplog) -> None:
    again = checked_line(asdict(replace(REPLIES[0], content="something else")))
    (tmp_path / REPLIES_FILE).write_bytes(lines[0] + lines[1] + again)
    assert kept(tmp_path) == REPLIES[:2]
    assert "line 3: a second reply to a question; the first is used." in caplog.text


def test_blank_lines_and_an_empty_file_are_no_damage(tmp_path: Path, lines, caplog) -> None:
    (tmp_path / REPLIES_FILE).write_bytes(lines[0] + b"\n" + lines[1] + b"\n")
    assert kept(tmp_path) == REPLIES[:2]
    (tmp_path / REPLIES_FILE).write_bytes(b"")
    assert kept(tmp_path) == []
    assert not caplog.records


def test_a_directory_in_its_place_is_set_aside(tmp_path: Path, caplog) -> None:
    (tmp_path / REPLIES_FILE).mkdir()
    with ReplyJournal(tmp_path) as journal:
        journal.add(REPLIES[0])
    assert kept(tmp_path) == REPLIES[:1]
    assert "Renamed it to answers.damaged.jsonl" in caplog.text


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every file")
def test_a_journal_that_may_not_be_read_is_not_paid_for_again(tmp_path: Path, lines) -> None:
    (tmp_path / REPLIES_FILE).chmod(0)
    with pytest.raises(ConfigError, match=r"replies that were paid for\. Make it readable"):
        ReplyJournal(tmp_path)


class FillingUp:
    """A disk that takes so many bytes and no more."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes

    def write_to(self, real: Callable[[bytes], int]) -> Callable[[bytes], int]:
        def write(content: bytes) -> int:
            if self.room_bytes == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken = real(content[: self.room_bytes])
            self.room_bytes -= taken
            return taken

        return write


class _Disk:
    """A file on it."""

    def __init__(self, file, disk: FillingUp) -> None:
        self.write = disk.write_to(file.write)
        self.fileno, self.close = file.fileno, file.close


@pytest.mark.parametrize("room", [0, 1, 20, 100])
def test_a_line_after_a_full_disk_is_not_glued_to_the_torn_one(tmp_path: Path, lines, room: int) -> None:
    disk = FillingUp(room)
    with ReplyJournal(tmp_path) as journal:
        lines_file: Any = journal._lines
        lines_file._file = _Disk(lines_file._file, disk)
        with pytest.raises(OSError, match="No space left"):
            journal.add(replace(REPLIES[0], id="torn"))
        assert "torn" not in journal.replies
        disk.room_bytes = 10_000  # somebody makes room
        journal.add(replace(REPLIES[0], id="after"))
    assert [each.id for each in kept(tmp_path)] == ["r0", "r1", "r2", "after"]


def test_a_torn_line_of_a_killed_process_stays_alone(tmp_path: Path, lines) -> None:
    (tmp_path / REPLIES_FILE).write_bytes(lines[0] + lines[1][:-5])
    writer = LineWriter(tmp_path / REPLIES_FILE)
    writer.write(lines[2])
    writer.close()
    assert kept(tmp_path) == [REPLIES[0], REPLIES[2]]
    assert value_of((tmp_path / REPLIES_FILE).read_bytes().splitlines(keepends=True)[-1])["id"] == "r2"


def test_refused_replies_are_never_written_over(tmp_path: Path) -> None:
    for each in REPLIES[:2]:
        with ReplyJournal(tmp_path) as journal:
            journal.add(each)
            journal.archive()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.refused-2.jsonl", "answers.refused.jsonl"]
    assert value_of((tmp_path / "answers.refused.jsonl").read_bytes())["id"] == "r0"


def test_a_flipped_digit_in_a_paid_reply_is_asked_again_and_nothing_else_is(tmp_path: Path) -> None:
    pool = lay_out(tmp_path)
    with teaching(lambda question, nth: THINKS) as teacher:
        distil(work(pool, teacher.base_url))
        whole = read_rows(tmp_path / "out" / REPLIES_FILE, Reply)
        journal = tmp_path / "scratch" / REPLIES_FILE
        journal.write_bytes(journal.read_bytes().replace(b"13", b"14", 1))
        asked = len(teacher.requests)
        summary = distil(work(pool, teacher.base_url))
        assert len(teacher.requests) == asked + 1
    assert (summary["asked"], summary["damaged_replies"]) == (1, 1)
    assert read_rows(tmp_path / "out" / REPLIES_FILE, Reply) == whole


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("change", [b"six", b"sex"], ids=["whole", "changed"])
def test_a_line_that_lost_its_checksum_is_no_line_of_an_earlier_version(
    tmp_path: Path, lines, caplog, number: int, change: bytes
) -> None:
    bare = lines[number][9:].replace(b"six", change)
    (tmp_path / REPLIES_FILE).write_bytes(b"".join([*lines[:number], bare, *lines[number + 1 :]]))
    assert kept(tmp_path) == [each for each in REPLIES if each.id != f"r{number}"]
    assert f"line {number + 1}: damaged; the questions are sent again." in caplog.text


def test_a_line_without_checksum_after_one_with_a_checksum_is_damaged(tmp_path: Path, lines) -> None:
    old = json.dumps(asdict(REPLIES[1]), ensure_ascii=False).encode() + b"\n"
    (tmp_path / REPLIES_FILE).write_bytes(lines[0] + old)
    assert kept(tmp_path) == REPLIES[:1]


def test_a_lone_surrogate_survives_the_journal(tmp_path: Path) -> None:
    assert value_of(checked_line({"a": "\ud83d \u00e9"})) == {"a": "\ud83d \u00e9"}
