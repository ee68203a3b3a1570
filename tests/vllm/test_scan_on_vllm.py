"""A whole scan on vLLM, as a user runs it, compared with the same scan on transformers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from s1.generate.engines import read_engine
from s1.records import TraceRow, read_rows
from s1.report.findings import read_findings
from sweep.core.provenance import PROJECT

SMALL = ["train.steps=150", "data.pool.rows=256", "machine.cache_gib=0.5", "track=off"]


def scan(home: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    places = [f"store={home}/store", f"results={home}/results"]
    command = [sys.executable, "-m", "sweep", "+experiment=smoke", *SMALL, *overrides, *places, "-m"]
    environment = {**os.environ, "COLUMNS": "200", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def records(home: Path, label: str, engine: str = "vllm") -> list[dict[str, Any]]:
    """The records of the answers of a point."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in home.glob("store/traces/*/record.json")]
    labels = {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))["label"]
        for path in home.glob("store/traces/*/stage.json")
    }
    return [
        each
        for each in found
        if labels[each["key"]] == label and each["identity"]["config"]["engine"]["kind"] == engine
    ]


def answers(home: Path, record: dict[str, Any]) -> list[TraceRow]:
    return read_rows(home / "store" / "traces" / record["key"] / "out" / "traces.jsonl", TraceRow)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where someone scanned with both engines; tests take a copy."""
    home = tmp_path_factory.mktemp("vllm")
    scan(home, "engine=transformers,vllm")
    return home


@pytest.fixture
def home(scanned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scanned, tmp_path / "home", symlinks=True))


def test_both_engines_give_the_same_traces_and_the_report_says_so(home: Path) -> None:
    (curve,) = home.glob("store/curve/*/out")
    found = read_findings(curve).agreements
    assert [(each.label, each.engines, each.traces) for each in found] == [
        (label, ["transformers", "vllm"], 12) for label in ("max 4", "max 16", "Wait x1")
    ]
    assert [each.first_differences for each in found] == [[], [], []]
    (page,) = home.glob("results/*/latest/report.html")
    assert "Engines side by side" in page.read_text(encoding="utf-8")


def test_the_audit_holds_on_vllm(home: Path) -> None:
    """No trace over its budget, forced ends where they should be, every Wait in its place."""
    (curve,) = home.glob("store/curve/*/out")
    assert all(point.valid for point in read_findings(curve).points())
    for label, budget_tokens in (("max 4", 4), ("max 16", 16)):
        (record,) = records(home, label)
        traces = answers(home, record)
        assert max(trace.thinking_tokens for trace in traces) == budget_tokens
        assert all(trace.ending.value == "forced" for trace in traces if trace.thinking_tokens == budget_tokens)
    (record,) = records(home, "Wait x1")
    assert {trace.waits for trace in answers(home, record)} == {1}


def test_the_answers_name_the_engine_and_its_kernels(home: Path) -> None:
    (record,) = records(home, "max 4")
    engine = read_engine(home / "store" / "traces" / record["key"] / "out")
    assert engine["engine"] == "vllm" and engine["vllm"] and engine["attention"] == "CPU_ATTN"


def test_a_finished_scan_is_extended_at_the_price_of_what_is_new(home: Path) -> None:
    """A larger budget, more Waits and another string continue the stored traces, in a new process."""
    scan(home, "engine=vllm", "budget.max_thinking_tokens=24", "also=[]")
    (larger,) = records(home, "max 24")
    (smaller,) = records(home, "max 16")
    kept = sum(trace.thinking_tokens for trace in answers(home, smaller))
    assert larger["summary"]["served_tokens"] >= kept
    scan(
        home,
        "engine=vllm",
        "budget.waits=2",
        "budget.continuation=Wait,Hmm",
        "also=[]",
        "budget.max_thinking_tokens=null",
    )
    (once,) = records(home, "Wait x1")
    (twice,) = records(home, "Wait x2")
    (other,) = records(home, "Hmm x2")
    until_wait = sum(len(segment["ids"]) for trace in answers(home, once) for segment in trace.segments[:2])
    assert twice["summary"]["served_tokens"] >= sum(trace.thinking_tokens for trace in answers(home, once)) - 12
    assert other["summary"]["served_tokens"] >= until_wait - 3 * 12
    for record in (larger, twice, other):
        assert record["summary"]["cached_tokens"] <= record["summary"]["prompt_tokens"]


def test_samples_are_added_to_samples(home: Path) -> None:
    """The first samples are those that were there; sampling is reproducible on one engine."""
    warm = ["engine=vllm", "generate=sampled", "budget.max_thinking_tokens=16", "also=[]"]
    scan(home, *warm, "generate.samples=2")
    scan(home, *warm, "generate.samples=5")
    two, five = sorted(
        (each for each in records(home, "max 16") if each["identity"]["config"]["generate"]["samples"] > 1),
        key=lambda each: each["identity"]["config"]["generate"]["samples"],
    )
    first = {(each.question_id, each.sample): each.segments for each in answers(home, two)}
    more = {(each.question_id, each.sample): each.segments for each in answers(home, five)}
    assert first.items() <= more.items()
    assert five["summary"]["served_tokens"] >= sum(each.sampled_tokens for each in answers(home, two))
    assert len({str(segments) for segments in more.values()}) > len(first)
