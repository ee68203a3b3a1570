"""Cost of the default scan and of its controls, in one run: `python benchmarks/scan.py [--repeats 3]`.

Engine tokens and wall time of the answers of two scans: sharing one continuation store, every point from scratch
(`generate.share=false`), and the largest point alone; then the start-up of the command line. The model is
trained once and its stages are copied into a fresh store for every run. Writes results/benchmarks/scan.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unavoidable import unavoidable_tokens

PROJECT = Path(__file__).resolve().parents[1]
BUDGETS = "8,16,20,24,32,40"
SIX = f"budget.max_thinking_tokens={BUDGETS}"
CASES = {  # the last of each group is its largest point alone
    "six budgets": {
        "shared": [SIX],
        "each from scratch": [SIX, "generate.share=false"],
        "the largest alone": ["budget.max_thinking_tokens=40"],
    },
    "the default scan: six budgets, natural end, Wait x1, x2, x4": {
        "shared": ["+experiment=budget_scan"],
        "each from scratch": ["+experiment=budget_scan", "generate.share=false"],
        "the largest alone": ["budget.waits=4"],
    },
}
COMMANDS = {
    "python -m sweep --help": ["--help"],
    "a scan that is all cached": ["+experiment=budget_scan", "-m"],
    "the plan of 1,000 points": ["budget.max_thinking_tokens=range(1,251)", "seed=0,1,2,3", "plan=true", "-m"],
}


NOTE = """Seconds of answers are those of the worker that loads the model (about 4 s) and generates. What sharing adds
to the largest point alone are the answers of the other points: here 2 to 4 tokens each, beside thinking of 29; with
the traces of a real model, thousands of tokens long, they vanish."""


@dataclass(frozen=True)
class Measured:
    engine_tokens: int
    sampled_tokens: int
    prompt_tokens: int
    cached_tokens: int
    unavoidable_tokens: int  # what no engine could leave out (benchmarks/unavoidable.py)
    seconds: float  # of the process that loads the model and answers


def sweep(arguments: Sequence[str], store: Path) -> float:
    """Run one command; wall seconds."""
    places = [] if "--help" in arguments else [f"store={store}", f"results={store}/results", "track.wandb=false"]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sweep", *arguments, *places], cwd=PROJECT, check=True, capture_output=True)
    return time.perf_counter() - start


def answers(overrides: Sequence[str], trained: Path) -> Measured:
    """One case in a fresh store that has the trained model and nothing generated."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        shutil.copytree(trained, store, ignore=shutil.ignore_patterns("traces", "scores", "curve", "report", "shared"))
        sweep([*overrides, "-m"], store)
        records = [json.loads(path.read_text(encoding="utf-8")) for path in store.glob("traces/*/record.json")]
        unavoidable = unavoidable_tokens(store)
    names = ("engine_tokens", "sampled_tokens", "prompt_tokens", "cached_tokens")
    return Measured(
        **{name: sum(record["summary"][name] for record in records) for name in names},
        unavoidable_tokens=unavoidable,
        seconds=sum(record["seconds"] for record in records),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        trained = Path(folder) / "store"
        first = sweep(["+experiment=budget_scan", "-m"], trained)
        lines = [f"First scan, nothing cached: {first:.0f} s, of which:", "", *stages(trained), ""]
        lines += [*generation(trained, repeats), *start_up(trained, repeats)]
    text = "\n".join(["# What the scan costs", "", "`python benchmarks/scan.py`", "", NOTE, "", *lines, ""])
    target = PROJECT / "results" / "benchmarks" / "scan.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    print(text)


def stages(trained: Path) -> list[str]:
    """Where the time of the first scan went, by stage name."""
    seconds: dict[str, float] = {}
    for path in trained.glob("*/*/record.json"):
        name = path.parents[1].name
        seconds[name] = seconds.get(name, 0.0) + json.loads(path.read_text(encoding="utf-8"))["seconds"]
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return ["| stage | seconds |", "|---|---:|", *(f"| {name} | {value:.1f} |" for name, value in ordered)]


def generation(trained: Path, repeats: int) -> list[str]:
    """All cases, interleaved, so that drift of the machine affects them equally."""
    runs: dict[tuple[str, str], list[Measured]] = {}
    for _ in range(repeats):
        for group, cases in CASES.items():
            for name, overrides in cases.items():
                runs.setdefault((group, name), []).append(answers(overrides, trained))
    rows = []
    for group, cases in CASES.items():
        base = runs[group, list(cases)[-1]][0].engine_tokens
        rows += [
            f"| {group} | engine tokens | against the largest alone | median seconds | all |",
            "|---|---:|---:|---:|---|",
        ]
        for name in cases:
            measured = runs[group, name]
            seconds = [each.seconds for each in measured]
            tokens = measured[0].engine_tokens
            spread = ", ".join(f"{each:.1f}" for each in seconds)
            rows.append(f"| {name} | {tokens:,} | {tokens / base:.2f}x | {statistics.median(seconds):.1f} | {spread} |")
        rows.append("")
    return rows


def start_up(trained: Path, repeats: int) -> list[str]:
    """Whole-process seconds of commands that generate nothing."""
    rows = ["| command | median seconds | all |", "|---|---:|---|"]
    for name, arguments in COMMANDS.items():
        seconds = [sweep(arguments, trained) for _ in range(repeats + 1)][1:]
        rows.append(f"| {name} | {statistics.median(seconds):.2f} | {', '.join(f'{each:.2f}' for each in seconds)} |")
    return rows


if __name__ == "__main__":
    main()
