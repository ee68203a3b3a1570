"""The rows of each global batch, fixed before training.

Micro-batches, the number of devices and killed attempts do not change them.

    by epochs   ceil(rows / batch) batches per epoch; the last is filled up with the first rows of the same epoch, as
                accelerate does with s1's 1,000 rows on 16 devices: 63 batches, 5 epochs, 315 steps
    by steps    shuffled epochs joined end to end, cut after `steps` batches

To reduce padding, the rows in each window of `length_window` batches are sorted by length and divided into batches,
which are then shuffled. With a window of one batch, batches are random, as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, islice
from math import ceil
from random import Random

from s1.config.schema import ConfigError, Train


def total_steps(rows: int, recipe: Train) -> int:
    """The number of global batches in the whole run."""
    if recipe.steps is not None:
        return recipe.steps
    return (recipe.epochs or 0) * -(-rows // recipe.batch_size)


def warmup_steps(steps: int, share: float) -> int:
    """Steps of rising learning rate, rounded up: 16 of 315 at 0.05 (paper, appendix C)."""
    return ceil(round(steps * share, 6))  # 0.1 x 30 is 3, despite rounding errors


def accumulation_steps(batch_size: int, micro_batch: int, processes: int = 1) -> int:
    """Micro-batches per process in one global batch. Raises ConfigError if the batch size is not a multiple."""
    steps, rest = divmod(batch_size, micro_batch * processes)
    if rest:
        raise ConfigError(
            f"train.batch_size {batch_size}: not a multiple of machine.micro_batch {micro_batch} x {processes}"
            f" process{'es' if processes > 1 else ''}. Change machine.micro_batch, not the batch size, which is part of"
            " the recipe."
        )
    return steps


def row_order(lengths: Sequence[int], recipe: Train) -> list[int]:
    """The row index at each position of all global batches, batch after batch."""
    random = Random(recipe.seed)
    places = total_steps(len(lengths), recipe) * recipe.batch_size
    order: list[int] = []
    for rows in _streams(len(lengths), recipe, random):
        while len(order) < places and (window := list(islice(rows, recipe.length_window * recipe.batch_size))):
            order += _batched_by_length(window, lengths, recipe.batch_size, random)
    return order[:places]


def _streams(rows: int, recipe: Train, random: Random) -> Iterable[Iterator[int]]:
    """The streams that windows are cut from: one endless stream, or one per epoch."""
    if recipe.steps is not None:
        return [_endless(rows, random)]
    filled = -(-rows // recipe.batch_size) * recipe.batch_size
    return (islice(cycle(random.sample(range(rows), rows)), filled) for _ in range(recipe.epochs or 0))


def _endless(rows: int, random: Random) -> Iterator[int]:
    while True:
        yield from random.sample(range(rows), rows)


def _batched_by_length(window: list[int], lengths: Sequence[int], batch_size: int, random: Random) -> list[int]:
    ordered = sorted(window, key=lambda row: lengths[row])
    batches = [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
    random.shuffle(batches)
    return [row for batch in batches for row in batch]
