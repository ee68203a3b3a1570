"""Figures for several samples per question, drawn if a valid point has them.

samples     accuracy over k on a log2 axis: maj@k solid with its interval, pass@k dashed
parallel    maj@k over the total thinking tokens of k samples, with the scaling curve of one sample (paper, Figure 4b)

One colour per point. If there are many points, a few are drawn, evenly spaced from first to last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from s1.plots.canvas import (
    FAINT,
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
from s1.report.figures import DrawnLine, Name, draw_line, label_points, segments_of, thinking
from s1.report.findings import Findings, MeasuredPoint, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 4  # with a line; more lines would cross too often to follow
SOLID = {"linewidth": 1.3}
DASHED = {"linewidth": 1.1, "linestyle": (0, (3, 2))}
DOT = {"marker": "o", "markersize": 4}


@dataclass(frozen=True)
class _Vote:
    """One point with several samples, its name and its colour."""

    name: str
    point: MeasuredPoint
    colour: str

    @property
    def majority(self) -> list[float]:
        """maj@k in percent, k = 1..S."""
        return [100 * each.majority.value for each in self.point.at_k]

    @property
    def tokens(self) -> list[float]:
        """Total thinking tokens of k samples, k = 1..S."""
        return [self.point.thinking_tokens_of(each.k).value for each in self.point.at_k]


def sample_drawings(findings: Findings) -> list[Drawing]:
    """Both figures; none if every point has one sample, and only the first if no point thinks."""
    votes = _votes(findings.series)
    made = [drawing("samples", lambda: _samples(votes))] if votes else []
    thought = [vote for vote in votes if thinking([vote.point])]
    return [*made, drawing("parallel", lambda: _parallel(findings.series, thought))] if thought else made


def _votes(all_series: Sequence[Series]) -> list[_Vote]:
    several = [(series, point) for series in all_series for point in series.points if point.valid and point.at_k]
    steps = min(MOST_POINTS, len(several)) - 1
    chosen = [several[round((len(several) - 1) * step / max(steps, 1))] for step in range(steps + 1)]
    return [
        _Vote(f"{series.name}: {point.label}" if series.name else point.label, point, colour)
        for (series, point), colour in zip(chosen, LINES, strict=False)
    ]


# -------------------------------------------------------------------------------------------------- samples


def _samples(votes: Sequence[_Vote]) -> Figure:
    figure, axes = canvas(4.1)
    axes.set_xlabel("samples of each question, k")
    axes.set_title("accuracy (%)", loc="left", fontsize=STYLE["font.size"])
    for vote in votes:
        every_k = [each.k for each in vote.point.at_k]
        _draw_majority(axes, vote, every_k)
        axes.plot(every_k, [100 * each.passed.value for each in vote.point.at_k], color=vote.colour, **DASHED, zorder=3)
    doubling_axis(axes, [1, *(vote.point.samples for vote in votes)])
    estimates = [each for vote in votes for at in vote.point.at_k for each in (at.majority, at.passed)]
    percent_axis(axes, [percent_interval(each) for each in estimates])
    legend(axes, [("maj@k", {"color": INK, **SOLID, **DOT}), ("pass@k", {"color": INK, **DASHED})], gap_em=0.5)
    legend_below(figure, [(vote.name, {"color": vote.colour, **SOLID, **DOT}) for vote in votes])
    return figure


def _draw_majority(axes: Axes, vote: _Vote, xs: Sequence[float]) -> None:
    """Draw the line and its band over every k, with a dot at each doubling."""
    lows, highs = zip(*(percent_interval(each.majority) for each in vote.point.at_k), strict=True)
    axes.fill_between(xs, lows, highs, color=vote.colour, alpha=0.13, linewidth=0, zorder=1)
    dots = [each.k - 1 for each in vote.point.doublings]
    axes.plot(xs, vote.majority, color=vote.colour, markevery=dots, **SOLID, **DOT, zorder=3)


# ------------------------------------------------------------------------------------------------- parallel


def _parallel(all_series: Sequence[Series], votes: Sequence[_Vote]) -> Figure:
    figure, axes = canvas(4.1)
    axes.set_xlabel("thinking tokens, of all k samples together")
    axes.set_title("accuracy (%)", loc="left", fontsize=STYLE["font.size"])
    for vote in votes:
        _draw_majority(axes, vote, vote.tokens)
    lines = [DrawnLine(series.name, thinking(series.points), INK) for series in all_series]
    for line in lines:
        draw_line(axes, line)
    points = [point for line in lines for point in line.points]
    estimates = [*(point.accuracy for point in points), *(at.majority for vote in votes for at in vote.point.at_k)]
    doubling_axis(axes, [*(point.thinking_tokens.value for point in points), *(vote.tokens[-1] for vote in votes)])
    percent_axis(axes, [percent_interval(each) for each in estimates])
    kinds = (("one sample", INK), ("maj@k, k doubles from dot to dot", FAINT))
    legend(axes, [(name, {"color": colour, **SOLID, **DOT}) for name, colour in kinds], gap_em=0.5)
    segments = [segment for line in lines for segment in segments_of(line)]
    for vote in votes:
        segments.extend(pairwise(zip(vote.tokens, vote.majority, strict=True)))
    label_points(figure, axes, _names(lines, votes), segments)
    return figure


def _names(lines: Sequence[DrawnLine], votes: Sequence[_Vote]) -> Iterator[Name]:
    """Points with several samples in their colour, then the others."""
    yield from ((vote.point, vote.name, vote.colour) for vote in votes)
    voting = [vote.point for vote in votes]
    yield from ((point, point.label, INK) for line in lines for point in line.points if point not in voting)
