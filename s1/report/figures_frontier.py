"""Figure of the frontier: accuracy over the tokens of one answer (log2 axis), and the points that no other beats.

One color per method, or per frontier if there are several; a line joins each front, and its points are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from s1.plots.canvas import (
    FAINT,
    INK,
    LINES,
    SMALL,
    STYLE,
    Drawing,
    canvas,
    doubling_axis,
    drawing,
    legend_below,
    percent_axis,
    percent_interval,
)
from s1.report.findings import Findings, Frontier, FrontierPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Coloured: TypeAlias = "tuple[FrontierPoint, str]"
DOT: dict[str, Any] = {"marker": "o", "linestyle": "none"}
OFFSETS = ((-6, 5, "right"), (0, 9, "center"), (6, -11, "left"), (6, 5, "left"), (-6, -11, "right"))


def frontier_drawings(findings: Findings) -> list[Drawing]:
    """The figure; none if no frontier has a point that samples tokens."""
    shown = [frontier for frontier in findings.frontiers if any(map(_drawn, frontier.points))]
    return [drawing("frontier", lambda: _frontier(shown))] if shown else []


def _drawn(point: FrontierPoint) -> bool:
    """Whether a log axis can show it."""
    return point.tokens.value > 0


def _frontier(frontiers: Sequence[Frontier]) -> Figure:
    figure, axes = canvas(4.1)
    axes.set_xlabel("tokens of one answer, from scratch")
    axes.set_title("accuracy (%)", loc="left", fontsize=STYLE["font.size"])
    names = _names(frontiers)
    for frontier in frontiers:
        coloured = [(point, names[_name(frontier, point, frontiers)]) for point in filter(_drawn, frontier.points)]
        _draw(axes, coloured, INK if len(frontiers) == 1 else coloured[0][1])
    points = [point for frontier in frontiers for point in frontier.points if _drawn(point)]
    doubling_axis(axes, [point.tokens.value for point in points])
    percent_axis(axes, [percent_interval(point.accuracy) for point in points])
    _label_front(figure, axes, frontiers)
    front = ("on the front", {"color": INK, "linewidth": 1.0})
    legend_below(
        figure, [*((name, {**DOT, "markersize": 5, "color": colour}) for name, colour in names.items()), front]
    )
    return figure


def _name(frontier: Frontier, point: FrontierPoint, frontiers: Sequence[Frontier]) -> str:
    return point.method.replace("_", " ") if len(frontiers) == 1 else frontier.name


def _names(frontiers: Sequence[Frontier]) -> dict[str, str]:
    names = dict.fromkeys(_name(each, point, frontiers) for each in frontiers for point in each.points)
    return {name: LINES[index % len(LINES)] for index, name in enumerate(names)}


def _draw(axes: Axes, coloured: Sequence[Coloured], line: str) -> None:
    """Points with intervals, those off the front pale, and the line of the front."""
    for point, colour in coloured:
        x, y = _place(point)
        alpha = 1.0 if point.on_front else 0.35
        lo, hi = percent_interval(point.accuracy)
        axes.vlines(x, lo, hi, color=colour, linewidth=1.0, alpha=0.4 * alpha, zorder=2)
        axes.plot(x, y, **DOT, color=colour, markersize=5.5 if point.on_front else 4, alpha=alpha, zorder=4)
    front = [_place(point) for point, _ in coloured if point.on_front]
    for (x, y), (next_x, next_y) in pairwise(front):
        axes.plot([x, next_x, next_x], [y, y, next_y], color=line, linewidth=0.9, alpha=0.7, zorder=3)


def _place(point: FrontierPoint) -> tuple[float, float]:
    return point.tokens.value, 100 * point.accuracy.value


def _label_front(figure: Figure, axes: Axes, frontiers: Sequence[Frontier]) -> None:
    """Name the points of the fronts where a name covers no other name and no point."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    frame, written = axes.get_window_extent(renderer), []
    drawn = [point for frontier in frontiers for point in frontier.points if _drawn(point)]
    pixels = [axes.transData.transform(_place(point)) for point in drawn]
    for point in _front_points(frontiers):
        for right, up, align in OFFSETS:
            style = {"textcoords": "offset points", "ha": align, "fontsize": SMALL, "color": FAINT}
            text = axes.annotate(point.name, _place(point), xytext=(right, up), **style)
            box = text.get_window_extent(renderer)
            inside = frame.containsx(box.x0) and frame.containsx(box.x1)
            if inside and not any(map(box.overlaps, written)) and not any(box.contains(*pixel) for pixel in pixels):
                written.append(box)
                break
            text.remove()


def _front_points(frontiers: Sequence[Frontier]) -> Iterator[FrontierPoint]:
    return (point for frontier in frontiers for point in frontier.front if _drawn(point))
