"""The smoke scan or another experiment, as a user runs it, with a store and a results folder of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from s1.records import TraceRow, read_rows
from sweep.core.provenance import PROJECT


class User:
    """Someone with a store and a results folder of their own."""

    def __init__(self, home: Path, experiment: str = "smoke") -> None:
        self.store, self.results, self.experiment = home / "store", home / "results", experiment

    def command(self, *overrides: str) -> list[str]:
        places = [f"store={self.store}", f"results={self.results}"]
        return [sys.executable, "-m", "sweep", f"+experiment={self.experiment}", *overrides, *places, "-m"]

    def run(self, *overrides: str, place: Path = PROJECT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*overrides), cwd=place, capture_output=True, text=True, check=False, env=environment()
        )

    def done(self, name: str) -> set[str]:
        return {path.parent.name for path in (self.store / name).glob("*/record.json")}

    def answers(self, label: str) -> list[TraceRow]:
        (path,) = [
            path.parent
            for path in (self.store / "traces").glob("*/stage.json")
            if json.loads(path.read_text(encoding="utf-8"))["label"] == label
        ]
        return read_rows(path / "out" / "traces.jsonl", TraceRow)


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(PROJECT)}
