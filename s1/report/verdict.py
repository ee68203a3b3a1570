"""What the numbers allow to be said, in sentences. Asked of the valid points of each series:

    how does accuracy go with thinking?            up to the peak, and down from it (s1/report/shape.py)
    does it rise when the end is held back?        from the reference to the fewest more Waits, and to the most
    does it rise with a majority vote?             at the reference, from one sample to all of them

The last two are fixed beforehand; both steps of the second are judged at the level at which they hold together (Holm).
An interval above zero: it rises. Below zero: it falls. Around zero: it cannot be told at this n, and the smallest
difference that would have shown is named. More or less thinking is spoken of only where measured tokens differ so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from s1.report.findings import Difference, Series
from s1.report.shape import outlined, shape_of
from s1.report.show import interval, value
from s1.report.step import Direction, Longer, Step, cannot_be_told, direction_of
from s1.stats.seeds import SEEDS_FOR_TWO_WAY


def verdict(series: Series) -> list[str]:
    """A sentence for each question that the valid points can answer."""
    shape = shape_of(series)
    held_back = [_held_back_sentence(step, shape.falls) for step in _beyond_reference(series)]
    sentences = [*outlined(shape), *held_back, *_vote_sentence(series)]
    if sentences:
        sentences.extend(_given_seeds(series))
    return sentences or ["Fewer than two valid points: there is nothing to compare."]


def held_against(series: Series) -> str:
    """The shape in a few words, to hold a claim against: "rises to Wait x2, then falls"."""
    return shape_of(series).in_words


def contradicts_monotony(series: Series) -> bool:
    """Somewhere accuracy falls while thinking grows."""
    return bool(shape_of(series).falls)


# ---------------------------------------------------------------------------------------------- held-back ends


def _beyond_reference(series: Series) -> Iterator[Step]:
    rows = {each.label: each for each in series.to_reference}
    for label in series.held_back:
        yield Step(series.point(series.reference), series.point(label), rows[label])


def _held_back_sentence(step: Step, falls: Sequence[Step]) -> str:
    if not step.end.audit.mean_waits:
        return f"{step.end.label} held no end of thinking back: it says nothing of holding it back."
    how = "when the end of thinking is held back"
    sentence = f"Accuracy {step.direction.value} {how}, {step.way}: {step.change}."
    if step.direction is Direction.UNKNOWN:
        sentence = f"Whether accuracy rises {how} {cannot_be_told(step)}"
    if step.longer is not Longer.YES:
        measured = f"{value(step.start.thinking_tokens)} and {value(step.end.thinking_tokens)} tokens"
        return f"{sentence} The thinking is {step.longer.value} ({measured}), so this says nothing of more thinking."
    turn = next((fall for fall in falls if fall.end is step.end), None)
    if turn and step.direction is Direction.RISES:
        return f"{sentence} That is past the peak: {turn.start.label} scores higher."
    return sentence


def _given_seeds(series: Series) -> Iterator[str]:
    several = {len(point.sources) for point in series.points if point.valid and len(point.sources) > 1}
    if several and min(several) < SEEDS_FOR_TWO_WAY:
        yield f"This holds for the {min(several)} seeds at hand: fewer than {SEEDS_FOR_TWO_WAY} say little of others."


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


def comparison(rows: Sequence[Difference]) -> list[str]:
    """A sentence for each reference: which points along an axis score higher, lower, or cannot be told from it."""
    by_reference: dict[str, list[Difference]] = {}
    for row in rows:
        if row.valid:
            by_reference.setdefault(row.against, []).append(row)
    return [f"Against {reference}: {'; '.join(_groups(members))}." for reference, members in by_reference.items()]


def _groups(rows: Sequence[Difference]) -> Iterator[str]:
    words = {Direction.RISES: "higher", Direction.FALLS: "lower", Direction.UNKNOWN: "not to be told apart"}
    for direction, word in words.items():
        members = [row for row in rows if direction_of(row.joint) is direction]
        if members:
            named = (f"{row.label} {value(row.estimate)} points {interval(row.estimate)}" for row in members)
            yield f"{word}: {', '.join(named)}"
