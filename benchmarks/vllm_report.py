"""vllm.md and vllm.png of what benchmarks/vllm_scan.py measured: medians with all runs beside them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SECTIONS = {  # part: heading, reference case, remark
    "scan": (
        "Six budgets of 8 to 256 tokens and Wait x1, x2, x4",
        "the largest alone",
        "SmolLM2-135M-Instruct in float32 on vLLM for CPUs, two cores; answers of 8"
        " tokens. The largest point is Wait x4 within 256 tokens. Each point from scratch is `generate.share=false`."
        " Seconds are those of the process that loads the model and generates.",
    ),
    "dense": (
        "32 budgets of 8 to 256 tokens beside six",
        "six budgets",
        "Without Waits. What 32 budgets add are answers; budgets beyond the natural end add none.",
    ),
    "long": (
        "32 budgets of 8 to 1,024 tokens beside six",
        "six budgets",
        "The longer the thinking, the less the answers weigh.",
    ),
    "deep": (
        "Thinking of up to 1,024 tokens and answers of 64",
        "the largest alone",
        "The largest point is Wait x4 within 1,024 tokens. The answers run to"
        " the cap of 64 tokens, because their only stop is one that the model never writes.",
    ),
    "driver": (
        "Our loop beside a bare `LLM.generate`",
        "LLM.generate",
        "One vLLM engine, in turn: prompts with the same mixed lengths of 16 to 400 tokens, greedy. Ours goes"
        " through policies, rollout and the continuation store on disk. Seconds of generation alone.",
    ),
}


PEER = "lm-eval hf, six budgets"
UNAVOIDABLE_NOTE = (
    "Unavoidable tokens are the sampled tokens of all traces, with common beginnings counted once: the union of the"
    " thinking, and each point's own answer."
)
PEER_NOTE = (
    "lm-eval 0.4.13's own `hf` model forces nothing and asks for no answer: its tokens are the thinking of the six"
    " budgets alone."
)


def write_report(results: Path) -> None:
    """Both files beside vllm.json."""
    rows = json.loads((results / "vllm.json").read_text(encoding="utf-8"))
    parts = {part: by_case([row for row in rows if row["part"] == part]) for part in SECTIONS}
    lines = [
        "# vLLM: a scan at the price of one run",
        "",
        "`S1_DATA_DIR=DIR make bench-vllm`",
        "",
        UNAVOIDABLE_NOTE,
        "",
    ]
    for part, cases in parts.items():
        if cases:
            lines += [*section(part, cases), ""]
    (results / "vllm.md").write_text("\n".join(lines), encoding="utf-8")
    draw(parts["scan"], results / "vllm.png")


def by_case(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    cases: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        cases.setdefault(row["case"], []).append(row)
    return cases


def section(part: str, cases: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    heading, base, note = SECTIONS[part]
    problems = cases[base][0]["problems"]
    commits = ", ".join(dict.fromkeys(run["commit"] for runs in cases.values() for run in runs))
    measured = f"{problems} AIME24 and {problems} MATH-500 problems, measured at {commits}."
    note = f"{measured} {note}{f' {PEER_NOTE}' if PEER in cases else ''}"
    tokens, seconds = cases[base][0]["engine_tokens"], median(cases[base])
    lines = [
        f"## {heading}",
        "",
        note,
        "",
        f"| | engine tokens | against {base} | median seconds | against {base} | tokens/s | all runs, s | cached |"
        " against unavoidable tokens |",
        "|---|---:|---:|---:|---:|---:|---|---:|---:|",
    ]
    for case, runs in cases.items():
        first, took = runs[0], median(runs)
        cached = f"{first['cached_tokens'] / first['prompt_tokens']:.0%}" if first["prompt_tokens"] else ""
        unavoidable = first.get("unavoidable_tokens")
        above = f"{first['engine_tokens'] / unavoidable:.3f}x" if unavoidable else ""
        spread = ", ".join(f"{run['seconds']:.0f}" for run in runs)
        lines.append(
            f"| {case} | {first['engine_tokens']:,} | {first['engine_tokens'] / tokens:.2f}x | {took:.0f}"
            f" | {took / seconds:.2f}x | {first['engine_tokens'] / took:.0f} | {spread} | {cached} | {above} |"
        )
    return lines


def median(runs: Sequence[Mapping[str, Any]]) -> float:
    return statistics.median(run["seconds"] for run in runs)


def draw(cases: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Engine tokens and seconds of each case, as bars."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.7 + 0.42 * len(cases)), layout="constrained")
    FigureCanvasAgg(figure)
    names = list(cases)[::-1]
    values = {
        "engine tokens (thousands)": [cases[name][0]["engine_tokens"] / 1000 for name in names],
        "seconds (median)": [median(cases[name]) for name in names],
    }
    for axes, (title, numbers) in zip(figure.subplots(1, 2, sharey=True), values.items(), strict=True):
        colours = ["#1f5fa8" if name == "shared" else "#b9bec6" for name in names]
        bars = axes.barh(names, numbers, color=colours, height=0.62)
        axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=9)
        axes.set_title(title, loc="left", fontsize=10)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.set_xlim(0, 1.15 * max(numbers))
        axes.tick_params(length=0, labelbottom=False)
    figure.savefig(path, dpi=160, metadata={"Software": None})
