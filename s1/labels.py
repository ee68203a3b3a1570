"""How people call a result: the name of its folder. Pure; no key depends on it."""

from __future__ import annotations

import re
from collections.abc import Mapping

VARIANTS = ("model", "data", "train", "budget", "task", "engine", "generate", "seed")  # another choice: another result


def result_name(name: str, chosen: Mapping[str, str]) -> str:
    """results/<name>: the experiment, and what the command line fixes otherwise: "budget_scan-math500-limit=20"."""
    variants = [(field, value) for field, value in chosen.items() if field.partition(".")[0] in VARIANTS]
    parts = [
        f"{field.rpartition('.')[2]}={value.rpartition('/')[2]}" if "." in field or field == "seed" else value
        for field, value in variants
    ]
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", "-".join([name, *parts]))
