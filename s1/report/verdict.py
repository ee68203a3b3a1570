"""What the numbers allow to be said, in sentences: decided by paired intervals alone, at comparisons fixed beforehand.

Three questions, asked of the valid points of each series:
    does accuracy rise with the budget?           from the smallest budget to the reference, as many ends held back
    does it rise when the end is held back?       from the reference to the fewest more Waits, and to the most
    does it rise with a majority vote?            at the reference, from one sample to all of them
An interval above zero: it rises. Below zero: it falls. Around zero: it cannot be told at this n, and the smallest
difference that would have shown is named. No question differs: it does not rise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from s1.report.findings import Difference, Measured, Series
from s1.report.show import interval, value
from s1.stats.interval import Estimate


class Direction(Enum):
    RISES = "rises"
    FALLS = "falls"
    SAME = "does not rise"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True)
class Step:
    """From one point to another, with the paired difference on the way."""

    start: Measured
    end: Measured
    change: Estimate
    difference: Difference

    @property
    def direction(self) -> Direction:
        return _direction(self.change, self.difference.gained + self.difference.lost > 0)


def verdict(series: Series) -> list[str]:
    """A sentence for each question that the valid points can answer."""
    sentences = [_sentence(step, "with the thinking budget") for step in _to_reference(series)]
    sentences += [_sentence(step, "when the end of thinking is held back") for step in _beyond_reference(series)]
    sentences += _vote_sentence(series.point(series.reference))
    return sentences or ["Fewer than two valid points: there is nothing to compare."]


def _to_reference(series: Series) -> Iterator[Step]:
    reference = series.point(series.reference)
    for each in series.to_reference:
        start = series.point(each.label)
        if each.valid and not _holds_back_more(start, reference):
            yield Step(start, reference, _reversed(each.estimate), each)
            return


def _beyond_reference(series: Series) -> Iterator[Step]:
    reference = series.point(series.reference)
    extended = [
        each for each in series.to_reference if each.valid and _holds_back_more(series.point(each.label), reference)
    ]
    for each in extended[:1] + extended[1:][-1:]:  # the first and the last, once if they are the same
        yield Step(reference, series.point(each.label), each.estimate, each)


def _holds_back_more(point: Measured, reference: Measured) -> bool:
    """The reference holds back the fewest ends there are: none, unless every point holds some back."""
    asked, least = point.audit.request.budget, reference.audit.request.budget
    return (asked.waits, asked.min_thinking_tokens) != (least.waits, least.min_thinking_tokens)


def _sentence(step: Step, how: str) -> str:
    way = f"from {value(step.start.accuracy)} ({step.start.label}) to {value(step.end.accuracy)} ({step.end.label})"
    change = f"{value(step.change)} points {interval(step.change)}"
    if step.direction is Direction.SAME:
        return f"Accuracy does not rise {how}, {way}: no question is answered differently."
    if step.direction is Direction.UNKNOWN:
        return (
            f"Whether accuracy rises {how} cannot be told at n = {step.change.n}: {way} is {change}, and this"
            f" comparison shows only differences of {value(step.difference.detectable).lstrip('+')} points or more."
        )
    return f"Accuracy {step.direction.value} {how}, {way}: {change}."


def comparison(rows: Sequence[Difference]) -> list[str]:
    """A sentence for each reference: which points along an axis score higher, lower, or cannot be told from it."""
    by_reference: dict[str, list[Difference]] = {}
    for row in rows:
        if row.valid:
            by_reference.setdefault(row.against, []).append(row)
    return [f"Against {reference}: {'; '.join(_groups(members))}." for reference, members in by_reference.items()]


def _groups(rows: Sequence[Difference]) -> Iterator[str]:
    words = {
        Direction.RISES: "higher",
        Direction.FALLS: "lower",
        Direction.SAME: "the same on every question",
        Direction.UNKNOWN: "not to be told apart",
    }
    for direction, word in words.items():
        members = [row for row in rows if _direction(row.estimate, row.gained + row.lost > 0) is direction]
        if members:
            told = (f"{row.label} {value(row.estimate)} points {interval(row.estimate)}" for row in members)
            yield f"{word}: {', '.join(told)}"


def _vote_sentence(reference: Measured) -> Iterator[str]:
    if not reference.valid or not reference.at_k:
        return
    voted, change = reference.at_k[-1], reference.at_k[-1].gain
    direction = _direction(change, (change.lo, change.hi) != (0, 0))
    how = f"with a majority vote of {voted.k} samples ({reference.label})"
    way = f"from {value(reference.accuracy)} to {value(voted.majority)}"
    found = f"{value(change)} points {interval(change)}"
    if direction is Direction.UNKNOWN:
        yield f"Whether accuracy rises {how} cannot be told at n = {change.n}: {way} is {found}."
    else:
        yield f"Accuracy {direction.value} {how}, {way}: {found}."


def _direction(change: Estimate, differs: bool) -> Direction:
    """Where the interval lies; `differs`: some question is answered differently."""
    if change.lo is None or change.hi is None or not differs:
        return Direction.SAME
    if change.lo > 0:
        return Direction.RISES
    return Direction.FALLS if change.hi < 0 else Direction.UNKNOWN


def _reversed(estimate: Estimate) -> Estimate:
    """The same difference, seen from the other point."""
    if estimate.lo is None or estimate.hi is None:
        return replace(estimate, value=-estimate.value)
    return replace(estimate, value=-estimate.value, lo=-estimate.hi, hi=-estimate.lo)
