"""Distillation: a real client against a real server that refuses, stumbles, breaks off and is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from s1.config.schema import ConfigError
from s1.cost import usage_lines
from s1.data import chat_client as doorway
from s1.data.chat_client import EndpointError
from s1.data.chat_requests import ChatUsage, distil
from s1.data.funnel import read_funnel
from s1.data.replies import Reply
from s1.estimates import estimates_of
from s1.pipeline import stages_of
from s1.records import PoolRow, read_rows, write_rows
from s1.stages import ChatConfig
from sweep.config.compose import compose
from tests.support.teachers import THINKS, Spoken, Teacher, completion, failure, lay_out, rows, teaching, work

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return lay_out(tmp_path)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client's pauses before it tries again, taken down instead of waited for."""
    taken: list[float] = []

    async def sleep(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr("openai._base_client.anyio.sleep", sleep)
    monkeypatch.setattr(doorway, "INTERRUPTION_PAUSES_S", (0.0, 0.0))
    return taken


# ---------------------------------------------------------------------------------------------------------- the product


def test_a_teacher_is_asked_the_question_alone_and_its_thinking_and_answer_are_kept_apart(pool: Path) -> None:
    def say(question: str, nth: int) -> Spoken:
        number = int(question.split()[1].rstrip("?"))
        usage = {"prompt_tokens": 10, "completion_tokens": 100 * number}
        if number == 7:
            return Spoken(completion(None, "length", usage, reasoning="And then"))
        return Spoken(completion(f"\n\nIt is {number}.", "stop", usage, reasoning=f"Hm.\n\n{number}? "))

    prices = {"usd_per_million_prompt_tokens": 1.0, "usd_per_million_completion_tokens": 10.0}
    with teaching(say) as teacher:
        summary = distil(work(pool, teacher.base_url, **prices))
    made = read_rows(pool.parent / "out" / "rows.jsonl", PoolRow)
    assert [(row.question, row.thinking, row.answer) for row in made] == [
        (f"Question {i}?", f"Hm.\n\n{i}? ", f"\n\nIt is {i}.") for i in range(12) if i != 7
    ]
    request = next(each for each in teacher.requests if "Question 5?" in str(each))
    assert request == {
        "model": "teacher",
        "messages": [{"role": "user", "content": "Question 5?"}],
        "max_tokens": 1000,
        "temperature": 0.6,
        "seed": 3,
    }
    assert read_rows(pool.parent / "out" / "answers.jsonl", Reply)[7].thoughts == "And then"
    paid = read_rows(pool.parent / "out" / "usage.jsonl", ChatUsage)
    assert paid[7] == ChatUsage(f"{7:016x}", "teacher-2026-11", 10, 700, 0.00701)
    _collected, distilled = read_funnel(pool.parent / "out")
    assert (distilled.kept, distilled.dropped) == (11, {"cut at max_tokens": 1})
    assert summary == {
        "rows": 11,
        "dropped": 1,
        "asked": 12,
        "prompt_tokens": 120,
        "completion_tokens": 6600,
        "usd": pytest.approx(0.06612),
        "replies_without_usage": 0,
    }


def test_a_server_that_does_not_say_what_it_took_is_not_taken_to_be_free(pool: Path) -> None:
    body = {name: value for name, value in THINKS.body.items() if name != "usage"}
    with teaching(lambda question, nth: Spoken(body)) as teacher:
        summary = distil(work(pool, teacher.base_url))
    assert (summary["usd"], summary["completion_tokens"], summary["replies_without_usage"]) == (None, None, 12)


def test_a_system_prompt_is_sent_where_the_config_has_one(pool: Path) -> None:
    asked = ChatConfig("teacher", 1000, None, None, None, system="Think first.")
    with teaching(lambda question, nth: THINKS) as teacher:
        distil(work(pool, teacher.base_url, asked))
    assert teacher.requests[0]["messages"][0] == {"role": "system", "content": "Think first."}
    assert "temperature" not in teacher.requests[0]


# ------------------------------------------------------------------------------------------------- servers that stumble


def test_a_busy_server_is_asked_again_after_as_long_as_it_says(pool: Path, pauses: list[float]) -> None:
    def say(question: str, nth: int) -> Spoken:
        return failure(429, **{"Retry-After": "7"}) if question == "Question 3?" and nth < 3 else THINKS

    with teaching(say) as teacher:
        summary = distil(work(pool, teacher.base_url))
    assert pauses == [7.0, 7.0]
    assert summary["rows"] == 12


def test_server_errors_and_torn_connections_are_tried_again(pool: Path, pauses: list[float]) -> None:
    stumbles = {"Question 1?": failure(500), "Question 2?": failure(503), "Question 3?": Spoken(THINKS.body, torn=True)}

    def say(question: str, nth: int) -> Spoken:
        return stumbles[question] if question in stumbles and nth < 3 else THINKS

    with teaching(say) as teacher:
        summary = distil(work(pool, teacher.base_url))
    assert summary["rows"] == 12
    assert Counter(teacher.questions)["Question 3?"] == 3


@pytest.mark.parametrize("stumble", [failure(200, "busy"), Spoken(completion(None, "insufficient_system_resource"))])
def test_what_the_server_broke_off_is_asked_again(stumble: Spoken, pool: Path, pauses: list[float]) -> None:
    with teaching(lambda question, nth: stumble if question == "Question 9?" and nth < 3 else THINKS) as teacher:
        summary = distil(work(pool, teacher.base_url))
    assert (summary["rows"], Counter(teacher.questions)["Question 9?"]) == (12, 3)


def test_after_a_lasting_outage_only_what_is_missing_is_asked(pool: Path, pauses: list[float]) -> None:
    well = threading.Event()

    def say(question: str, nth: int) -> Spoken:
        return THINKS if well.is_set() or question != "Question 4?" else failure(500, "out of order")

    with teaching(say) as teacher:
        one_by_one = {"concurrency": 1}
        with pytest.raises(EndpointError, match=r"status 500 \(.*out of order.*\)\. Run the command again"):
            distil(work(pool, teacher.base_url, **one_by_one))
        assert not list((pool.parent / "out").iterdir())
        before = set(teacher.questions)
        well.set()
        summary = distil(work(pool, teacher.base_url, **one_by_one))
    assert before == {f"Question {i}?" for i in range(5)}
    assert (summary["rows"], summary["asked"]) == (12, 8)


def test_a_question_that_the_server_will_not_take_is_a_drop(pool: Path) -> None:
    too_long = failure(400, "maximum context length is 4096 tokens")
    with teaching(lambda question, nth: too_long if question == "Question 3?" else THINKS) as teacher:
        distil(work(pool, teacher.base_url))
    assert read_funnel(pool.parent / "out")[-1].dropped == {"refused": 1}


# ---------------------------------------------------------------------------------------------- servers that are no use


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        (401, "key belongs to this service"),
        (402, "out of credit"),
        (403, "has access to this model"),
        (404, "ends in /v1"),
    ],
)
def test_a_server_that_will_never_answer_ends_the_stage_at_once(status: int, fix: str, pool: Path) -> None:
    with teaching(lambda question, nth: failure(status)) as teacher, pytest.raises(EndpointError, match=fix) as caught:
        distil(work(pool, teacher.base_url, concurrency=1))
    assert len(teacher.requests) == 1
    assert f"endpoint {teacher.base_url}, model teacher: status {status}" in str(caught.value)


