"""What a server's reply holds, and what a row makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s1.data.replies import Reply, ReplyFault, rejection, reply_of, with_thinking
from s1.data.reply_journal import REPLIES_FILE, ReplyJournal
from s1.records import PoolRow, read_rows, write_rows
from tests.support.teachers import completion

ROW = PoolRow("0f", "What is six plus seven?", "13", "sums", None, thinking="stale", answer="stale")
THOUGHTS = "\nSix and four is ten.\n\nThree more. "
ANSWER = "\n\nThe answer is 13.\n"


def reply(**fields: Any) -> Reply:
    found = reply_of("0f", completion(**fields))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "fields",
    [
        {"content": ANSWER, "reasoning_content": THOUGHTS},
        {"content": ANSWER, "reasoning": THOUGHTS},
        {"content": ANSWER, "reasoning": THOUGHTS, "reasoning_content": None},
        {"content": f"<think>{THOUGHTS}</think>{ANSWER}"},
        {"content": f"\n<think>{THOUGHTS}</think>{ANSWER}", "reasoning_content": ""},
    ],
)
def test_thoughts_are_found_where_servers_put_them_and_kept_as_given(fields: dict[str, str]) -> None:
    assert with_thinking(ROW, reply(**fields)) == replace(ROW, thinking=THOUGHTS, answer=ANSWER)


@pytest.mark.parametrize(
    ("fault", "given"),
    [
        (ReplyFault.NO_THOUGHTS, reply(content="13")),
        (ReplyFault.NO_THOUGHTS, reply(content=f"{THOUGHTS}</think>{ANSWER}")),
        (ReplyFault.NO_THOUGHTS, reply(content=f"<think>{THOUGHTS}")),
        (ReplyFault.NO_THOUGHTS, reply(content="<think>\n\n</think>\n\n13")),
        (ReplyFault.NO_THOUGHTS, reply(content=f"So: <think>{THOUGHTS}</think>{ANSWER}")),
        (ReplyFault.NO_THOUGHTS, reply(content=[{"type": "thinking", "thinking": THOUGHTS}])),
        (ReplyFault.NO_ANSWER, reply(content=None, reasoning=THOUGHTS)),
        (ReplyFault.NO_ANSWER, reply(content=f"<think>{THOUGHTS}</think>\n")),
        (ReplyFault.CUT, reply(content=None, reasoning=THOUGHTS, finish_reason="length")),
        (ReplyFault.REFUSED, reply(content=None, refusal="I will not add.")),
        (ReplyFault.REFUSED, reply(content="", reasoning=THOUGHTS, finish_reason="content_filter")),
        (ReplyFault.REFUSED, rejection("0f", "400: too long")),
        (ReplyFault.INTERRUPTED, reply(reasoning=THOUGHTS, finish_reason="insufficient_system_resource")),
        (ReplyFault.INTERRUPTED, reply(reasoning=THOUGHTS, finish_reason=None)),
    ],
)
def test_a_reply_that_cannot_be_used_is_dropped_with_its_reason(fault: ReplyFault, given: Reply) -> None:
    assert with_thinking(ROW, given) is fault


@pytest.mark.parametrize("body", [{"error": {"message": "busy"}}, {"choices": []}, {"choices": None}, [], "html", None])
def test_a_body_without_a_choice_is_no_reply(body: object) -> None:
    assert reply_of("0f", body) is None


def test_usage_is_kept_as_the_server_gave_it() -> None:
    details = {"prompt_tokens": 3, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 4}}
    heard = reply(usage=details)
    assert heard.usage == details
    assert (heard.tokens("prompt"), heard.tokens("completion")) == (3, 5)
    assert replace(heard, usage=None).tokens("prompt") is None


def test_wherever_the_last_line_is_torn_all_before_it_are_kept(tmp_path: Path) -> None:
    replies = [replace(reply(reasoning=THOUGHTS), id=row_id) for row_id in ("a", "b\u00e9", "c")]
    with ReplyJournal(tmp_path) as journal:
        for each in replies:
            journal.add(each)
    whole = (tmp_path / REPLIES_FILE).read_bytes()
    line_ends = [end + 1 for end, byte in enumerate(whole) if byte == ord("\n")]
    for end in {0, *range(1, len(whole), 13), *line_ends, *(end - 1 for end in line_ends)}:
        (tmp_path / REPLIES_FILE).write_bytes(whole[:end])
        with ReplyJournal(tmp_path) as journal:
            assert list(journal.replies.values()) == replies[: whole[:end].count(b"\n")]
            journal.add(replies[-1])
        with ReplyJournal(tmp_path) as journal:
            assert journal.replies["c"] == replies[-1]


# ------------------------------------------------------------------------------------------- what no line could hold


def body(message: str = '{"content":"13","reasoning":"x"}', model: str = '"m"', usage: str = "null") -> dict:
    return json.loads(f'{{"choices":[{{"message":{message},"finish_reason":"stop"}}],"model":{model},"usage":{usage}}}')


def kept(given: dict, directory: Path) -> Reply:
    """As the next attempt reads it."""
    found = reply_of("0f", given)
    assert found is not None
    with ReplyJournal(directory) as journal:
        journal.add(found)
    with ReplyJournal(directory) as journal:
        assert journal.replies == {"0f": found} and journal.damaged_lines == 0
    write_rows(directory / "rows.jsonl", [found])
    assert read_rows(directory / "rows.jsonl", Reply) == [found]
    return found


@pytest.mark.parametrize(
    ("message", "field", "text"),
    [
        ('{"content":"half \\ud83d","reasoning":"x"}', "content", "half \ufffd"),
        ('{"content":"13","reasoning":"\\udc00 x"}', "thoughts", "\ufffd x"),
        ('{"content":"<think>\\ud83d</think>13"}', "content", "<think>\ufffd</think>13"),
    ],
)
def test_half_a_character_is_kept_as_a_mark_and_makes_no_row(
    message: str, field: str, text: str, tmp_path: Path
) -> None:
    found = kept(body(message), tmp_path)
    assert getattr(found, field) == text
    assert found.altered == {field: "not text"}
    assert with_thinking(ROW, found) is ReplyFault.NO_TEXT


def test_a_whole_emoji_and_a_mark_that_the_server_sent_are_text(tmp_path: Path) -> None:
    found = kept(body('{"content":"\\ud83d\\ude00 \ufffd","reasoning":"x"}'), tmp_path)
    assert (found.content, found.altered) == ("\U0001f600 \ufffd", None)
    assert with_thinking(ROW, found) == replace(ROW, thinking="x", answer="\U0001f600 \ufffd")


@pytest.mark.parametrize(
    ("usage", "prompt", "completion"),
    [
        ('{"prompt_tokens":3,"completion_tokens":5}', 3, 5),
        ('{"prompt_tokens":3.0,"completion_tokens":0}', 3, 0),
        ("[1]", None, None),
        ('"free"', None, None),
        ('{"prompt_tokens":"10","completion_tokens":5}', None, 5),
        ('{"prompt_tokens":NaN,"completion_tokens":Infinity}', None, None),
        ('{"prompt_tokens":1e400,"completion_tokens":-1}', None, None),
        ('{"prompt_tokens":true,"completion_tokens":2.5}', None, None),
        ('{"prompt_tokens":[3],"completion_tokens":{"n":5}}', None, None),
        ('{"prompt_tokens":' + "9" * 400 + ',"completion_tokens":null}', None, None),
        ('{"prompt_tokens":3,"completion_tokens":5,"x":' + "[" * 300 + "]" * 300 + "}", 3, 5),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_count_that_is_none_is_unknown_usage_and_the_reply_is_kept(
    usage: str, prompt: int | None, completion: int | None, tmp_path: Path
) -> None:
    found = kept(body(usage=usage), tmp_path)
    assert (found.tokens("prompt"), found.tokens("completion")) == (prompt, completion)
    assert with_thinking(ROW, found) == replace(ROW, thinking="x", answer="13")


@pytest.mark.parametrize("model", ["7", "[1]", '{"a":1}', "NaN", "null"])
def test_a_model_without_a_name_is_unknown(model: str, tmp_path: Path) -> None:
    assert kept(body(model=model), tmp_path).model is None


def test_a_finish_reason_that_is_no_word_is_an_interruption() -> None:
    assert with_thinking(ROW, reply(reasoning="x", finish_reason={"a": 1})) is ReplyFault.INTERRUPTED
