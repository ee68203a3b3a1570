"""The size of training checkpoints: of the paper's model, and against the files of a real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s1.config.schema import DecoderShape, TrainMethod
from s1.cost import checkpoints_line, training_estimate
from s1.train.checkpoint_size import checkpoint_bytes, most_checkpoints
from s1.train.sft import train
from sweep.config.compose import compose
from tests.support.known import known
from tests.support.training import LORA, RECIPE, TINY, training_inputs, work

QWEN_32B = DecoderShape(
    parameters=32.76e9,
    layers=64,
    hidden_size=5120,
    heads=40,
    kv_heads=8,
    feed_forward_size=27648,
    vocabulary=152064,
)


def test_a_checkpoint_of_the_papers_model_takes_393_gb_and_one_of_adapters_a_few() -> None:
    assert checkpoint_bytes(QWEN_32B, RECIPE) == pytest.approx(393e9, rel=0.001)
    assert checkpoint_bytes(QWEN_32B, replace(RECIPE, weights_dtype="bfloat16")) == pytest.approx(196.6e9, rel=0.001)
    adapters = replace(RECIPE, method=TrainMethod.LORA, lora=replace(LORA, rank=32), weights_dtype="bfloat16")
    assert 3e9 < checkpoint_bytes(QWEN_32B, adapters) < 4e9


def test_the_estimate_is_the_size_of_the_files(tmp_path: Path) -> None:
    wide = replace(TINY, hidden_size=128, feed_forward_size=512)
    inputs = training_inputs(tmp_path / "inputs", wide)
    train(work(inputs, tmp_path))
    folder = tmp_path / "scratch" / "checkpoint-4"
    files = [folder / name for name in ("model.safetensors", "optimizer.pt")]
    parameters = (inputs["model"][0] / "model.safetensors").stat().st_size / 4
    shape = replace(QWEN_32B, parameters=parameters)
    assert sum(path.stat().st_size for path in files) == pytest.approx(checkpoint_bytes(shape, RECIPE), rel=0.03)


@pytest.mark.parametrize(
    ("steps", "every_steps", "every_minutes", "save_total", "most"),
    [
        (315, 50, None, 1, 2),  # the newest while the next is written
        (315, 50, None, 2, 3),
        (51, 50, None, 1, 1),
        (50, 50, None, 1, 0),  # over when it would save
        (30, 50, None, 1, 0),
        (30, 50, 10.0, 1, 2),  # by the clock
        (1, 50, 10.0, 1, 0),
    ],
)
def test_a_run_has_at_most_one_checkpoint_more_than_it_keeps(
    steps: int, every_steps: int, every_minutes: float | None, save_total: int, most: int
) -> None:
    assert most_checkpoints(steps, every_steps, every_minutes, save_total) == most


def test_a_plan_counts_the_checkpoints_that_lie_on_disk_at_the_same_time() -> None:
    def planned(*overrides: str) -> tuple[float, str | None]:
        recipe = (
            "model=qwen2_5_7b",
            "thinking_format@model.thinking_format=s1",
            "data=s1k",
            "train=s1",
            "machine=h100x8",
            "task=aime24",
        )
        (point,) = compose([*recipe, *overrides]).points
        disk_bytes = known(training_estimate(point).disk_bytes)
        return disk_bytes / checkpoint_bytes(known(point.model.shape), known(point.train)), checkpoints_line(point)

    final = planned("machine.checkpoint_every_steps=100000", "machine.checkpoint_every_minutes=null")
    assert final[0] < 1 and final[1] is None
    kept, line = planned()
    assert kept == pytest.approx(final[0] + 2)
    assert line == "checkpoints while qwen2_5_7b trains: at most 2 at a time, 85 GiB each (machine.save_total=1)"
    assert planned("machine.save_total=8")[0] == pytest.approx(final[0] + 9)
