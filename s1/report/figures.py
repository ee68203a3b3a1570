"""Figures, drawn with matplotlib. The same findings give the same bytes, as PNG for a README and SVG for the page.

scaling        accuracy over mean thinking tokens on a log2 axis (paper, Figure 1), with intervals; one line per series
differences    accuracy of each point minus that of the reference, paired, with intervals

Circle: ends at its budget or by itself. Diamond: an end of its thinking was suppressed. Cross: failed the audit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from s1.plots.canvas import (
    FAINT,
    INK,
    INVALID,
    LINES,
    RULE,
    SMALL,
    STYLE,
    Drawing,
    canvas,
    doubling_axis,
    drawing,
    legend,
    legend_below,
    percent_axis,
    percent_interval,
)
from s1.report.findings import Findings, MeasuredPoint, Series
from sweep.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BESIDE = ((8, -11, "left"), (-7, 6, "right"), (8, 5, "left"), (-7, -12, "right"), (0, 10, "center"), (0, -17, "center"))
ABOVE = ((0, 4, "center"), (4, 4, "right"), (-4, 4, "left"))
BELOW = ((0, -11, "center"), (4, -11, "right"), (-4, -11, "left"))
PIXELS_APART = 3
MOST_ABOVE = 3  # legend entries that fit beside the title
SEED_DOT = {"marker": "o", "markersize": 2.6, "alpha": 0.55, "markeredgecolor": "none"}

Segment: TypeAlias = "tuple[tuple[float, float], tuple[float, float]]"
Name: TypeAlias = "tuple[MeasuredPoint, str, str]"  # point, text, colour


def drawings(findings: Findings) -> list[Drawing]:
    """Both figures; no figure of differences if there is nothing to compare."""
    made = [drawing("scaling", lambda: _scaling(findings.series))]
    if any(series.to_reference for series in findings.series):
        made.append(drawing("differences", lambda: _differences(findings.series)))
    return made


# -------------------------------------------------------------------------------------------------- scaling


def _scaling(all_series: Sequence[Series]) -> Figure:
    figure, axes = canvas(3.9)
    axes.set_xlabel("mean thinking tokens")
    axes.set_title("accuracy (%)", loc="left", fontsize=STYLE["font.size"])
    lines = [DrawnLine(series.name, thinking(series.points), colour) for series, colour in _coloured(all_series)]
    points = [point for line in lines for point in line.points]
    if not points:
        return figure
    for line in lines:
        draw_line(axes, line)
    doubling_axis(
        axes, [*(point.thinking_tokens.value for point in points), *(x for p in points for x, _ in _seeds(p))]
    )
    seeds = [(y, y) for point in points for _, y in _seeds(point)]
    percent_axis(axes, [*(percent_interval(point.accuracy) for point in points), *seeds])
    _legend(figure, axes, points, LINES[0] if len(lines) == 1 else FAINT)
    label_points(figure, axes, _names(lines), [segment for line in lines for segment in segments_of(line)])
    return figure


@dataclass(frozen=True)
class DrawnLine:
    name: str
    points: list[MeasuredPoint]
    colour: str

    @property
    def joined(self) -> list[tuple[MeasuredPoint, MeasuredPoint]]:
        """Pairs of consecutive valid points, in the order of measured thinking."""
        return list(pairwise(point for point in self.points if point.valid))


def thinking(points: Sequence[MeasuredPoint]) -> list[MeasuredPoint]:
    """Points that a log axis can show."""
    return [point for point in points if point.thinking_tokens.value > 0]


def _coloured(all_series: Sequence[Series]) -> list[tuple[Series, str]]:
    return [(series, LINES[index % len(LINES)]) for index, series in enumerate(all_series)]


def draw_line(axes: Axes, line: DrawnLine) -> None:
    """Draw points with intervals and seeds, and join valid points; a segment to a suppressed end is dashed."""
    for ends in line.joined:
        xs, ys = zip(*map(position, ends), strict=True)
        style = (0, (3, 2)) if ends[1].suppresses_ends else "-"
        axes.plot(xs, ys, linestyle=style, color=line.colour, linewidth=1.3, zorder=2)
    for point in line.points:
        for x, y in _seeds(point):
            axes.plot(x, y, linestyle="none", color=line.colour, **SEED_DOT, zorder=3)
        _draw_point(axes, point, line.colour if point.valid else INVALID)


def _draw_point(axes: Axes, point: MeasuredPoint, colour: str) -> None:
    x, y = position(point)
    lo, hi = percent_interval(point.accuracy)
    axes.vlines(x, lo, hi, color=colour, linewidth=1.1, alpha=0.55, zorder=3)
    axes.plot(x, y, linestyle="none", **_marker(point, colour), zorder=4)


def _marker(point: MeasuredPoint, colour: str) -> dict[str, Any]:
    if not point.valid:
        return {"marker": "X", "markersize": 7, "color": colour, "markeredgecolor": "none"}
    return {
        "marker": "D" if point.suppresses_ends else "o",
        "markersize": 5 if point.suppresses_ends else 5.5,
        "color": colour,
    }


def _seeds(point: MeasuredPoint) -> list[tuple[float, float]]:
    """(x, y) of each seed that thinks, if the point has several seeds."""
    found = [(each.thinking_tokens.value, 100 * each.accuracy.value) for each in point.sources]
    return [place for place in found if place[0] > 0] if point.seed_range else []


def position(point: MeasuredPoint) -> tuple[float, float]:
    """Mean thinking tokens, and accuracy in percent."""
    return point.thinking_tokens.value, 100 * point.accuracy.value


def _legend(figure: Figure, axes: Axes, points: Sequence[MeasuredPoint], colour: str) -> None:
    """Explain the marks that occur, above the plot, or below it if there are too many to fit beside the title."""
    kinds = (
        ("budget or natural end", [point for point in points if point.valid and not point.suppresses_ends]),
        ("end suppressed", [point for point in points if point.valid and point.suppresses_ends]),
        ("failed the audit", [point for point in points if not point.valid]),
    )
    occurring = [(name, members[0]) for name, members in kinds if members]
    marks = [(name, _marker(point, colour if point.valid else INVALID)) for name, point in occurring]
    marks += [("one seed", {"color": colour, **SEED_DOT})] if any(map(_seeds, points)) else []
    drawn = [(name, {"linestyle": "none", **mark}) for name, mark in marks]
    if len(drawn) > MOST_ABOVE:
        legend_below(figure, drawn)
    else:
        legend(axes, drawn)


# --------------------------------------------------------------------------------------------------- labels


def label_points(figure: Figure, axes: Axes, names: Iterable[Name], segments: Iterable[Segment]) -> None:
    """Write each name at the first place near its point that covers nothing; skip a name without such a place."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    frame, written = axes.get_window_extent(renderer), []
    drawn = [pixel for segment in segments for pixel in _pixels(axes, segment)]
    for point, name, colour in names:
        for spot, (right, up, align) in _places(point):
            style = {"textcoords": "offset points", "ha": align, "fontsize": SMALL, "color": colour}
            text = axes.annotate(name, spot, xytext=(right, up), **style)
            box = text.get_window_extent(renderer)
            inside = frame.containsx(box.x0) and frame.containsx(box.x1) and frame.containsy(box.y0)
            covers = any(map(box.overlaps, written)) or any(box.contains(*pixel) for pixel in drawn)
            if inside and not covers:
                written.append(box)
                break
            text.remove()


