"""precision.json: half widths of the named differences, from which the next round of a scan with a target is planned.

Named are the comparisons that were fixed before the numbers were known: those along `compare.axis`, or without it those
of the verdict with the reference (the fewest and the most suppressed ends), or else all with the reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from s1.report.across import members_by_name
from s1.report.findings import Findings, PairedDifference
from s1.report.series import SeriesPoint
from s1.rounds import FILE_NAME, NamedDifference, Precision
from s1.stages import CurveConfig


def precision_of(config: CurveConfig, findings: Findings, members: Sequence[SeriesPoint]) -> Precision:
    """The named differences of a finished round."""
    named = _across(config, findings, members) if config.compare else _to_reference(findings)
    return Precision(tuple(named))


def _across(config: CurveConfig, findings: Findings, members: Sequence[SeriesPoint]) -> Iterator[NamedDifference]:
    assert config.compare is not None
    keys = {name: member.key for name, member in members_by_name(members, config.compare.axis).items()}
    for each in filter(_is_measured, findings.across):
        yield _named(each, [keys[each.label], keys[each.against]])


def _to_reference(findings: Findings) -> Iterator[NamedDifference]:
    for series in findings.series:
        keys = {point.label: point.key for point in series.points}
        fixed = series.fixed_comparisons or [each.label for each in series.to_reference]
        for each in filter(_is_measured, series.to_reference):
            if each.label in fixed:
                yield _named(each, [keys[each.label], keys[each.against]])


def _is_measured(difference: PairedDifference) -> bool:
    return difference.valid and difference.estimate.lo is not None


def _named(difference: PairedDifference, keys: Sequence[str]) -> NamedDifference:
    estimate = difference.estimate
    assert estimate.lo is not None and estimate.hi is not None
    scores = dict.fromkeys(key for each in keys for key in each.split())
    half_width = max(estimate.hi - estimate.value, estimate.value - estimate.lo)
    return NamedDifference(difference.label, difference.against, half_width, tuple(scores))


def write_precision(directory: Path, found: Precision) -> None:
    (directory / FILE_NAME).write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
