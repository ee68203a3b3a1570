"""Tokens that rounds save: `python benchmarks/rounds.py [--target 5]`, some minutes.

The default scan on the laptop model, sampled, with `statistics.target`, beside two fixed designs of the same questions
that reach the same half width of the named differences: one that gives every point the samples that the widest needed,
which someone who does not know the widths beforehand must plan, and the smallest such number in hindsight, with an
interval of a single look. Tokens are those that were sampled, all rounds together. Writes results/benchmarks/rounds.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from s1.config.schema import LOOKS, MOST_GROWTH
from s1.rounds import read_precision
from s1.stats.interval import two_sided_z
from s1.stats.sequential import repeated_level
from sweep.core.provenance import PROJECT, git_state

FIRST = ("task.limit=50", "task.samples=1", "generate=sampled")
SAMPLES_MAX = 32


@dataclass(frozen=True)
class Run:
    """A finished command in a store of its own."""

    name: str
    questions: int
    samples: str  # of the points, fewest first
    tokens: int  # sampled
    half_width: float  # the widest of the named differences


def run(home: Path, name: str, *overrides: str) -> Run:
    """Run the scan; its widths come from the round with the most samples."""
    store = home / name.replace(" ", "-") / "store"
    command = [sys.executable, "-m", "sweep", "+experiment=budget_scan", *overrides, f"store={store}"]
    command += [f"results={store.parent / 'results'}", "track.wandb=false", "yes=true", "-m"]
    subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    records = [json.loads(path.read_text("utf-8")) for path in (store / "traces").glob("*/record.json")]
    tokens = sum(record["summary"]["engine_tokens"] for record in records)
    curve = max(store.glob("curve/*/record.json"), key=lambda path: path.stat().st_mtime).parent
    inputs = json.loads((curve / "stage.json").read_text("utf-8"))["inputs"]
    design = [_design(store / each["stage"]) for each in inputs["traces"]]
    widest = max(each.half_width for each in read_precision(curve / "out").differences)
    samples = "/".join(str(each) for each in sorted({samples for _, samples in design}))
    return Run(name, design[0][0], samples, tokens, widest)


def _design(place: Path) -> tuple[int, int]:
    """Questions and samples of a stage of traces."""
    rows = [json.loads(line) for line in (place / "out" / "traces.jsonl").read_text("utf-8").splitlines()]
    questions = {row["question_id"] for row in rows}
    return len(questions), len(rows) // len(questions)


def fixed(home: Path, name: str, questions: int, samples: int, target: float) -> Run:
    """Every point with the same questions and samples, in one round."""
    design = (f"task.limit={questions}", f"task.samples={samples}", "generate=sampled")
    return run(home, name, *design, f"statistics.target={target}", "statistics.looks=1")


def smallest(home: Path, found: Run, target: float) -> Run:
    """The fewest samples of every point whose single-look interval is as narrow as that of the rounds."""
    for samples in range(1, SAMPLES_MAX + 1):
        each = fixed(home, f"fixed {samples}", found.questions, samples, target)
        if each.half_width <= found.half_width:
            return each
    return each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=5.0, help="half width in percentage points")
    target = parser.parse_args().target
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        rounds = run(home, "rounds", *FIRST, f"statistics.target={target}", f"statistics.samples_max={SAMPLES_MAX}")
        uniform = fixed(home, "every point alike", rounds.questions, int(rounds.samples.split("/")[-1]), target)
        hindsight = smallest(home, rounds, target)
    (PROJECT / "results" / "benchmarks" / "rounds.md").write_text(page([rounds, uniform, hindsight], target), "utf-8")


def page(runs: list[Run], target: float) -> str:
    """The table."""
    first = runs[0].tokens
    lines = [
        f"| {each.name} | {each.questions} | {each.samples} | {each.half_width:.2f} | {each.tokens:,} |"
        f" {each.tokens / first:.2f} |"
        for each in runs
    ]
    ratio = two_sided_z(repeated_level(0.95, LOOKS, MOST_GROWTH)) / two_sided_z(0.95)
    return "\n".join(
        [
            f"# Tokens that rounds save, at a target of {target:g} points",
            "",
            "`python benchmarks/rounds.py`. " + " ".join((__doc__ or "").split("\n\n")[1].split()),
            f"Intervals that hold at all {LOOKS} looks are {ratio:.2f} times as wide as those of one.",
            "",
            "| design | questions | samples | half width | tokens sampled | x rounds |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            f"Commit {git_state()['commit']}.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
