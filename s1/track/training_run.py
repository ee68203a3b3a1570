"""The numbers of a W&B run of a checkpoint: `train/...` over `train/step`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from s1.files.csv_files import Cell
from sweep.store.documents import RecordJson

if TYPE_CHECKING:
    from s1.track.runs import Run

STEP = "train/step"
NAMES = {"step": STEP, "loss": "train/loss", "learning_rate": "train/lr", "grad_norm": "train/grad_norm"}


def define_training(run: Run) -> None:
    """Draw every training number over the training step, not over W&B's own count of rows."""
    run.define_metric("train/*", step_metric=STEP)


def training_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of metrics.jsonl under the names of W&B: `learning_rate` is `train/lr`."""
    return {NAMES.get(name, f"train/{name}"): value for name, value in row.items()}


def training_summary(record: RecordJson) -> dict[str, Cell]:
    """Tokens of all steps, seconds, price, and whatever else the training reported of itself."""
    numbers = {f"train/{name}": value for name, value in record["summary"].items() if isinstance(value, int | float)}
    return {**numbers, "train/seconds": record["seconds"], "train/usd": record["usd"]}
