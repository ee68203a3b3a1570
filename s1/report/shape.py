"""How accuracy goes with thinking along one series: up to its peak, and down.

Points are in the order of their measured thinking. The peak is chosen by the numbers, so every rise and fall named here
is judged at the level at which all pairs of points hold together, whichever had been the peak. A step counts only where
the measured thinking grows on the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from s1.report.findings import Difference, Measured, Series
from s1.report.step import Direction, Longer, Step, cannot_be_told


@dataclass(frozen=True)
class Shape:
    """The valid points of a series, and what was found between them."""

    points: list[Measured]  # from the shortest thinking to the longest
    place: int  # of the peak
    pairs: int
    differences: dict[tuple[str, str], Difference]  # by (against, label)

    @property
    def peak(self) -> Measured:
        return self.points[self.place]

    @property
    def rise(self) -> Step | None:
        """From the least thinking to the peak."""
        return self._step(0, self.place)

    @property
    def descent(self) -> Step | None:
        """From the peak to the most thinking."""
        return self._step(self.place, len(self.points) - 1)

    @property
    def rises(self) -> bool:
        return self.rise is not None and self.rise.is_rise

    @cached_property
    def falls_before(self) -> list[Step]:
        """Falls on the way to the peak: between neighbours, otherwise the deepest."""
        steps = self._neighbours(0, self.place)
        return [step for step in steps if step.falls] or self._further(range(self.place + 1))

    @cached_property
    def falls_after(self) -> list[Step]:
        """Falls behind the peak: between neighbours and from the peak to the last; otherwise to the lowest."""
        last = len(self.points) - 1
        descent = self.descent
        steps = self._neighbours(self.place, last) + ([descent] if descent and last > self.place + 1 else [])
        return [step for step in steps if step.falls] or self._further(range(self.place, last + 1))

    @property
    def falls(self) -> list[Step]:
        return [*self.falls_before, *self.falls_after] if len(self.points) > 1 else []

    @cached_property
    def rebounds(self) -> list[Step]:
        """The highest rise from the end of a fall, where a rise to the peak does not say it already."""
        ends = {fall.end.label for fall in self.falls if not (self.rises and fall in self.falls_before)}
        places = {point.label: place for place, point in enumerate(self.points)}
        pairs = [(places[start], places[end]) for start, end in self.differences if start in ends]
        steps = [step for step in (self._step(*pair) for pair in pairs) if step is not None and step.is_rise]
        return sorted(steps, key=lambda step: -step.difference.estimate.value)[:1]

    @property
    def jumps(self) -> list[Step]:
        """Neighbours whose accuracy differs while their thinking does not."""
        steps = self._neighbours(0, len(self.points) - 1)
        return [step for step in steps if step.direction is not Direction.UNKNOWN and step.longer is not Longer.YES]

    @property
    def grows(self) -> bool:
        """Some point thinks measurably longer than another."""
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

    def _step(self, start: int, end: int) -> Step | None:
        before, after = self.points[start], self.points[end]
        found = self.differences.get((before.label, after.label))
        return Step(before, after, found) if found else None

    def _neighbours(self, start: int, end: int) -> list[Step]:
        steps = (self._step(before, after) for before, after in pairwise(range(start, end + 1)))
        return [step for step in steps if step is not None]

    def _further(self, places: range) -> list[Step]:
        """The first fall between points that lie further apart."""
        steps = (self._step(start, end) for start in places for end in places if end > start + 1)
        return [step for step in steps if step is not None and step.falls][:1]


def shape_of(series: Series) -> Shape:
    """Of the valid points."""
    valid = [point for point in series.points if point.valid]
    place = next((place for place, point in enumerate(valid) if point.label == series.peak), 0)
    differences = {(row.against, row.label): row for row in [*series.neighbours, *series.shape]}
    return Shape(valid, place, series.pairs, differences)


def outlined(shape: Shape) -> Iterator[str]:
    """The shape in sentences; none for fewer than two points."""
    if len(shape.points) < 2:
        return
    if not shape.grows:
        yield "Whether accuracy changes with thinking cannot be told: no point thinks measurably longer than another."
    else:
        yield from _rise(shape)
        yield from (f"On the way accuracy falls, {step.said}." for step in shape.falls_before)
        yield from _falls_after(shape)
        yield from (f"After that it rises again, {step.said}." for step in shape.rebounds)
    for step in shape.jumps:
        yield f"Without measurably longer thinking accuracy {step.direction.value}, {step.said}."
    if len(shape.points) > 2 and len({point.accuracy.value for point in shape.points}) > 1:
        yield _caveat(shape)


def _rise(shape: Shape) -> Iterator[str]:
    rise = shape.rise
    if shape.rises and rise:
        yield f"Accuracy rises with thinking to {shape.peak.label}, {rise.said}."
    elif rise and rise.longer is Longer.YES:
        yield f"Whether accuracy rises with thinking {cannot_be_told(rise)}"
    elif shape.descent and not shape.falls_after:
        yield f"Whether accuracy changes with thinking {cannot_be_told(shape.descent)}"


def _falls_after(shape: Shape) -> Iterator[str]:
    if shape.falls_after:
        begins = "Then it falls" if shape.rises else "Accuracy falls with more thinking"
        yield f"{begins}, {', and '.join(step.said for step in shape.falls_after)}."
    elif shape.rises and shape.descent:
        yield f"Whether it falls after that {cannot_be_told(shape.descent)}"


def _caveat(shape: Shape) -> str:
    level = next(iter(shape.differences.values())).joint.level or 0.0
    decimals = math.ceil(-math.log10(1 - level))  # two digits of the error
    return (
        f"{shape.peak.label} is the best of {len(shape.points)} points, chosen by the numbers, so its accuracy is"
        f" likely too high, and each rise and fall is judged at {100 * level:.{decimals}f}%, the level at which all"
        f" {shape.pairs} pairs hold together."
    )
