"""A scan with a target, as a user runs it: rounds add questions, then samples, and continue what was answered."""

from __future__ import annotations

import json
from pathlib import Path

from s1.records import TraceRow, read_rows
from tests.support.smoke import User

TARGET = ("generate=sampled", "task.samples=2", "task.limit=6", "statistics.target=2", "statistics.looks=3")


def traces(user: User, label: str) -> dict[int, list[TraceRow]]:
    """The answers of a point by their number, over all rounds."""
    found = [
        read_rows(path.parent / "out" / "traces.jsonl", TraceRow)
        for path in (user.store / "traces").glob("*/stage.json")
        if json.loads(path.read_text(encoding="utf-8"))["label"] == label
    ]
    return {len(rows): rows for rows in found}


def test_rounds_add_questions_then_samples_and_continue_what_was_answered(tmp_path: Path) -> None:
    user = User(tmp_path)
    done = user.run(*TARGET)
    assert done.returncode == 0, done.stdout + done.stderr
    for number, design in enumerate(
        ("6 questions, 2 samples", "12 questions, 4 samples", "12 questions, 16 samples"), 1
    ):
        assert f"round {number} of at most 3 towards statistics.target=2: {design}" in done.stdout
    assert "no further round: widest half width " in done.stdout
    rounds = traces(user, "Wait x1")
    assert sorted(rounds) == [12, 48, 192]  # 6 x 2, 12 x 4, 12 x 16
    answered = {(row.question_id, row.sample): row for row in rounds[192]}
    assert all(answered[row.question_id, row.sample] == row for row in [*rounds[12], *rounds[48]])
    assert len(list((user.results / "smoke").glob("[0-9a-f]*/manifest.json"))) == 3
    again = user.run(*TARGET)
    assert again.returncode == 0 and "0 stages to run" in again.stdout, again.stdout + again.stderr
    assert "no further round: widest half width " in again.stdout
