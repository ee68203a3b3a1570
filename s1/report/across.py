"""Comparison along one axis, such as data: points that agree elsewhere, each against the one with the reference value.

The paper's Table 2 is of this kind: 95% intervals of the difference to s1K, paired by question.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from s1.config.schema import ConfigError
from s1.report.comparison import Comparison, difference_level, holm
from s1.report.findings import Identity, PairedDifference, Series
from s1.report.series import SEED, SeriesPoint, is_request_axis, sampled_of
from s1.stages import CurveConfig
from s1.stats.grid import require_paired


def across(config: CurveConfig, members: Sequence[SeriesPoint], series: Sequence[Series]) -> list[PairedDifference]:
    """All differences along `compare.axis`. Raises ConfigError if no point has the reference value."""
    compare = config.compare
    if compare is None:
        return []
    if compare.axis == SEED and config.statistics.pool_seeds:
        raise ConfigError("compare.axis seed: seeds are pooled into one point. Set statistics.pool_seeds=false.")
    available = {_value(each, compare.axis) for each in members}
    if compare.reference not in available:
        raise ConfigError(
            f"compare.reference {compare.reference}: no such value of {compare.axis}"
            f" (available: {', '.join(sorted(available))}). Choose one of them, or add points that have it."
        )
    names = _names(members, compare.axis)
    groups: dict[str, list[SeriesPoint]] = defaultdict(list)
    for each in members:
        groups[repr(sorted((a, repr(v)) for a, v in each.values.items() if a != compare.axis))].append(each)
    valid = {point.identity: point.valid for line in series for point in line.points}
    pairs = [
        pair for group in groups.values() for pair in _pairs(config, {names[id(each)]: each for each in group}, valid)
    ]
    intervals = [compared.at_level(name, reference) for compared, name, reference in pairs]
    levels = holm(intervals, difference_level(config.statistics))
    return [
        compared.difference(name, reference, level)
        for (compared, name, reference), level in zip(pairs, levels, strict=True)
    ]


def _pairs(
    config: CurveConfig, names: Mapping[str, SeriesPoint], valid: Mapping[Identity, bool]
) -> Iterator[tuple[Comparison, str, str]]:
    """Compare each point of a group with the one that has the reference value."""
    statistics, compare = config.statistics, config.compare
    assert compare is not None, "called only with a comparison"
    reference = next((n for n, each in names.items() if _value(each, compare.axis) == compare.reference), None)
    if reference is None:
        others = ", ".join(names)
        raise ConfigError(
            f"compare.reference {compare.reference}: no point has this value of {compare.axis} and agrees in the rest"
            f" with {others}. Add it, or choose another reference."
        )
    sampled = {name: sampled_of(each) for name, each in names.items()}
    require_paired({name: its for name, each in sampled.items() for its in each.grids})
    compared = Comparison(sampled, {name: valid[each.identity] for name, each in names.items()}, statistics)
    return ((compared, name, reference) for name in names if name != reference)


def members_by_name(members: Sequence[SeriesPoint], axis: str) -> dict[str, SeriesPoint]:
    """The points of a comparison along this axis, by the names in its differences."""
    names = _names(members, axis)
    return {names[id(each)]: each for each in members}


def _value(each: SeriesPoint, axis: str) -> str:
    value = each.values.get(axis)
    return "null" if value is None else str(value)


def _names(members: Sequence[SeriesPoint], axis: str) -> dict[int, str]:
    """Names by id() of the point; points with equal names also get the values in which they differ."""
    alike: dict[str, list[SeriesPoint]] = defaultdict(list)
    for each in members:
        alike[_name(each, axis)].append(each)
    return {id(each): name + _differing_values(each, group) for name, group in alike.items() for each in group}


def _differing_values(each: SeriesPoint, group: Sequence[SeriesPoint]) -> str:
    differing = [a for a in each.values if len({repr(other.values.get(a)) for other in group}) > 1]
    return "".join(f", {a} {_value(each, a)}" for a in differing)


def _name(each: SeriesPoint, axis: str) -> str:
    """The value on the axis, other values that are not budgets, and the label of the budget."""
    others = [f"{a} {v}" for a, v in each.values.items() if a != axis and not is_request_axis(a)]
    return ", ".join([_value(each, axis), *others, each.label])
