"""Points that agree in all but one axis, each against the one that has the reference's value there: data sets, say.

The paper's Table 2 is of this kind: 95% intervals of the difference to s1K, the same questions resampled for both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from s1.config import Compare, ConfigError
from s1.report.comparison import Comparison, holm
from s1.report.findings import Difference, Series
from s1.report.measure import Sampled
from s1.report.series import Member, is_of_request
from s1.stages import Curve
from s1.stats.grid import grid, require_paired


def across(config: Curve, members: Sequence[Member], series: Sequence[Series]) -> list[Difference]:
    """All differences along `compare.axis`. Raises ConfigError if no point has the value to compare with."""
    compare = config.compare
    if compare is None:
        return []
    groups: dict[str, list[Member]] = defaultdict(list)
    for each in members:
        groups[repr(sorted((a, repr(v)) for a, v in each.values.items() if a != compare.axis))].append(each)
    valid = {point.key: point.valid for line in series for point in line.points}
    pairs = [pair for group in groups.values() for pair in _pairs(config, compare, group, valid)]
    levels = holm([compared.at_level(name, reference) for compared, name, reference in pairs], config.statistics.level)
    return [
        compared.difference(name, reference, level)
        for (compared, name, reference), level in zip(pairs, levels, strict=True)
    ]


def _pairs(
    config: Curve, compare: Compare, group: Sequence[Member], valid: Mapping[str, bool]
) -> Iterator[tuple[Comparison, str, str]]:
    """Each point of a group against the one with the reference's value."""
    statistics = config.statistics
    names = {_name(each, compare.axis): each for each in group}
    reference = next((n for n, each in names.items() if _value(each, compare.axis) == compare.reference), None)
    if reference is None:
        there = ", ".join(sorted({_value(each, compare.axis) for each in group}))
        raise ConfigError(f"compare.reference {compare.reference}: no such value of {compare.axis} (there: {there}).")
    sampled = {name: sampled_of(each) for name, each in names.items()}
    require_paired({name: its for name, each in sampled.items() for its in each.grids})
    compared = Comparison(sampled, {name: valid[each.key] for name, each in names.items()}, statistics)
    return ((compared, name, reference) for name in names if name != reference)


def sampled_of(member: Member) -> Sampled:
    """The scores of a point as arrays. Raises StatisticsError for rows that are missing or double."""
    seeds = tuple(each.point.seed for each in member.scored)
    return Sampled(seeds, tuple(grid(each.scores, member.label) for each in member.scored))


def _value(each: Member, axis: str) -> str:
    return str(each.values.get(axis))


def _name(each: Member, axis: str) -> str:
    """The value on the axis, the other values that are no budgets, and the budget in words."""
    others = [f"{a} {v}" for a, v in each.values.items() if a != axis and not is_of_request(a)]
    return ", ".join([_value(each, axis), *others, each.label])
