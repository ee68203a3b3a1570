"""Figure of where answers settle: the share of settled answers beside accuracy, over mean thinking tokens (log2 axis).

One color per series. Solid: accuracy, as in the scaling figure. Dashed: share of all traces whose answer has settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s1.plots.canvas import (
    INK,
    LINES,
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
from s1.report.findings import Findings, MeasuredPoint, SettledShare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOLID = {"linewidth": 1.3, "marker": "o", "markersize": 4}
DASHED = {"linewidth": 1.1, "linestyle": (0, (3, 2)), "marker": "s", "markersize": 3}


@dataclass(frozen=True)
class _Line:
    name: str
    points: list[tuple[MeasuredPoint, SettledShare]]
    colour: str

    @property
    def tokens(self) -> list[float]:
        return [point.thinking_tokens.value for point, _ in self.points]


def settling_drawings(findings: Findings) -> list[Drawing]:
    """The figure; none if no points extend each other, or if they do not think."""
    by_name = {series.name: (series, LINES[index % len(LINES)]) for index, series in enumerate(findings.series)}
    lines = []
    for settling in findings.settling:
        series, colour = by_name[settling.series]
        drawn = [(series.point(each.label), each) for each in settling.points]
        shown = [(point, each) for point, each in drawn if point.thinking_tokens.value > 0]
        lines += [_Line(series.name, shown, colour)] if shown else []
    return [drawing("settling", lambda: _settling(lines))] if lines else []


def _settling(lines: Sequence[_Line]) -> Figure:
    figure, axes = canvas(3.9)
    axes.set_xlabel("mean thinking tokens")
    axes.set_title("traces (%)", loc="left", fontsize=STYLE["font.size"])
    for line in lines:
        accuracy, settled = zip(*((point.accuracy, each.share) for point, each in line.points), strict=True)
        for estimates, style in ((accuracy, SOLID), (settled, DASHED)):
            lows, highs = zip(*map(percent_interval, estimates), strict=True)
            axes.fill_between(line.tokens, lows, highs, color=line.colour, alpha=0.1, linewidth=0, zorder=1)
            axes.plot(line.tokens, [100 * each.value for each in estimates], color=line.colour, **style, zorder=3)
    points = [pair for line in lines for pair in line.points]
    doubling_axis(axes, [tokens for line in lines for tokens in line.tokens])
    percent_axis(
        axes, [percent_interval(each) for point, settled in points for each in (point.accuracy, settled.share)]
    )
    colour = lines[0].colour if len(lines) == 1 else INK
    legend(axes, [("accuracy", {"color": colour, **SOLID}), ("settled", {"color": colour, **DASHED})], gap_em=0.5)
    if len(lines) > 1:
        legend_below(figure, [(line.name, {"color": line.colour, **SOLID}) for line in lines])
    return figure
