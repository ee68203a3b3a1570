"""Asking about many rows at once: how many, how fast, and what a failure leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from s1.config.data import Endpoint
from s1.data.chat_client import EndpointError
from s1.data.chat_requests import ChatRequests
from s1.data.replies import Reply, reply_of, with_thinking
from s1.data.reply_journal import ReplyJournal
from tests.support.teachers import THINKS, rows


def inquiry(journal: ReplyJournal, count: int = 40) -> ChatRequests:
    return ChatRequests("teacher", rows(count), with_thinking, journal, lambda *_progress: None)


def heard(row_id: str) -> Reply:
    reply = reply_of(row_id, THINKS.body)
    assert reply is not None
    return reply


def test_no_more_questions_than_allowed_are_in_flight(tmp_path: Path) -> None:
    flying, most = set[str](), list[int]()

    async def ask(row_id: str, question: str) -> Reply:
        flying.add(row_id)
        most.append(len(flying))
        await asyncio.sleep(0.001)
        flying.remove(row_id)
        return heard(row_id)

    with ReplyJournal(tmp_path) as journal:
        asyncio.run(inquiry(journal).run(ask, Endpoint("http://host/v1", None, concurrency=3)))
        assert len(journal.replies) == 40
    assert max(most) == 3


def test_questions_are_sent_no_faster_than_so_many_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr("s1.data.chat_requests.asyncio.sleep", note)

    async def ask(row_id: str, question: str) -> Reply:
        return heard(row_id)

    with ReplyJournal(tmp_path) as journal:
        asyncio.run(inquiry(journal).run(ask, Endpoint("http://host/v1", None, requests_per_minute=30)))
    assert pauses == [2.0] * 40


def test_after_a_failure_nothing_more_is_sent_and_what_is_in_flight_is_kept(tmp_path: Path) -> None:
    sent: list[str] = []

    async def ask(row_id: str, question: str) -> Reply:
        sent.append(question)
        if question == "Question 20?":
            raise EndpointError("status 401")
        await asyncio.sleep(0.01)
        return heard(row_id)

    with ReplyJournal(tmp_path) as journal:
        with pytest.raises(EndpointError, match="status 401"):
            asyncio.run(inquiry(journal).run(ask, Endpoint("http://host/v1", None, concurrency=4)))
        assert len(journal.replies) == len(sent) - 1 < 39


def test_a_disk_that_is_full_ends_the_stage_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(row_id: str, question: str) -> Reply:
        return heard(row_id)

    def full(journal: ReplyJournal, reply: Reply) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ReplyJournal, "add", full)
    with ReplyJournal(tmp_path) as journal, pytest.raises(OSError, match="No space left"):
        asyncio.run(inquiry(journal).run(ask, Endpoint("http://host/v1", None)))


@pytest.mark.parametrize("error", [ValueError("half a character"), OSError(28, "No space left"), EndpointError("402")])
def test_no_failure_of_one_reply_cancels_those_in_flight(error: Exception, tmp_path: Path) -> None:
    sent: list[str] = []

    async def ask(row_id: str, question: str) -> Reply:
        sent.append(row_id)
        if question == "Question 20?":
            raise error
        await asyncio.sleep(0.01)
        return heard(row_id)

    with ReplyJournal(tmp_path) as journal:
        with pytest.raises(type(error)) as caught:
            asyncio.run(inquiry(journal).run(ask, Endpoint("http://host/v1", None, concurrency=8)))
        assert caught.value is error
        assert set(sent) - set(journal.replies) == {rows(40)[20].id}
    assert 20 < len(sent) < 40
