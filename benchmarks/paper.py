"""All tables and figures of the paper on the laptop model, in one store: `python benchmarks/paper.py [--publish]`.

Runs every experiment of conf/experiment/paper one after the other and reads the manifests of their results: tokens that
the engine sampled in this store, against tokens of every point from scratch; seconds of this run, against those of the
experiment's own stages, which is what it would take in a store of its own; and how many published rows come out as
published. Stages that --store has already are not made again, and their seconds count as they were.
Writes results/benchmarks/paper.md; --publish also copies each result to results/published/paper.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
EXPERIMENTS = sorted(path.stem for path in (PROJECT / "conf" / "experiment" / "paper").glob("*.yaml"))
NOTE = """One store for all. From scratch: every point of every experiment generates its own traces. Alone: seconds of
the experiment's stages, summed, whichever experiment made them. Rows: published numbers whose direction comes out as
published, comes out different, or is open; on the laptop only directions are compared."""


@dataclass(frozen=True)
class Ran:
    """One experiment, and what its manifest says."""

    name: str
    seconds: float  # of the command
    manifest: Mapping[str, Any]

    @property
    def stages(self) -> Mapping[str, Mapping[str, Any]]:
        return self.manifest["stages"]

    def traces(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Address and summary of every generation."""
        return ((name, stage["summary"]) for name, stage in self.stages.items() if name.startswith("traces/"))

    @property
    def alone_seconds(self) -> float:
        return sum(stage["seconds"] for stage in self.stages.values())

    @property
    def scratch_tokens(self) -> int:
        return sum(summary["sampled_tokens"] for _, summary in self.traces())

    def rows(self) -> list[int]:
        """Published rows as published, different, and undecided."""
        (report,) = (stage["summary"] for name, stage in self.stages.items() if name.startswith("report/"))
        return [int(report.get(name) or 0) for name in ("paper_reproduced", "paper_different", "paper_undecided")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", help="keep the stages here; default: a temporary folder")
    parser.add_argument("--publish", action="store_true", help="copy the results to results/published/paper")
    parser.add_argument("overrides", nargs="*", help="for every experiment, such as task.problems=30")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(given.store or folder) / "store"
        ran = [run(name, store, given.overrides, given.publish) for name in EXPERIMENTS]
    command = " ".join(["python benchmarks/paper.py", *given.overrides])
    text = "\n".join(
        ["# What the paper's experiments cost together", "", f"`{command}`", "", NOTE, "", *table(ran), ""]
    )
    target = PROJECT / "results" / "benchmarks" / "paper.md"
    target.write_text(text, encoding="utf-8")
    print(text)


def run(name: str, store: Path, overrides: Sequence[str], publish: bool) -> Ran:
    """Run one experiment in the store."""
    experiment = [f"+experiment=paper/{name}", "-m", f"store={store}", "track.wandb=false", *overrides]
    results = store.parent / "results"
    start = time.perf_counter()
    sweep(["run", *experiment, f"results={results}"])
    seconds = time.perf_counter() - start
    if publish:
        sweep(["publish", *experiment, "--to", str(PROJECT / "results" / "published" / "paper" / name)])
    manifest = json.loads((results / name / "latest" / "manifest.json").read_text(encoding="utf-8"))
    return Ran(name, seconds, manifest)


def sweep(arguments: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-m", "sweep", *arguments], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)


def table(ran: Sequence[Ran]) -> list[str]:
    """One row per experiment; a generation that several have counts once, where it comes first."""
    lines = [
        "| experiment | points | engine tokens | from scratch | seconds | alone | as published | different | open |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    seen: set[str] = set()
    total = [0, 0, 0, 0.0, 0.0, 0, 0, 0]
    for each in ran:
        new = sum(summary["engine_tokens"] for name, summary in each.traces() if name not in seen)
        seen |= {name for name, _ in each.traces()}
        values = [each.manifest["points"], new, each.scratch_tokens, each.seconds, each.alone_seconds, *each.rows()]
        total = [one + other for one, other in zip(total, values, strict=True)]
        lines.append(row(each.name, values))
    return [*lines, row("**all**", total), "", f"{total[2] / total[1]:.1f} times fewer tokens than from scratch."]


def row(name: str, values: Sequence[float]) -> str:
    return f"| {name} | {' | '.join(f'{value:,.0f}' for value in values)} |"


if __name__ == "__main__":
    main()
