"""What does it cost to show a run on W&B while it runs? `python benchmarks/mirror.py [--steps 1500] [--pairs 3]`

Trains the laptop model in pairs, without and with the mirror, in fresh stores; the mirror sends to a server on this
machine. Measures CPU time of the process that trains, which does not depend on what else this machine does, and the
time until the first training step is on the server. Writes results/benchmarks/mirror.md. Takes about 10 minutes,
and needs S1_WANDB_SERVER=.venv-wandb/bin/openwandb.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from tests.support.wandb_server import WandbServer, wandb_server

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "results" / "benchmarks" / "mirror.md"
TICKS = os.sysconf("SC_CLK_TCK")
LOOK_S = 0.02


@dataclass(frozen=True)
class Measure:
    worker_cpu_s: float  # of the process that trains
    stage_s: float  # wall-clock time of the stage, from its record
    command_s: float  # wall-clock time of the command, uploads included
    others_cpu_s: float  # of all other processes of the command
    first_row_s: float | None  # from the start of the worker until the server has a training step; None: no mirror


def measured(steps: int, server: WandbServer | None) -> Measure:
    """One training run in a fresh store; with a server, it is mirrored."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        track = [f"track.wandb={'true' if server else 'false'}", f"track.project=mirror-{time.time_ns()}"]
        words = ["+experiment=smoke", "goal=checkpoint", f"train.steps={steps}", *track]
        places = [f"store={store}", f"results={Path(folder) / 'results'}"]
        known = set(server.state()["runs"]) if server else set[str]()
        environment = {**os.environ, **(server.environment if server else {}), "WANDB_MODE": "online"}
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "sweep", "run", *words, *places, "-m"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        cpu_s, first_row_s = followed(process, store, server, known)
        command_s, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process.returncode == 0
        (record,) = store.glob("checkpoint/*/record.json")
        all_cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        stage_s = json.loads(record.read_text(encoding="utf-8"))["seconds"]
        return Measure(cpu_s, stage_s, command_s, all_cpu_s - cpu_s, first_row_s)


def followed(
    process: subprocess.Popen[bytes], store: Path, server: WandbServer | None, known: set[str]
) -> tuple[float, float | None]:
    """CPU seconds of the process that trains, and seconds until its first row was on the server."""
    cpu_s, began, first_row_s, looked = 0.0, 0.0, None, 0.0
    while process.poll() is None:
        for marker in store.glob("checkpoint/*/worker.json"):
            cpu_s = max(cpu_s, cpu_seconds(marker))
            began = began or time.monotonic()
        if server and began and first_row_s is None and time.monotonic() > looked + 0.5:
            looked = time.monotonic()
            first_row_s = looked - began if has_step(server, known) else None
        time.sleep(LOOK_S)
    return cpu_s, first_row_s


def cpu_seconds(marker: Path) -> float:
    """CPU time so far of the process that holds a stage."""
    try:
        pid = json.loads(marker.read_text(encoding="utf-8"))["pid"]
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (OSError, ValueError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def has_step(server: WandbServer, known: set[str]) -> bool:
    runs = server.state()["runs"]
    return any(
        "train/step" in line
        for name in set(runs) - known
        for line in runs[name]["lines"].get("wandb-history.jsonl", [])
    )


def page(steps: int, without: Sequence[Measure], mirrored: Sequence[Measure]) -> str:
    """The text of mirror.md."""

    def row(name: str, get: str) -> str:
        plain, shown = (sorted(getattr(each, get) for each in runs) for runs in (without, mirrored))
        more = f"{100 * (median(shown) / median(plain) - 1):+.1f}%"
        return f"| {name} | {cell(plain)} | {cell(shown)} | {more} |"

    first = sorted(each.first_row_s for each in mirrored if each.first_row_s is not None)
    extra_s = mean(each.others_cpu_s for each in mirrored) - mean(each.others_cpu_s for each in without)
    return f"""# The mirror on W&B

`python benchmarks/mirror.py`

{len(without)} pairs of training runs of the laptop model, {steps} steps, in fresh stores; the server is on the same
machine, {os.cpu_count()} cores. Seconds: the median, and in parentheses the lowest and the highest.

| measure | track=off | mirrored | difference |
|---|---:|---:|---:|
{row("CPU time of the process that trains", "worker_cpu_s")}
{row("wall-clock time of the stage", "stage_s")}
{row("wall-clock time of the command", "command_s")}

The first training step is on the server {cell(first)} s after its worker has started. The process beside it takes
{extra_s:.1f} s of CPU time, of which most is the import of wandb; the command waits for its last upload.
"""


def cell(values: Sequence[float]) -> str:
    return f"{median(values):.1f} ({values[0]:.1f} to {values[-1]:.1f})" if values else "?"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--pairs", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, wandb_server(Path(folder)) as server:
        pairs = [(measured(asked.steps, None), measured(asked.steps, server)) for _ in range(asked.pairs)]
    text = page(asked.steps, [plain for plain, _ in pairs], [shown for _, shown in pairs])
    TARGET.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
