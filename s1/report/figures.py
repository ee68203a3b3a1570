"""The figures, drawn by matplotlib: the same findings give the same bytes, in PNG for a README and in SVG for the page.

scaling        accuracy over mean thinking tokens on a log2 axis (paper, Figure 1), with intervals; one line per series
differences    accuracy of each point less that of the reference, paired, with intervals

A circle ends at its budget or by itself, a diamond had its end of thinking held back, a cross failed the audit.
Text stays text in the SVG: the page sets its own font, and exchanges the colours below for its own.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from s1.report.findings import Findings, Measured, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#22252a"
FAINT = "#8b9098"
RULE = "#d9dce0"
INVALID = "#b3261e"
LINES = ("#1f5fa8", "#b4541a", "#2f7d5b", "#7a4fa3", "#9a7a1c", "#4a6572")  # one per series, told apart in grey too
COLOURS = (INK, FAINT, RULE, INVALID, *LINES)
WIDTH_IN = 5.5
SMALL = 8.5  # points, of labels
BESIDE = ((8, -11, "left"), (-7, 6, "right"), (8, 5, "left"), (-7, -12, "right"), (0, 10, "center"), (0, -17, "center"))
ABOVE = ((0, 4, "center"), (4, 4, "right"), (-4, 4, "left"))
BELOW = ((0, -11, "center"), (4, -11, "right"), (-4, -11, "left"))
PIXELS_APART = 3
STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that widths are the same on every machine
    "font.size": 9.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "s1",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class Drawing:
    name: str
    png: bytes
    svg: str


def drawings(findings: Findings) -> list[Drawing]:
    """Both figures; the differences only where there is something to compare."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        made = [_drawing("scaling", _scaling(findings.series))]
        if any(series.to_reference for series in findings.series):
            made.append(_drawing("differences", _differences(findings.series)))
        return made


def _drawing(name: str, figure: Figure) -> Drawing:
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return Drawing(name, png.getvalue(), svg.getvalue())


def _canvas(height_in: float) -> tuple[Figure, Axes]:
    """A figure that draws without a display, and keeps no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


# -------------------------------------------------------------------------------------------------- scaling


def _scaling(all_series: Sequence[Series]) -> Figure:
    figure, axes = _canvas(3.9)
    axes.set_xlabel("mean thinking tokens")
    axes.set_title("accuracy (%)", loc="left", fontsize=STYLE["font.size"])
    lines = [_Line(series.name, _thinking(series.points), colour) for series, colour in _coloured(all_series)]
    points = [point for line in lines for point in line.points]
    if not points:
        return figure
    for line in lines:
        _draw_line(axes, line)
    _scaling_axes(axes, points)
    _legend(axes, points, LINES[0] if len(lines) == 1 else FAINT)
    _label_points(figure, axes, lines)
    return figure


@dataclass(frozen=True)
class _Line:
    name: str
    points: list[Measured]
    colour: str

    @property
    def stretches(self) -> tuple[list[Measured], list[Measured]]:
        """Over the budgets, and on to the points whose end was held back; invalid points are passed over."""
        valid = [point for point in self.points if point.valid]
        budgets = [point for point in valid if not point.extends]
        return budgets, [*budgets[-1:], *(point for point in valid if point.extends)]


def _thinking(points: Sequence[Measured]) -> list[Measured]:
    return [point for point in points if point.thinking_tokens.value > 0]


def _coloured(all_series: Sequence[Series]) -> list[tuple[Series, str]]:
    return [(series, LINES[index % len(LINES)]) for index, series in enumerate(all_series)]


def _draw_line(axes: Axes, line: _Line) -> None:
    for members, style in zip(line.stretches, ("-", (0, (3, 2))), strict=True):
        if len(members) > 1:
            xs, ys = zip(*map(_position, members), strict=True)
            axes.plot(xs, ys, linestyle=style, color=line.colour, linewidth=1.3, zorder=2)
    for point in line.points:
        _draw_point(axes, point, line.colour if point.valid else INVALID)


def _draw_point(axes: Axes, point: Measured, colour: str) -> None:
    x, y = _position(point)
    lo, hi = _interval(point)
    axes.vlines(x, lo, hi, color=colour, linewidth=1.1, alpha=0.55, zorder=3)
    axes.plot(x, y, linestyle="none", **_marker(point, colour), zorder=4)


def _marker(point: Measured, colour: str) -> dict[str, Any]:
    if not point.valid:
        return {"marker": "X", "markersize": 7, "color": colour, "markeredgecolor": "none"}
    return {"marker": "D" if point.extends else "o", "markersize": 5 if point.extends else 5.5, "color": colour}


def _position(point: Measured) -> tuple[float, float]:
    return point.thinking_tokens.value, 100 * point.accuracy.value


def _interval(point: Measured) -> tuple[float, float]:
    """In percent; of no height where the point has none."""
    estimate = point.accuracy
    if estimate.lo is None or estimate.hi is None:
        return 100 * estimate.value, 100 * estimate.value
    return 100 * estimate.lo, 100 * estimate.hi


def _scaling_axes(axes: Axes, points: Sequence[Measured]) -> None:
    """Whole powers of two across; up, the intervals and room for labels."""
    doublings = [math.log2(point.thinking_tokens.value) for point in points]
    least, most = min(doublings), max(doublings)
    margin = max(0.5, 0.13 * (most - least))
    powers = range(math.ceil(least - margin), math.floor(most + margin) + 1)
    axes.set_xscale("log", base=2)
    axes.set_xlim(2 ** (least - margin), 2 ** (most + margin))
    axes.set_xticks([2.0**power for power in powers], labels=[f"{2.0**power:,.6g}" for power in powers])
    axes.minorticks_off()
    intervals = [_interval(point) for point in points]
    lowest, highest = min(lo for lo, _ in intervals), max(hi for _, hi in intervals)
    axes.set_ylim(max(0, 10 * math.floor(lowest / 10)) - 4, min(100, 10 * math.ceil(highest / 10)) + 3)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _legend(axes: Axes, points: Sequence[Measured], colour: str) -> None:
    """The marks that occur, in words, above the plot."""
    from matplotlib.lines import Line2D

    kinds = (
        ("budget or natural end", [point for point in points if point.valid and not point.extends]),
        ("end held back", [point for point in points if point.valid and point.extends]),
        ("failed the audit", [point for point in points if not point.valid]),
    )
    handles = [
        Line2D([], [], linestyle="none", label=name, **_marker(members[0], colour if members[0].valid else INVALID))
        for name, members in kinds
        if members
    ]
    place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2}
    axes.legend(handles=handles, ncols=3, frameon=False, fontsize=SMALL, handletextpad=0.1, columnspacing=1.2, **place)


# --------------------------------------------------------------------------------------------------- labels


def _label_points(figure: Figure, axes: Axes, lines: Sequence[_Line]) -> None:
    """Write each name at the first free place near its point; one that finds none is in the table only."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    frame, written = axes.get_window_extent(renderer), []
    drawn = [pixel for line in lines for pixel in _pixels(axes, line)]
    for point, name, colour in _names(lines):
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


