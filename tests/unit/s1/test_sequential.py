"""Repeated confidence intervals: published quantiles, and the coverage of what ends at any look."""

from __future__ import annotations

import numpy as np
import pytest

from s1.stats.interval import two_sided_z
from s1.stats.sequential import repeated_level, repeated_quantile

# Pocock (1977), Table 1: two-sided 5 %, looks at equal steps of information.
POCOCK = {1: 1.960, 2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413, 10: 2.555}


@pytest.mark.parametrize("looks", POCOCK)
def test_quantiles_are_those_of_pocock(looks: int) -> None:
    assert repeated_quantile(0.95, range(1, looks + 1)) == pytest.approx(POCOCK[looks], abs=1e-3)


def test_looks_further_apart_need_wider_intervals() -> None:
    doubling = repeated_quantile(0.95, [1, 2, 4, 8, 16])
    assert repeated_quantile(0.95, [1, 2, 3, 4, 5]) < doubling < two_sided_z(1 - 0.05 / 5)


def test_one_look_has_the_level_itself() -> None:
    assert repeated_level(0.9, 1, 2) == pytest.approx(0.9)


def test_intervals_of_all_looks_hold_together_where_plain_ones_do_not() -> None:
    looks, trials = 5, 20_000
    generator = np.random.default_rng(7)
    steps = generator.standard_normal((trials, looks)) * np.sqrt([1, 1, 2, 4, 8])  # information 1, 2, 4, 8, 16
    standardised = np.abs(steps.cumsum(axis=1) / np.sqrt([1, 2, 4, 8, 16]))
    error = 3 * np.sqrt(0.05 * 0.95 / trials)
    covered = (standardised <= two_sided_z(repeated_level(0.95, looks, 2))).all(axis=1).mean()
    assert covered == pytest.approx(0.95, abs=error)
    assert (standardised <= two_sided_z(0.95)).all(axis=1).mean() < 0.87
