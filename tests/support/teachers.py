"""A teacher served over real HTTP from a thread, with replies scripted by the test, and questions for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from s1.config.data import Endpoint
from s1.data.funnel import FunnelStep, write_funnel
from s1.records import PoolRow, write_rows
from s1.stages import ChatConfig
from sweep.core.stage import Work
from tests.support.loopback import QuietHandler, serving

ASKED = ChatConfig("teacher", max_tokens=1000, temperature=0.6, top_p=None, seed=3, system=None)


@dataclass(frozen=True)
class Spoken:
    """What the server sends back."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    torn: bool = False  # the connection ends in the middle of the body


def completion(
    content: str | None = "The answer is 13.",
    finish_reason: str | None = "stop",
    usage: Mapping[str, Any] | None = None,
    **message: Any,
) -> dict[str, Any]:
    """A body as servers write it; `message` has further fields, the thoughts for one."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "teacher-2026-11",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": usage or {"prompt_tokens": 10, "completion_tokens": 200, "total_tokens": 210},
    }


def failure(status: int, message: str = "no", **headers: str) -> Spoken:
    return Spoken({"error": {"message": message}}, status, headers)


@dataclass
class Teacher:
    """`say(question, nth)` decides what is answered to the nth time that a question is asked."""

    say: Callable[[str, int], Spoken]
    base_url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)  # bodies, in the order of arrival
    authorizations: list[str | None] = field(default_factory=list)

    @property
    def questions(self) -> list[str]:
        return [request["messages"][-1]["content"] for request in self.requests]


@contextmanager
def teaching(say: Callable[[str, int], Spoken]) -> Iterator[Teacher]:
    """A teacher that answers while the context is open."""
    teacher, lock = Teacher(say), threading.Lock()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                teacher.requests.append(request)
                teacher.authorizations.append(self.headers["Authorization"])
                question = teacher.questions[-1]
                nth = teacher.questions.count(question)
            self._send(teacher.say(question, nth) if self.path == "/v1/chat/completions" else failure(404))

        def _send(self, spoken: Spoken) -> None:
            data = spoken.body if isinstance(spoken.body, bytes) else json.dumps(spoken.body).encode()
            self.send_response(spoken.status)
            for name, value in {"Content-Type": "application/json", **spoken.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if spoken.torn else data)
            self.close_connection = spoken.torn

    with serving(Handler) as url:
        teacher.base_url = f"{url}/v1"
        yield teacher


THINKS = Spoken(completion("It is 13.", reasoning_content="Six plus seven."))


def rows(count: int) -> list[PoolRow]:
    return [PoolRow(f"{i:016x}", f"Question {i}?", "13", "sums", "Algebra", None, None) for i in range(count)]


def lay_out(home: Path, count: int = 12) -> Path:
    """A pool of questions that nobody has answered."""
    pool = home / "pool"
    pool.mkdir()
    write_rows(pool / "rows.jsonl", rows(count))
    write_funnel(pool, [FunnelStep("collected", count)])
    return pool


def work(pool: Path, base_url: str, config: Any = ASKED, **endpoint: Any) -> Work[Any]:
    """A stage beside its pool; the scratch of an earlier attempt is found again."""
    for name in ("out", "scratch"):
        (pool.parent / name).mkdir(exist_ok=True)
    settings = asdict(Endpoint(**{"base_url": base_url, "key_variable": None, **endpoint}))
    out, scratch = pool.parent / "out", pool.parent / "scratch"
    return Work("key", config, {"rows": (pool,)}, out, scratch, scratch, settings, lambda *_progress: None)
