"""Which rows make which batch: the paper's counts, every row as often as the recipe says, and who shares a batch."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1.config.schema import ConfigError
from s1.train.order import accumulation_steps, row_order, total_steps, warmup_steps
from tests.support.training import RECIPE

BY_EPOCHS = replace(RECIPE, epochs=5, steps=None, batch_size=16, length_window=1)


def batches_of(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def test_the_papers_thousand_rows_make_315_steps_of_which_16_warm_up():
    assert total_steps(1000, BY_EPOCHS) == 315
    assert warmup_steps(315, 0.05) == 16
    assert total_steps(1000, replace(BY_EPOCHS, batch_size=8)) == 625  # the log in the paper's repository, on 8 GPUs
    assert len(row_order([1] * 1000, BY_EPOCHS)) == 315 * 16


@pytest.mark.parametrize(("steps", "share", "warmup"), [(1400, 0.05, 70), (30, 0.1, 3), (6, 1 / 3, 2), (100, 0.0, 0)])
def test_warm_up_is_rounded_up_but_not_for_the_sake_of_a_float(steps, share, warmup):
    assert warmup_steps(steps, share) == warmup


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=40),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(0, 9),
)
@settings(deadline=None)
def test_an_epoch_holds_every_row_once_and_is_filled_up_with_its_own_first_ones(
    lengths, epochs, batch_size, length_window, seed
):
    recipe = replace(BY_EPOCHS, epochs=epochs, batch_size=batch_size, length_window=length_window, seed=seed)
    order = row_order(lengths, recipe)
    epoch = -(-len(lengths) // batch_size) * batch_size
    assert len(order) == epochs * epoch
    shuffled = Random(seed)
    for start in range(0, len(order), epoch):
        seen = Counter(order[start : start + epoch])
        assert set(seen) == set(range(len(lengths)))
        assert sum(seen.values()) - len(seen) < max(batch_size, 2)
    if length_window == 1:
        first = shuffled.sample(range(len(lengths)), len(lengths))
        filled = (first * batch_size)[:epoch]
        assert sorted(map(sorted, batches_of(order[:epoch], batch_size))) == sorted(
            map(sorted, batches_of(filled, batch_size))
        )


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(0, 9), st.integers(1, 4))
@settings(deadline=None)
def test_by_steps_rows_are_seen_equally_often_whatever_their_length(lengths, seed, length_window):
    recipe = replace(RECIPE, steps=25, seed=seed, length_window=length_window)
    order = row_order(lengths, recipe)
    assert len(order) == 100
    assert order == row_order(lengths, recipe)
    seen = Counter(order)
    # a window may be left half used at the end
    spread = 1 + -(-length_window * recipe.batch_size // len(lengths))
    assert max(seen.values()) - min(seen[row] for row in range(len(lengths))) <= spread


def test_a_batch_holds_rows_of_like_length():
    lengths = [10, 500] * 40
    order = row_order(lengths, replace(RECIPE, steps=20, length_window=20))
    assert all(len({lengths[row] for row in batch}) == 1 for batch in batches_of(order, 4))


def test_the_order_is_what_it_was(golden):
    """Rows of lengths 3, 1, 4, ...: by steps in windows of two batches, and by epochs."""
    lengths = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    told = [f"by steps {replace(RECIPE, steps=5).batch_size} a batch"]
    told += [" ".join(map(str, batch)) for batch in batches_of(row_order(lengths, replace(RECIPE, steps=5)), 4)]
    told.append("by epochs, two of them")
    by_epochs = replace(BY_EPOCHS, epochs=2, batch_size=4)
    told += [" ".join(map(str, batch)) for batch in batches_of(row_order(lengths, by_epochs), 4)]
    golden("train/order.txt", "\n".join(told) + "\n")


def test_a_batch_that_micro_batches_and_processes_do_not_make_exactly_is_refused():
    assert accumulation_steps(16, 1, 16) == 1
    assert accumulation_steps(16, 2, 4) == 2
    with pytest.raises(
        ConfigError, match=r"train\.batch_size 8: not a multiple of machine\.micro_batch 3 x 1 process\."
    ):
        accumulation_steps(8, 3)
    with pytest.raises(ConfigError, match=r"train\.batch_size 16: not a multiple of machine\.micro_batch 1 x 6 proc"):
        accumulation_steps(16, 1, 6)