def _names(lines: Sequence[_Line]) -> Iterator[tuple[Measured, str, str]]:
    """What stands where, in which colour: its name at the end of each line, the budgets along the first."""
    for line in lines:
        if line.name and line.points:
            yield line.points[-1], line.name, line.colour
    for point in lines[0].points:
        yield point, point.label.removeprefix("max "), INK if point.valid else INVALID


def _places(point: Measured) -> Iterator[tuple[tuple[float, float], tuple[float, float, str]]]:
    """Where a name may stand, best first: beside the marker, above the interval, below it."""
    x, y = _position(point)
    lo, hi = _interval(point)
    for spot_y, offsets in ((y, BESIDE), (hi, ABOVE), (lo, BELOW)):
        yield from (((x, spot_y), offset) for offset in offsets)


def _pixels(axes: Axes, line: _Line) -> Iterator[tuple[float, float]]:
    """Points along all that is drawn of a line, dense enough that no word fits between two of them."""
    ends = [pair for members in line.stretches for pair in pairwise(map(_position, members))]
    for point in line.points:
        x, _ = _position(point)
        lo, hi = _interval(point)
        ends.append(((x, lo), (x, hi)))
    for start, end in ends:
        (x0, y0), (x1, y1) = axes.transData.transform([start, end])
        steps = 1 + int(math.hypot(x1 - x0, y1 - y0) / PIXELS_APART)
        yield from ((x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps) for step in range(steps + 1))


# ---------------------------------------------------------------------------------------------- differences


def _differences(all_series: Sequence[Series]) -> Figure:
    rows = [(series, each, colour) for series, colour in _coloured(all_series) for each in series.to_reference]
    figure, axes = _canvas(0.9 + 0.27 * len(rows))
    axes.axvline(0, color=FAINT, linewidth=0.8, zorder=1)
    for row, (series, difference, colour) in enumerate(rows):
        colour, estimate = colour if difference.valid else INVALID, difference.estimate
        if estimate.lo is not None and estimate.hi is not None:
            axes.hlines(row, estimate.lo, estimate.hi, color=colour, linewidth=1.3, alpha=0.6, zorder=2)
        axes.plot(estimate.value, row, linestyle="none", **_marker(series.point(difference.label), colour), zorder=3)
    names = [f"{series.name}: {each.label}" if series.name else each.label for series, each, _ in rows]
    axes.set_yticks(range(len(rows)), labels=names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    references = dict.fromkeys(series.reference for series in all_series)
    axes.set_xlabel(f"points of accuracy against {', '.join(references)}, paired")
    return figure
