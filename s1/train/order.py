"""Which rows make which global batch, decided before training: neither micro-batches, nor the number of devices, nor an
attempt that was killed changes it.

    by epochs   ceil(rows / batch) batches each; the last is filled up with the first rows of the same epoch's order,
                which is what accelerate does with s1's 1,000 rows on 16 devices: 63 batches, 5 epochs, 315 steps
    by steps    shuffled epochs joined end to end, cut after `steps` batches

Within windows of `length_window` batches rows are sorted by length, cut into batches, and the batches shuffled: less
padding. A window of one batch leaves batches random, as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, islice
from math import ceil
from random import Random

from s1.config.schema import ConfigError, Train


def total_steps(rows: int, recipe: Train) -> int:
    """How many global batches are trained on."""
    if recipe.steps is not None:
        return recipe.steps
    return (recipe.epochs or 0) * -(-rows // recipe.batch_size)


def warmup_steps(steps: int, share: float) -> int:
    """Steps of rising learning rate, rounded up: 16 of 315 at 0.05 (paper, appendix C)."""
    return ceil(round(steps * share, 6))  # 0.1 x 30 is 3, not a little more


def accumulation_steps(batch_size: int, micro_batch: int, processes: int = 1) -> int:
    """How many micro-batches of each process make one global batch. Raises ConfigError unless they make it exactly."""
    steps, rest = divmod(batch_size, micro_batch * processes)
    if rest:
        raise ConfigError(
            f"train.batch_size {batch_size}: not a multiple of machine.micro_batch {micro_batch} x {processes}"
            f" process{'es' if processes > 1 else ''}. Change the machine, not the batch, which is part of the recipe."
        )
    return steps


def row_order(lengths: Sequence[int], recipe: Train) -> list[int]:
    """The row of every place in all global batches, one batch after the other."""
    random = Random(recipe.seed)
    places = total_steps(len(lengths), recipe) * recipe.batch_size
    order: list[int] = []
    for rows in _streams(len(lengths), recipe, random):
        while len(order) < places and (window := list(islice(rows, recipe.length_window * recipe.batch_size))):
            order += _batched_by_length(window, lengths, recipe.batch_size, random)
    return order[:places]


def _streams(rows: int, recipe: Train, random: Random) -> Iterable[Iterator[int]]:
    """Rows within which a window may reach: one endless stream, or one stream an epoch."""
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