def _names(lines: Sequence[DrawnLine]) -> Iterator[Name]:
    """The name of each line at its end, and the label of every point once."""
    for line in lines:
        if line.name and line.points:
            yield line.points[-1], line.name, line.colour
    points = {point.label: point for line in reversed(lines) for point in line.points}
    for line in lines:
        for point in line.points:
            if points[point.label] is point:
                yield point, printable(point.label.removeprefix("max ")), INK if point.valid else INVALID


def _places(point: MeasuredPoint) -> Iterator[tuple[tuple[float, float], tuple[float, float, str]]]:
    """Candidate places for a name, best first: beside the marker, above the interval, below it."""
    x, y = position(point)
    lo, hi = percent_interval(point.accuracy)
    for spot_y, offsets in ((y, BESIDE), (hi, ABOVE), (lo, BELOW)):
        yield from (((x, spot_y), offset) for offset in offsets)


def segments_of(line: DrawnLine) -> Iterator[Segment]:
    """All segments of a line that labels must not cover."""
    yield from ((position(start), position(end)) for start, end in line.joined)
    for point in line.points:
        x, _ = position(point)
        lo, hi = percent_interval(point.accuracy)
        yield (x, lo), (x, hi)


def _pixels(axes: Axes, segment: Segment) -> Iterator[tuple[float, float]]:
    """Pixels along a segment, close enough that no label fits between two of them."""
    (x0, y0), (x1, y1) = axes.transData.transform(segment)
    steps = 1 + int(math.hypot(x1 - x0, y1 - y0) / PIXELS_APART)
    yield from ((x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps) for step in range(steps + 1))


# ---------------------------------------------------------------------------------------------- differences


def _differences(all_series: Sequence[Series]) -> Figure:
    rows = [(series, each, colour) for series, colour in _coloured(all_series) for each in series.to_reference]
    figure, axes = canvas(0.9 + 0.27 * len(rows))
    axes.axvline(0, color=FAINT, linewidth=0.8, zorder=1)
    for row, (series, difference, colour) in enumerate(rows):
        colour, estimate = colour if difference.valid else INVALID, difference.estimate
        if estimate.lo is not None and estimate.hi is not None:
            axes.hlines(row, estimate.lo, estimate.hi, color=colour, linewidth=1.3, alpha=0.6, zorder=2)
        axes.plot(estimate.value, row, linestyle="none", **_marker(series.point(difference.label), colour), zorder=3)
    names = [f"{series.name}: {each.label}" if series.name else each.label for series, each, _ in rows]
    axes.set_yticks(range(len(rows)), labels=list(map(printable, names)))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    references = dict.fromkeys(series.reference for series in all_series)
    axes.set_xlabel(printable(f"points of accuracy against {', '.join(references)}, paired"))
    return figure
