"""The figure of the funnel: one bar per step, what it kept in colour, what it dropped in grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from s1.report.canvas import FAINT, LINES, RULE, SMALL, Drawing, canvas, drawing
from s1.report.funnel_table import CuratedSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = 0.7  # between sets, in bars


def funnel_drawing(sets: Sequence[CuratedSet]) -> Drawing:
    """All sets below one another."""
    return drawing("funnel", lambda: _funnel(sets))


def _funnel(sets: Sequence[CuratedSet]) -> Figure:
    bars = [(number * GAP, each.name, step) for number, each in enumerate(sets) for step in each.steps]
    places = [row + gap for row, (gap, _, _) in enumerate(bars)]
    figure, axes = canvas(0.8 + 0.3 * (places[-1] + 1))
    most = max(step.kept + step.dropped_rows for _, _, step in bars)
    for place, (_, _, step) in zip(places, bars, strict=True):
        axes.barh(place, step.kept, height=0.6, color=LINES[0])
        axes.barh(place, step.dropped_rows, left=step.kept, height=0.6, color=RULE)
        told = f"{step.kept:,}" + (f"  (\u2212{step.dropped_rows:,})" if step.dropped_rows else "")
        style = {"textcoords": "offset points", "va": "center", "fontsize": SMALL}
        axes.annotate(told, (step.kept + step.dropped_rows, place), xytext=(4, 0), **style)
    axes.set_yticks(places, labels=[f"{name}: {step.name}" if len(sets) > 1 else step.name for _, name, step in bars])
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.set_xlim(0, 1.3 * most)  # room for the numbers
    axes.set_xlabel("rows kept (dropped)")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["left"]].set_visible(False)
    axes.spines[["bottom"]].set_color(FAINT)
    axes.tick_params(axis="y", length=0)
    return figure
