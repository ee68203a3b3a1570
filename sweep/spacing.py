"""Axis values by rule: `geomspace(8,256,32)` on the command line or in an experiment file, beside Hydra's `range(...)`.

value_i = round(low * (high / low) ** (i / (points - 1)))        both ends included, as numpy.geomspace
"""

from __future__ import annotations

from sweep.errors import InputError


def geomspace(low: int, high: int, points: int) -> list[int]:
    """Whole numbers, evenly spaced on a log scale, strictly rising. Raises InputError where there are not so many."""
    call = f"geomspace({low},{high},{points})"
    if not all(isinstance(each, int) for each in (low, high, points)):
        raise InputError(f"{call}: not whole numbers. Give low, high and how many points, such as geomspace(8,256,32).")
    if low <= 0:
        raise InputError(f"{call}: a log scale begins above 0. Raise the low end.")
    if points < 2 or low >= high:
        raise InputError(f"{call}: no rising axis. Give a low end, a higher one, and at least 2 points.")
    values = [round(low * (high / low) ** (index / (points - 1))) for index in range(points)]
    different = len(set(values))
    if different < points:
        raise InputError(
            f"{call}: only {different} different whole numbers. Ask for fewer points or raise the low end."
        )
    return values
