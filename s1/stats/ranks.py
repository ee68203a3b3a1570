"""Rank statistics."""

from __future__ import annotations

from collections.abc import Iterable

from scipy.stats import mannwhitneyu


def auc(scored: Iterable[tuple[float, bool]]) -> float | None:
    """The probability that a positive scores above a negative, ties counting half; None if either is missing."""
    pairs = list(scored)
    positive = [score for score, is_positive in pairs if is_positive]
    negative = [score for score, is_positive in pairs if not is_positive]
    if not positive or not negative:
        return None
    return float(mannwhitneyu(positive, negative).statistic) / (len(positive) * len(negative))
