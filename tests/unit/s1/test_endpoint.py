"""The key of an endpoint: sent to it, and seen nowhere else."""

from __future__ import annotations

import html
import json
import logging
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from s1.config.data import Endpoint
from s1.config.schema import ConfigError
from s1.data import chat_client as doorway
from s1.data.chat_client import EndpointError
from s1.data.chat_requests import distil
from sweep.core.typed import typed
from sweep.errors import InputError
from tests.support.teachers import THINKS, Spoken, completion, failure, lay_out, teaching, work

KEY = "sk-not-to-be-seen-anywhere"


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return lay_out(tmp_path)


def test_the_key_is_sent_and_seen_nowhere_else(
    pool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The server quotes it, as servers do: in the refusal of one question, then in that of the key itself."""
    monkeypatch.setenv("TEACHER_KEY", f"{KEY}\n")
    monkeypatch.setenv("OPENAI_API_KEY", "of another service")
    caplog.set_level(logging.DEBUG)

    def say(question: str, nth: int) -> Spoken:
        if question == "Question 11?":
            return failure(401, f"Incorrect API key provided: {KEY}")
        return failure(400, f"not with {KEY}") if question == "Question 3?" else THINKS

    with teaching(say) as teacher, pytest.raises(EndpointError) as caught:
        distil(work(pool, teacher.base_url, key_variable="TEACHER_KEY"))
    assert set(teacher.authorizations) == {f"Bearer {KEY}"}
    written = [path.read_text(encoding="utf-8") for path in pool.parent.rglob("*") if path.is_file()]
    assert any("not with <key>" in text for text in written)
    told = "".join(traceback.format_exception(caught.value))
    assert KEY not in "".join([*written, told, caplog.text, *capfd.readouterr()])


def test_without_a_key_variable_no_key_of_another_service_is_sent(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with teaching(lambda question, nth: THINKS) as teacher:
        distil(work(pool, teacher.base_url))
    assert set(teacher.authorizations) == {"Bearer none"}


def test_a_missing_or_mangled_key_is_told_without_repeating_it(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"TEACHER_KEY: this environment variable is not set\. Export the key of"):
        distil(work(pool, "http://127.0.0.1:1/v1", key_variable="TEACHER_KEY"))
    monkeypatch.setenv("TEACHER_KEY", f"{KEY}\x07x")
    with pytest.raises(ConfigError, match=r"TEACHER_KEY: .* does not hold a valid key") as caught:
        distil(work(pool, "http://127.0.0.1:1/v1", key_variable="TEACHER_KEY"))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"key_variable": KEY}, "not the name of an environment variable"),
        ({"base_url": f"https://user:{KEY}@host/v1"}, "without a key or a query"),
        ({"base_url": f"https://host/v1?key={KEY}"}, "without a key or a query"),
        ({"base_url": "host/v1"}, "not a plain http"),
        ({"concurrency": 0}, "concurrency 0: below 1"),
        ({"requests_per_minute": 0}, "requests_per_minute 0: below 1"),
    ],
)
def test_an_endpoint_that_no_request_could_use_is_refused_without_repeating_a_key(
    fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        typed(Endpoint, {"base_url": "https://host/v1", "key_variable": None, **fields})
    assert KEY not in str(caught.value)


ODD = "sk-or+v1/not\"to<be&seen=anywhere'9"
WRITTEN = {
    "plain": ODD,
    "JSON": json.dumps(ODD)[1:-1],
    "JSON twice": json.dumps(json.dumps(ODD))[3:-3],
    "JSON for HTML": json.dumps(ODD)[1:-1].replace("<", "\\u003c").replace("&", "\\u0026").replace("+", "\\u002B"),
    "PHP": json.dumps(ODD)[1:-1].replace("/", "\\/"),
    "Python": repr(ODD)[1:-1],
    "address": quote(ODD, safe=""),
    "path": quote(ODD),
    "HTML": html.escape(ODD),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("place", ["answer", "thoughts", "model", "usage", "refusal", "400", "no choice"])
def test_a_key_that_the_server_repeats_is_in_no_file_and_such_replies_are_counted(
    place: str, written: str, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_KEY", ODD)
    monkeypatch.setattr(doorway, "INTERRUPTION_PAUSES_S", (0.0,))
    quoted = f"debug: Bearer {written} was sent"
    spoken = {
        "answer": Spoken(completion(quoted, reasoning="x")),
        "thoughts": Spoken(completion("13", reasoning=quoted)),
        "model": Spoken({**completion("13", reasoning="x"), "model": quoted}),
        "usage": Spoken(completion("13", usage={"prompt_tokens": 1, quoted: {"of": [quoted]}}, reasoning="x")),
        "refusal": Spoken(completion(None, refusal=quoted)),
        "400": failure(400, quoted),
        "no choice": Spoken({"error": quoted}),
    }[place]
    said = ""
    with teaching(lambda question, nth: spoken if question == "Question 9?" else THINKS) as teacher:
        try:
            summary = distil(work(pool, teacher.base_url, key_variable="TEACHER_KEY"))
        except EndpointError as error:
            said = str(error)
    files = [path.read_text(encoding="utf-8") for path in pool.parent.rglob("*") if path.is_file()]
    for form in (written, json.dumps(written)[1:-1], ODD, "anywhere"):
        assert not [text for text in [*files, said] if form in text]
    assert any("<key>" in text for text in [*files, said])
    if place != "no choice":
        assert summary["replies_with_the_key"] == 1
        assert summary["rows"] == (12 if place in ("model", "usage") else 11)


def test_a_placeholder_for_a_key_may_be_a_word_of_an_answer(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", "EMPTY")
    with teaching(lambda question, nth: Spoken(completion("The set is EMPTY.", reasoning="x"))) as teacher:
        summary = distil(work(pool, teacher.base_url, key_variable="TEACHER_KEY"))
    assert (summary["rows"], "replies_with_the_key" in summary) == (12, False)
