"""Intervals that may be looked at several times: repeated confidence intervals.

Looking at an interval after each round, and stopping when it is narrow enough, or when it excludes 0, would make it
wrong more often than its level says. An interval with the quantile of `repeated_quantile` instead of that of the normal
distribution covers the true value at all looks together, whatever rule ends the rounds (Jennison & Turnbull 1989,
Repeated confidence intervals for group sequential trials, JRSS B 51, 305-361; quantiles after Pocock 1977, by the
recursion of Armitage, McPherson & Rowe 1969).

    looks       1      2      3      4      5
    quantile    1.960  2.178  2.312  2.409  2.484    of 95 % intervals, information doubling from look to look
                1.960  2.212  2.358  2.461  2.539    growing fourfold
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from scipy.optimize import root_scalar

NODES = 96  # of the quadrature: errors below 1e-9
SMALLEST_QUANTILE, LARGEST_QUANTILE = 0.01, 8.0


@cache
def repeated_level(level: float, looks: int, growth: float) -> float:
    """The level of a single interval such that those of all looks hold together at `level`.

    `growth`: the most by which information is multiplied from look to look. If it grows more slowly, looks agree more,
    and hold together more often.
    """
    quantile = repeated_quantile(level, [growth**look for look in range(looks)])
    return 2 * NormalDist().cdf(quantile) - 1


def repeated_quantile(level: float, information: Sequence[float]) -> float:
    """Half width in standard errors, the same at each look, for looks at these amounts of information (growing)."""
    if len(information) == 1:
        return NormalDist().inv_cdf((1 + level) / 2)
    found = root_scalar(
        lambda quantile: _all_within(quantile, information) - level, bracket=(SMALLEST_QUANTILE, LARGEST_QUANTILE)
    )
    return float(found.root)


def _all_within(quantile: float, information: Sequence[float]) -> float:
    """The probability that the standardised estimates of all looks are within the quantile.

    They form a Markov chain whose correlation from one look to the next is the square root of the ratio of information.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    places, weights = quantile * nodes, quantile * weights
    density = _normal(places)
    for before, after in pairwise(information):
        correlation = np.sqrt(before / after)
        spread = np.sqrt(1 - before / after)
        steps = _normal((places[:, None] - correlation * places[None]) / spread) / spread
        density = steps @ (weights * density)
    return float(weights @ density)


def _normal(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.square(values) / 2) / np.sqrt(2 * np.pi)
