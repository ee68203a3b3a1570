"""A small recipe, model and data set for tests of fine-tuning, and readers of a run's output."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

from s1.config.schema import Architecture, Dial, Lora, ModelKind, Overlong, Train, TrainMethod
from s1.models.location import materialise
from s1.records import TokenRow, write_rows
from s1.stages import BaseModelConfig, CheckpointConfig
from sweep.core.stage import Work

RECIPE = Train(
    method=TrainMethod.FULL,
    epochs=None,
    steps=6,
    batch_size=4,
    learning_rate=1e-2,
    warmup_share=1 / 3,
    scheduler="linear",
    adam_beta1=0.9,
    adam_beta2=0.98,
    weight_decay=0.05,
    max_grad_norm=1.0,
    block_size=512,
    overlong=Overlong.REFUSE,
    length_window=2,
    dtype="float32",
    weights_dtype="float32",
)
LORA = Lora(rank=4, alpha=8, dropout=0.0, targets=["all-linear"])
TINY = Architecture(hidden_size=16, layers=2, heads=2, feed_forward_size=16, rope_theta=1000.0, initializer_range=0.1)
START = BaseModelConfig(ModelKind.FRESH, None, None, None, architecture=TINY, dial=Dial(turns_max=3), seed=0)
SETTINGS = {
    "device": "cpu",
    "micro_batch": 4,
    "checkpoint_every_steps": 2,
    "checkpoint_every_minutes": None,
    "save_total": 2,
    "gradient_checkpointing": False,
    "padding_free": False,
}


def rows(count: int = 30, seed: int = 0) -> list[TokenRow]:
    """Made-up token ids of different lengths, a third of them prompt, closed by token 2 as by <|im_end|>."""
    random = Random(seed)
    made = []
    for number in range(count):
        length = random.randint(8, 40)
        # a rule to learn: every token is one more than the one before it
        start = random.randrange(3, 100)
        ids = [*(start + place for place in range(length - 1)), 2]
        made.append(TokenRow(f"row-{number}", ids, length // 3))
    return made


def start_model(out: Path, architecture: Architecture = TINY) -> Path:
    """A tiny fresh model in Hugging Face layout."""
    out.mkdir(parents=True, exist_ok=True)
    start = replace(START, architecture=architecture)
    materialise(Work("base_model", start, {}, out, out, out, {}, lambda *_progress: None))
    return out


def training_inputs(place: Path, architecture: Architecture = TINY) -> dict[str, tuple[Path, ...]]:
    """A tiny model and 30 rows, as the stage finds them."""
    (place / "data").mkdir(parents=True)
    write_rows(place / "data" / "rows.jsonl", rows())
    return {"model": (start_model(place / "model", architecture),), "data": (place / "data",)}


def work(
    inputs: dict[str, tuple[Path, ...]],
    place: Path,
    recipe: Train = RECIPE,
    report=lambda *_progress: None,
    **settings: object,
) -> Work[CheckpointConfig]:
    for name in ("out", "scratch"):
        (place / name).mkdir(parents=True, exist_ok=True)
    given = {**SETTINGS, **settings}
    return Work("key", CheckpointConfig(recipe), inputs, place / "out", place / "scratch", place, given, report)


def metrics(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in metrics(out)]
