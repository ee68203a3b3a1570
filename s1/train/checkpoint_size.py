"""Bytes of training checkpoints on disk, before anything is queued. Pure.

A checkpoint holds what is trained and the two moments of AdamW, in the dtype of the trained weights: all weights in
weights_dtype, or adapters in float32 (frozen weights are not saved). With P trained parameters of w bytes: 3 w P, so
12 bytes per parameter for s1's recipe, 393 GB for its 32B model. Schedule, random states and tokenizer add megabytes.
"""

from __future__ import annotations

from s1.config.schema import DecoderShape, Train
from s1.train.memory import ADAPTER_BYTES, BYTES, trained_parameters

COPIES = 3  # weights, and the two moments


def checkpoint_bytes(shape: DecoderShape, train: Train) -> int:
    """Bytes of one checkpoint, over all processes that write a part of it."""
    width = BYTES[train.weights_dtype] if train.lora is None else ADAPTER_BYTES
    return round(COPIES * width * trained_parameters(shape, train))


def most_checkpoints(steps: int, every_steps: int, every_minutes: float | None, save_total: int) -> int:
    """How many checkpoints of a run lie on disk at once at most.

    One more than are kept while the newest is written; by the clock, as many as the run could save. A run that does not
    outlast its save interval saves none.
    """
    saves = (steps - 1) // every_steps if every_minutes is None else steps - 1  # none after the last step
    return max(0, min(saves, save_total + 1))