def test_an_address_that_is_no_api_is_told(pool: Path) -> None:
    page = Spoken(b"<html>Welcome</html>", headers={"Content-Type": "text/html"})
    with teaching(lambda question, nth: page) as teacher, pytest.raises(EndpointError, match=r"not JSON\. .*base_url"):
        distil(work(pool, teacher.base_url))


def test_nobody_at_the_address_is_told(pool: Path, pauses: list[float]) -> None:
    with teaching(lambda question, nth: THINKS) as teacher:
        pass
    with pytest.raises(EndpointError, match=r"Connection error\. Run the command again"):
        distil(work(pool, teacher.base_url))


def test_a_teacher_without_thoughts_is_refused_and_asked_anew_once_it_has_them(pool: Path) -> None:
    with teaching(lambda question, nth: Spoken(completion("13"))) as teacher:
        refusal = r"model teacher: none of its first 8 replies is usable \(8 no thoughts\)\..*--reasoning-parser"
        with pytest.raises(EndpointError, match=refusal):
            distil(work(pool, teacher.base_url))
        assert len(teacher.requests) == 8
        teacher.say = lambda question, nth: THINKS
        assert distil(work(pool, teacher.base_url))["asked"] == 12


def test_a_model_that_takes_no_question_is_quoted(pool: Path) -> None:
    refusal = failure(400, "unsupported parameter: max_tokens")
    with (
        teaching(lambda question, nth: refusal) as teacher,
        pytest.raises(EndpointError, match=r"\(8 refused\)\. It says: 400: .*unsupported parameter: max_tokens"),
    ):
        distil(work(pool, teacher.base_url))


def test_one_row_without_thoughts_among_others_is_a_drop(pool: Path) -> None:
    silent = Spoken(completion("13"))
    with teaching(lambda question, nth: THINKS if question == "Question 0?" else silent) as teacher:
        assert distil(work(pool, teacher.base_url))["rows"] == 1
    assert read_funnel(pool.parent / "out")[-1].dropped == {"no thoughts": 11}


def test_a_pool_without_rows_is_refused(pool: Path) -> None:
    write_rows(pool / "rows.jsonl", [])
    with pytest.raises(ConfigError, match="it has no rows"):
        distil(work(pool, "http://127.0.0.1:1/v1"))


# --------------------------------------------------------------------------------------------------------------- killed


def test_a_killed_stage_goes_on_and_asks_only_what_is_missing(pool: Path) -> None:
    reached = threading.Event()

    def say(question: str, nth: int) -> Spoken:
        if question == "Question 10?" and nth == 1:
            reached.set()
            threading.Event().wait(60)
        return THINKS

    with teaching(say) as teacher:
        child = subprocess.Popen(_in_a_child(pool, teacher), cwd=PROJECT)
        try:
            assert reached.wait(60)
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        summary = distil(work(pool, teacher.base_url, concurrency=1))
    assert (summary["rows"], summary["asked"]) == (12, 2)
    assert Counter(teacher.questions) == Counter({**{row.question: 1 for row in rows(12)}, "Question 10?": 2})


