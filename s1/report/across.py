"""Points that agree in all but one axis, each against the one that has the reference's value there: data sets, say.

The paper's Table 2 is of this kind: 95% intervals of the difference to s1K, the same questions resampled for both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from s1.config import ConfigError
from s1.report.comparison import Comparison, Scored
from s1.report.findings import Difference, Series
from s1.stages import Curve
from s1.stats.grid import grid, require_paired


def across(config: Curve, scored: Sequence[Scored], series: Sequence[Series]) -> list[Difference]:
    """All differences along `compare.axis`. Raises ConfigError if no point has the value to compare with."""
    compare = config.compare
    if compare is None:
        return []
    groups: dict[str, list[Scored]] = defaultdict(list)
    for each in scored:
        groups[repr(sorted((a, repr(v)) for a, v in each.point.values.items() if a != compare.axis))].append(each)
    valid = {point.key: point.valid for line in series for point in line.points}
    return [row for group in groups.values() for row in _against_reference(config, group, valid)]


def _against_reference(config: Curve, group: Sequence[Scored], valid: dict[str, bool]) -> Iterator[Difference]:
    compare, statistics = config.compare, config.statistics
    assert compare is not None
    names = {_name(each, compare.axis): each for each in group}
    reference = next((n for n, each in names.items() if _value(each, compare.axis) == compare.reference), None)
    if reference is None:
        there = ", ".join(sorted({_value(each, compare.axis) for each in group}))
        raise ConfigError(f"compare.reference {compare.reference}: no such value of {compare.axis} (there: {there}).")
    grids = {name: grid(each.scores, name) for name, each in names.items()}
    require_paired(grids)
    pairs = Comparison(grids, {name: valid[each.key] for name, each in names.items()}, statistics)
    return (pairs.difference(name, reference) for name in names if name != reference)


def _value(each: Scored, axis: str) -> str:
    return str(each.point.values.get(axis))


def _name(each: Scored, axis: str) -> str:
    """The value on the axis, the other values that are no budgets, and the budget in words."""
    others = [f"{a} {v}" for a, v in each.point.values.items() if a != axis and a.partition(".")[0] != "budget"]
    return ", ".join([_value(each, axis), *others, each.point.label])
