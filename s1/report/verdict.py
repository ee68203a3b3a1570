"""The verdict: sentences on what the numbers of one series support. Answers three questions, from its valid points:

    How does accuracy change with thinking?             up to the peak, and down from it
    Does it rise when the end is suppressed?            from the reference to the fewest more Waits, and to the most
    Does it rise with a majority vote?                  at the reference, from one sample to all of them

An interval above zero means a rise, below zero a fall. If it contains zero, the verdict says that the change cannot be
told at this n, and gives the smallest detectable difference. It speaks of more or less thinking only where the measured
tokens differ.

Points are sorted by measured thinking. The numbers choose the peak, so a rise or fall of the first question is judged
at the level at which all pairs of points hold jointly, whichever is the peak (Bonferroni). It counts only if measured
thinking grows on the way. The other questions are fixed in advance; both steps of the second are judged jointly (Holm).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from s1.report.findings import MeasuredPoint, PairedDifference, Series
from s1.report.format import interval, value
from s1.report.step import Direction, Longer, PointStep, cannot_be_told, direction_of
from s1.stats.seeds import SEEDS_FOR_TWO_WAY


@dataclass(frozen=True)
class CurveShape:
    """The valid points of a series and the differences between them."""

    points: list[MeasuredPoint]  # from the shortest thinking to the longest
    place: int  # index of the peak
    pairs: int
    differences: dict[tuple[str, str], PairedDifference]  # by (against, label)

    @property
    def peak(self) -> MeasuredPoint:
        return self.points[self.place]

    @property
    def rise(self) -> PointStep | None:
        """From the least thinking to the peak."""
        return self._step(0, self.place)

    @property
    def descent(self) -> PointStep | None:
        """From the peak to the most thinking."""
        return self._step(self.place, len(self.points) - 1)

    @property
    def rises(self) -> bool:
        return self.rise is not None and self.rise.is_rise

    @cached_property
    def falls_before(self) -> list[PointStep]:
        """Falls before the peak: those between neighbours, or else the deepest."""
        steps = self._neighbours(0, self.place)
        return [step for step in steps if step.falls] or self._further(range(self.place + 1))

    @cached_property
    def falls_after(self) -> list[PointStep]:
        """Falls after the peak: between neighbours and from the peak to the last point, or else to the lowest."""
        last = len(self.points) - 1
        descent = self.descent
        steps = self._neighbours(self.place, last) + ([descent] if descent and last > self.place + 1 else [])
        return [step for step in steps if step.falls] or self._further(range(self.place, last + 1))

    @property
    def falls(self) -> list[PointStep]:
        return [*self.falls_before, *self.falls_after] if len(self.points) > 1 else []

    @cached_property
    def rebounds(self) -> list[PointStep]:
        """The highest rise from the end of a fall, unless the rise to the peak includes it."""
        ends = {fall.end.label for fall in self.falls if not (self.rises and fall in self.falls_before)}
        places = {point.label: place for place, point in enumerate(self.points)}
        pairs = [(places[start], places[end]) for start, end in self.differences if start in ends]
        steps = [step for step in (self._step(*pair) for pair in pairs) if step is not None and step.is_rise]
        return sorted(steps, key=lambda step: -step.difference.estimate.value)[:1]

    @property
    def jumps(self) -> list[PointStep]:
        """Steps between neighbours whose accuracy differs and whose thinking does not grow measurably."""
        steps = self._neighbours(0, len(self.points) - 1)
        return [step for step in steps if step.direction is not Direction.UNKNOWN and step.longer is not Longer.YES]

    @property
    def grows(self) -> bool:
        """Whether some point thinks measurably longer than another."""
        steps = [self.rise, self.descent, *self._neighbours(0, len(self.points) - 1)]
        return any(step is not None and step.longer is Longer.YES for step in steps)

    @property
    def in_words(self) -> str:
        """`rises to Wait x2, then falls`."""
        if len(self.points) < 2:
            return "nothing to compare"
        on_the_way = f" with a fall on the way, after {self.falls_before[0].start.label}" if self.falls_before else ""
        if self.rises:
            return f"rises to {self.peak.label}{on_the_way}{self._end_in_words}{self._again_in_words}"
        if not self.falls:
            return "cannot be told"
        if self.place == 0:
            return f"falls after {self.peak.label}{self._again_in_words}"
        return f"whether it rises cannot be told; falls after {self.falls[0].start.label}{self._again_in_words}"

    @property
    def _end_in_words(self) -> str:
        if self.falls_after:
            return ", then falls"
        return "" if self.descent is None else "; whether it then falls cannot be told"

    @property
    def _again_in_words(self) -> str:
        return f", rises again after {self.rebounds[0].start.label}" if self.rebounds else ""

    def _step(self, start: int, end: int) -> PointStep | None:
        before, after = self.points[start], self.points[end]
        found = self.differences.get((before.label, after.label))
        return PointStep(before, after, found) if found else None

    def _neighbours(self, start: int, end: int) -> list[PointStep]:
        steps = (self._step(before, after) for before, after in pairwise(range(start, end + 1)))
        return [step for step in steps if step is not None]

    def _further(self, places: range) -> list[PointStep]:
        """The first fall between points that are not neighbours."""
        steps = (self._step(start, end) for start in places for end in places if end > start + 1)
        return [step for step in steps if step is not None and step.falls][:1]


def shape_of(series: Series) -> CurveShape:
    """The shape of a series, from its valid points."""
    valid = [point for point in series.points if point.valid]
    place = next((place for place, point in enumerate(valid) if point.label == series.peak), 0)
    differences = {(row.against, row.label): row for row in [*series.neighbours, *series.shape]}
    return CurveShape(valid, place, series.pairs, differences)


def shape_sentences(shape: CurveShape) -> Iterator[str]:
    """Describe the shape in sentences; none for fewer than two points."""
    if len(shape.points) < 2:
        return
    if not shape.grows:
        yield "Whether accuracy changes with thinking cannot be told: no point thinks measurably longer than another."
    else:
        yield from _rise(shape)
        yield from (f"On the way accuracy falls, {step.in_words}." for step in shape.falls_before)
        yield from _falls_after(shape)
        yield from (f"After that it rises again, {step.in_words}." for step in shape.rebounds)
    for step in shape.jumps:
        yield f"Without measurably longer thinking accuracy {step.direction.value}, {step.in_words}."
    if len(shape.points) > 2 and len({point.accuracy.value for point in shape.points}) > 1:
        yield _caveat(shape)


def _rise(shape: CurveShape) -> Iterator[str]:
    rise = shape.rise
    if shape.rises and rise:
        yield f"Accuracy rises with thinking to {shape.peak.label}, {rise.in_words}."
    elif rise and rise.longer is Longer.YES:
        yield f"Whether accuracy rises with thinking {cannot_be_told(rise)}"
    elif shape.descent and not shape.falls_after:
        yield f"Whether accuracy changes with thinking {cannot_be_told(shape.descent)}"


def _falls_after(shape: CurveShape) -> Iterator[str]:
    if shape.falls_after:
        begins = "Then it falls" if shape.rises else "Accuracy falls with more thinking"
        yield f"{begins}, {', and '.join(step.in_words for step in shape.falls_after)}."
    elif shape.rises and shape.descent:
        yield f"Whether it falls after that {cannot_be_told(shape.descent)}"


def _caveat(shape: CurveShape) -> str:
    level = next(iter(shape.differences.values())).joint.level or 0.0
    decimals = math.ceil(-math.log10(1 - level))  # two digits of the error
    return (
        f"{shape.peak.label} is the best of {len(shape.points)} points, chosen by the numbers, so its accuracy is"
        f" likely too high, and each rise and fall is judged at {100 * level:.{decimals}f}%, the level at which all"
        f" {shape.pairs} pairs hold together."
    )


def verdict(series: Series) -> list[str]:
    """Sentences for the questions that the valid points can answer."""
    shape = shape_of(series)
    suppression = [_suppression_sentence(step, shape.falls) for step in _beyond_reference(series)]
    sentences = [*shape_sentences(shape), *suppression, *_vote_sentence(series)]
    if sentences:
        sentences.extend(_given_seeds(series))
    return sentences or ["Fewer than two valid points in this series: there is nothing to compare."]


def shape_in_words(series: Series) -> str:
    """The shape in a few words, to compare a claim with: "rises to Wait x2, then falls"."""
    return shape_of(series).in_words


def contradicts_monotony(series: Series) -> bool:
    """Whether accuracy falls anywhere while thinking grows."""
    return bool(shape_of(series).falls)


def claim_sentences(claim: str, series: Sequence[Series]) -> list[str]:
    """Sentences that compare a claim with the numbers of each series; none without a claim."""
    if not claim:
        return []
    shapes = "; ".join(f"{each.name}: {shape_in_words(each)}" if each.name else shape_in_words(each) for each in series)
    contradicted = any(map(contradicts_monotony, series))
    more = ["A claim that accuracy never falls with more thinking is contradicted."] if contradicted else []
    return [f"Held against the numbers: {shapes}.", *more]


# ---------------------------------------------------------------------------------------------- suppressed ends


def _beyond_reference(series: Series) -> Iterator[PointStep]:
    rows = {each.label: each for each in series.to_reference}
    for label in series.fixed_comparisons:
        yield PointStep(series.point(series.reference), series.point(label), rows[label])


def _suppression_sentence(step: PointStep, falls: Sequence[PointStep]) -> str:
    if not step.end.audit.mean_waits:
        return f"{step.end.label} suppressed no end of thinking, so it shows nothing about that."
    how = "when the end of thinking is suppressed"
    sentence = f"Accuracy {step.direction.value} {how}, {step.way}: {step.change}."
    if step.direction is Direction.UNKNOWN:
        sentence = f"Whether accuracy rises {how} {cannot_be_told(step)}"
    if step.longer is not Longer.YES:
        measured = f"{value(step.start.thinking_tokens)} and {value(step.end.thinking_tokens)} tokens"
        return f"{sentence} The thinking is {step.longer.value} ({measured}), so this says nothing about more thinking."
    turn = next((fall for fall in falls if fall.end is step.end), None)
    if turn and step.direction is Direction.RISES:
        return f"{sentence} That is past the peak: {turn.start.label} scores higher."
    return sentence


def _given_seeds(series: Series) -> Iterator[str]:
    several = {len(point.sources) for point in series.points if point.valid and len(point.sources) > 1}
    if several and min(several) < SEEDS_FOR_TWO_WAY:
        yield f"This holds for the {min(several)} seeds used: fewer than {SEEDS_FOR_TWO_WAY} say little about others."


# --------------------------------------------------------------------------------------------------------- votes


def _vote_sentence(series: Series) -> Iterator[str]:
    reference = series.point(series.reference)
    if not reference.valid or not reference.at_k:
        return
    voted, change = reference.at_k[-1], reference.at_k[-1].gain
    direction = direction_of(change)
    how = f"with a majority vote of {voted.k} samples ({reference.label})"
    way = f"from {value(reference.accuracy)} to {value(voted.majority)}"
    found = f"{value(change)} points {interval(change)}"
    if direction is Direction.UNKNOWN:
        yield f"Whether accuracy rises {how} cannot be told at n = {change.n}: {way} is {found}."
    else:
        yield f"Accuracy {direction.value} {how}, {way}: {found}."


# --------------------------------------------------------------------------------------------- along another axis


def comparison(rows: Sequence[PairedDifference]) -> list[str]:
    """One sentence per reference: which points along an axis score higher, lower, or not measurably different."""
    by_reference: dict[str, list[PairedDifference]] = {}
    for row in rows:
        if row.valid:
            by_reference.setdefault(row.against, []).append(row)
    return [f"Against {reference}: {'; '.join(_groups(members))}." for reference, members in by_reference.items()]


def _groups(rows: Sequence[PairedDifference]) -> Iterator[str]:
    words = {Direction.RISES: "higher", Direction.FALLS: "lower", Direction.UNKNOWN: "not measurably different"}
    for direction, word in words.items():
        members = [row for row in rows if direction_of(row.joint) is direction]
        if members:
            named = (f"{row.label} {value(row.estimate)} points {interval(row.estimate)}" for row in members)
            yield f"{word}: {', '.join(named)}"