def _in_a_child(pool: Path, teacher: Teacher) -> list[str]:
    code = f"""
from pathlib import Path
from s1.data.chat_requests import distil
from tests.support.teachers import work
distil(work(Path({str(pool)!r}), {teacher.base_url!r}, concurrency=1))
"""
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("name", ["deepseek_r1", "openrouter", "local_vllm"])
def test_a_preset_makes_a_teacher(name: str) -> None:
    (point,) = compose(["data=dial_1k", f"+teacher@data.teacher={name}"]).points
    assert point.data.teacher.max_tokens == 32768


def test_the_plan_names_the_price_of_teacher_and_labeller() -> None:
    teachers = ["+teacher@data.teacher=openrouter", "+teacher@data.labels.teacher=deepseek_r1"]
    (x,) = compose(
        ["data=dial_1k", *teachers, "data.pool.rows=1000", "cost.tokens_per_example=9300", "cost.models=[]"]
    ).points
    estimates = estimates_of([x], [stages_of(x)])
    usd = {address.partition("/")[0]: estimate.usd for address, estimate in estimates.items()}
    assert usd["distilled"] == pytest.approx((200 * 0.55 + 9300 * 2.19) / 1000)
    assert usd["labelled"] == pytest.approx((900 * 0.28 + 100 * 0.42) / 1000)


def test_what_an_endpoint_took_is_told_and_unknown_usage_is_no_zero() -> None:
    known = {"asked": 3, "completion_tokens": 6600, "usd": 0.066, "replies_without_usage": 0}
    unknown = {"asked": 3, "completion_tokens": None, "usd": None, "replies_without_usage": 12}
    assert usage_lines({"distilled/1": known, "labelled/2": unknown, "pool/3": {"rows": 3}}) == [
        "distilled/1: 6,600 tokens for 0.07 USD",
        "labelled/2: 0 tokens for 0.00 USD, and 12 replies of unknown usage",
    ]


# ----------------------------------------------------------------------------------------- replies that no row can hold


def only_nine(spoken: Spoken) -> Callable[[str, int], Spoken]:
    """Question 9 gets this, the others a good reply."""
    return lambda question, nth: spoken if question == "Question 9?" else THINKS


def raw(
    message: bytes, usage: bytes = b'{"prompt_tokens":10,"completion_tokens":200}', model: bytes = b'"m"'
) -> Spoken:
    choice = b'{"message":%s,"finish_reason":"stop"}' % message
    return Spoken(b'{"choices":[%s],"model":%s,"usage":%s}' % (choice, model, usage))


@pytest.mark.parametrize(
    ("spoken", "reason"),
    [
        (raw(b'{"content":"half \\ud83d","reasoning":"x"}'), "not all of it is text"),
        (raw(b'{"content":"13","reasoning":"a \xff b"}'), "not all of it is text"),
        (raw(b'{"content":"13","reasoning":"x"}', usage=b"[" * 100_000 + b"]" * 100_000), "refused"),
    ],
    ids=["half a character", "no UTF-8", "too deep"],
)
def test_a_reply_that_no_file_could_hold_is_a_drop_and_paid_for_once(spoken: Spoken, reason: str, pool: Path) -> None:
    with teaching(only_nine(spoken)) as teacher:
        summary = distil(work(pool, teacher.base_url))
        assert (summary["rows"], summary["dropped"]) == (11, 1)
        assert read_funnel(pool.parent / "out")[-1].dropped == {reason: 1}
        assert distil(work(pool, teacher.base_url))["asked"] == 0
    assert Counter(teacher.questions)["Question 9?"] == 1


@pytest.mark.parametrize(
    ("usage", "model"),
    [
        (b"[1]", b'"m"'),
        (b'{"prompt_tokens":"10","completion_tokens":"200"}', b"7"),
        (b'{"prompt_tokens":1,"completion_tokens":NaN}', b'"m"'),
        (b'{"prompt_tokens":-1,"completion_tokens":1e400}', b'"m"'),
        (b'{"prompt_tokens":' + b"9" * 5000 + b',"completion_tokens":1}', b'"m"'),
    ],
    ids=lambda value: value[:40].decode(),
)
def test_usage_that_is_no_count_is_unknown_and_the_reply_is_used(usage: bytes, model: bytes, pool: Path) -> None:
    with teaching(only_nine(raw(b'{"content":"13","reasoning":"x"}', usage, model))) as teacher:
        summary = distil(work(pool, teacher.base_url, usd_per_million_completion_tokens=1.0))
    assert (summary["rows"], summary["replies_without_usage"]) == (12, 1)
    assert summary["usd"] == pytest.approx(11 * 200 / 1e6)
    assert Counter(teacher.questions)["Question 9?"] == 1
