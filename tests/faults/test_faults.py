"""A sample of `make faults` with cases of every kind; a failure prints the command that repeats it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sweep.core.provenance import PROJECT

SAMPLE, JOBS = 150, 2
KINDS = (
    *("at once", "beside", "check", "clock", "crash", "dear", "disk error", "disk full", "empty", "flip", "group"),
    *("lock", "power cut", "prune", "read-only", "remove", "replace", "results", "signal", "stop", "torn write"),
    *("tracker", "truncate"),
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of a sample, from a process of its own, which forks hundreds of times."""
    file: Path = tmp_path_factory.mktemp("faults") / "outcomes.json"
    command = [sys.executable, "-m", "tests.faults", f"--sample={SAMPLE}", f"--jobs={JOBS}", f"--json={file}"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert file.exists(), done.stdout + done.stderr
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_of_the_sample_is_survived(outcomes: list[dict[str, Any]], kind: str) -> None:
    of_kind = [each for each in outcomes if each["kind"] == kind]
    assert of_kind, f"no fault of kind {kind} in the sample"
    bad = [each for each in of_kind if each["verdict"] in ("silent", "broken")]
    assert not bad, "\n".join(
        f"make faults CASE='{each['id']}'  # {each['verdict']}: {'; '.join(each['reasons'])}" for each in bad
    )
    skipped = Counter(each["reasons"][0] for each in of_kind if each["verdict"] == "skipped")
    if sum(skipped.values()) == len(of_kind):
        pytest.skip("; ".join(skipped))


def test_the_sample_has_every_kind_and_at_least_150_faults(outcomes: list[dict[str, Any]]) -> None:
    assert len(outcomes) >= SAMPLE
    assert {each["kind"] for each in outcomes} == set(KINDS)
