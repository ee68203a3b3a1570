"""How far processors differ: `python benchmarks/processors.py [--experiment budget_scan]`.

The default scan, once for each set of vector instructions that PyTorch has kernels for (ATEN_CPU_CAPABILITY; oneDNN and
MKL are limited to the same set where possible). Sums are rounded in another order, so a float32 result differs in its
last digits; where two tokens are almost equally likely, another one is chosen. Each scan has its own store: first
with training and generation on that processor, then with generation alone, by the model that the last one trained.
Nothing is random between them. Writes results/benchmarks/processors.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TARGET = PROJECT / "results" / "benchmarks" / "processors.md"
PROCESSORS: Mapping[str, Mapping[str, str]] = {  # the last trains the model that the others generate with
    "default": {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
}
REFERENCE = list(PROCESSORS)[-1]
GENERATED = ("traces", "scores", "curve", "report", "shared", "roots")


@dataclass(frozen=True)
class Scan:
    """Results of one scan."""

    accuracy: Mapping[str, str]  # by point, as in table.csv
    answers: Mapping[str, Sequence[str]]  # the lines of each traces.jsonl, by stage key
    model: str  # sha256 of the weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", default="budget_scan")
    experiment = parser.parse_args().experiment
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        whole = {name: scan(name, experiment, home / name) for name in PROCESSORS}
        generated = {}
        for name in PROCESSORS:
            if name != REFERENCE:
                shutil.copytree(
                    home / REFERENCE / "store",
                    home / f"{name}-generation" / "store",
                    ignore=shutil.ignore_patterns(*GENERATED),
                    symlinks=True,
                )
                generated[name] = scan(name, experiment, home / f"{name}-generation")
    text = report(experiment, whole, {**generated, REFERENCE: whole[REFERENCE]})
    TARGET.write_text(text, encoding="utf-8")
    print(text)


def scan(processor: str, experiment: str, home: Path) -> Scan:
    """Run the scan in its own store, with these instructions."""
    environment = {**os.environ, **PROCESSORS[processor], "ATEN_CPU_CAPABILITY": processor}
    require_processor(processor, environment)
    places = [f"store={home}/store", f"results={home}/results", "track=off"]
    command = [sys.executable, "-m", "sweep", f"+experiment={experiment}", *places, "-m"]
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True)
    table = next((home / "results").glob("**/table.csv"))
    with table.open(encoding="utf-8", newline="") as file:
        accuracy = {row["label"]: row["accuracy"] for row in csv.DictReader(file)}
    (weights,) = (
        state["sha256"]
        for record in (home / "store").glob("checkpoint/*/record.json")
        for name, state in json.loads(record.read_text(encoding="utf-8"))["files"].items()
        if name.endswith(".safetensors")
    )
    files = (home / "store").glob("traces/*/*/traces.jsonl")
    answers = {path.parents[1].name: path.read_text(encoding="utf-8").splitlines() for path in sorted(files)}
    return Scan(accuracy, answers, weights)


def require_processor(name: str, environment: Mapping[str, str]) -> None:
    """Exit if this machine lacks these instructions, because PyTorch would silently use others."""
    code = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    if done.stdout.strip().lower().replace("_", "") != name:
        raise SystemExit(f"{name}: not available on this processor, PyTorch uses {done.stdout.strip()}.")


def report(experiment: str, whole: Mapping[str, Scan], generated: Mapping[str, Scan]) -> str:
    """The page."""
    said = (__doc__ or "").split("\n\n")[1].replace(" Writes results/benchmarks/processors.md.", "").strip()
    lines = [
        "# How far processors differ",
        "",
        f"`python benchmarks/processors.py`, `+experiment={experiment}`, on {processor_name()}.",
        "",
        said,
        "",
        "## Trained and generated there",
        "",
        *models(whole),
        "",
        *table(whole),
        "",
        f"## Generated there, by the model trained with {REFERENCE}",
        "",
        *table(generated),
        "",
    ]
    return "\n".join(lines)


def models(scans: Mapping[str, Scan]) -> list[str]:
    same = len({each.model for each in scans.values()}) == 1
    return ["The trained weights are the same bytes." if same else "The trained weights differ."]


def table(scans: Mapping[str, Scan]) -> list[str]:
    """Accuracy by point and processor, the widest difference, and how many answers are not those of the reference."""
    reference = scans[REFERENCE]
    rows = [f"| point | {' | '.join(scans)} | widest difference |", f"|---|{'---:|' * (len(scans) + 1)}"]
    for label in reference.accuracy:
        values = [100 * float(each.accuracy[label]) for each in scans.values()]
        rows.append(
            f"| {label} | {' | '.join(f'{value:.1f}%' for value in values)} | {max(values) - min(values):.1f} points |"
        )
    rows.append(f"| answers that differ | {' | '.join(differing(each, reference) for each in scans.values())} | |")
    return rows


def differing(scan: Scan, reference: Scan) -> str:
    """Lines of traces.jsonl that differ from the reference, over all points: "12 of 3,000"."""
    pairs = [pair for key, lines in reference.answers.items() for pair in zip(scan.answers[key], lines, strict=True)]
    return f"{sum(one != other for one, other in pairs):,} of {len(pairs):,}"


def processor_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
