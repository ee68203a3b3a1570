"""A pool of bare questions becomes labelled training examples by one command, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s1.data.funnel import read_funnel
from s1.records import Example, read_rows
from sweep.core.provenance import PROJECT
from tests.support.teachers import Spoken, Teacher, completion, teaching

pytestmark = pytest.mark.slow

QUESTIONS = 10
KEY = "sk-not-to-be-seen-anywhere"


def say(question: str, nth: int) -> Spoken:
    if question == "Question 4?":
        return Spoken(completion("13", "length", reasoning="And then"))
    return Spoken(completion("Numbers. 11", reasoning=f"Let me see. {question}"))


def distilled(home: Path, teacher: Teacher, *words: str) -> subprocess.CompletedProcess[str]:
    pool = home / "questions.jsonl"
    rows = [{"question": f"Question {i}?", "solution": "13"} for i in range(QUESTIONS)]
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "sweep", "+experiment=curate", "data=file", "pool@data.pool=questions"),
        f"data.pool.file={pool}",
        *("+teacher@data.teacher=openrouter", f"data.teacher.endpoint.base_url={teacher.base_url}"),
        *("+teacher@data.labels.teacher=openrouter", f"data.labels.teacher.endpoint.base_url={teacher.base_url}"),
        *("track=off", f"store={home}/store", f"results={home}/results", *words),
    ]
    environment = {**os.environ, "COLUMNS": "200", "OPENROUTER_API_KEY": KEY}
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment)


def test_one_command_asks_for_traces_and_domains_and_prices_them(tmp_path: Path) -> None:
    with teaching(say) as teacher:
        done = distilled(tmp_path, teacher, "yes=true")
    assert done.returncode == 0, done.stdout + done.stderr
    (curated,) = tmp_path.glob("store/curated/*/out")
    made = read_rows(curated / "rows.jsonl", Example)
    assert {each.thinking for each in made} == {f"Let me see. Question {i}?" for i in range(QUESTIONS) if i != 4}
    assert [step.name for step in read_funnel(curated)][:3] == ["collected", "distilled", "labelled"]
    assert "tokens for 0.00 USD" in done.stdout
    assert KEY not in done.stdout + done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_a_paid_teacher_is_not_asked_without_consent_nor_above_a_limit(tmp_path: Path) -> None:
    with teaching(say) as teacher:
        unasked = distilled(tmp_path, teacher)
        assert unasked.returncode == 1 and " USD of it for replies of paid models, and " in unasked.stderr
        assert "an unknown price for further replies of paid models. Add yes=true" in unasked.stderr
        refused = distilled(tmp_path, teacher, "yes=true", "cost.limit_usd=1e-9")
        assert refused.returncode == 1 and "cost.limit_usd 1e-09: this is estimated at" in refused.stderr
        assert not teacher.requests
