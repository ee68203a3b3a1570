"""How people call things: a point in a few words, a result as a folder. Pure; no key depends on it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from s1.experiment import Experiment
from s1.generate.methods.method import ComputeRequest
from s1.generate.methods.registry import method_of

VARIANTS = ("model", "data", "train", "budget", "task", "engine", "generate", "seed")  # another choice: another result


def label_of(x: Experiment) -> str:
    """A point in a few words: what was asked of the thinking."""
    request = ComputeRequest(x.budget, x.task.instruction)
    return method_of(request).label(request)


def result_name(name: str, chosen: Mapping[str, str]) -> str:
    """results/<name>: the experiment, and what the command line fixes otherwise: "budget_scan-math500-limit=20"."""
    variants = [(field, value) for field, value in chosen.items() if field.partition(".")[0] in VARIANTS]
    parts = [
        f"{field.rpartition('.')[2]}={value.rpartition('/')[2]}" if "." in field or field == "seed" else value
        for field, value in variants
    ]
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", "-".join([name, *parts]))
