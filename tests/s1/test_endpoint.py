"""The key of an endpoint: sent to it, and seen nowhere else."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from teachers import THINKS, Spoken, failure, lay_out, teaching, work

from s1.config import ConfigError
from s1.data.distil import distil
from s1.data.endpoint import EndpointError
from s1.recipe import Endpoint

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
    with pytest.raises(ConfigError, match=r"TEACHER_KEY: nothing in this .* Export the key of"):
        distil(work(pool, "http://127.0.0.1:1/v1", key_variable="TEACHER_KEY"))
    monkeypatch.setenv("TEACHER_KEY", f"{KEY}\x07x")
    with pytest.raises(ConfigError, match="TEACHER_KEY: no key") as caught:
        distil(work(pool, "http://127.0.0.1:1/v1", key_variable="TEACHER_KEY"))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"key_variable": KEY}, "not the name of an environment variable"),
        ({"base_url": f"https://user:{KEY}@host/v1"}, "Write no key into it"),
        ({"base_url": f"https://host/v1?key={KEY}"}, "Write no key into it"),
        ({"base_url": "host/v1"}, "not a plain http"),
        ({"concurrency": 0}, "concurrency 0: below 1"),
        ({"requests_per_minute": 0}, "requests_per_minute 0: below 1"),
    ],
)
def test_an_endpoint_that_no_request_could_use_is_refused_without_repeating_a_key(
    fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        Endpoint(**{"base_url": "https://host/v1", "key_variable": None, **fields})
    assert KEY not in str(caught.value)
