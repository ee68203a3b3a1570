"""How people call things: a point in a few words, a result as a folder. Pure; no key depends on it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from s1.config import Forcing
from s1.experiment import Experiment

VARIANTS = ("model", "data", "train", "budget", "task", "engine", "generate", "seed")  # another choice: another result


def label_of(x: Experiment) -> str:
    """A point in a few words: what was asked of the thinking."""
    budget = x.budget
    if budget.forcing is Forcing.NONE:
        return "no forcing"
    cap = f"max {budget.max_thinking_tokens}" if budget.max_thinking_tokens is not None else "natural end"
    wait = f"{on_one_line(budget.continuation) or 'suppressed end'} x{budget.waits}" if budget.waits else ""
    low = f"min {budget.min_thinking_tokens}" if budget.min_thinking_tokens else ""
    parts = [part for part in (wait, low) if part]
    if budget.max_thinking_tokens is not None or not parts:
        parts.append(cap)
    return ", ".join(parts)


def on_one_line(text: str) -> str:
    """A text as a part of a label: new lines and tabs as they are typed, or they would break tables."""
    return text.replace("\n", "\\n").replace("\t", "\\t")


def result_name(name: str, chosen: Mapping[str, str]) -> str:
    """results/<name>: the experiment, and what the command line fixes otherwise: "budget_scan-math500-limit=20"."""
    variants = [(field, value) for field, value in chosen.items() if field.partition(".")[0] in VARIANTS]
    parts = [
        f"{field.rpartition('.')[2]}={value.rpartition('/')[2]}" if "." in field or field == "seed" else value
        for field, value in variants
    ]
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", "-".join([name, *parts]))
