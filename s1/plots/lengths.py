"""Histogram of the lengths of training examples on a log2 axis, with a line at block_size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from s1.plots.canvas import INK, INVALID, LINES, RULE, SMALL, STYLE, Drawing, canvas, doubling_axis, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

BINS_PER_DOUBLING = 4


def lengths_figure(tokens: Sequence[int], block_size: int) -> Drawing:
    """Draw the figure `lengths`: examples by tokens; those longer than block_size in the color of invalid points."""
    return drawing("lengths", lambda: _lengths(tokens, block_size))


def edges(tokens: Sequence[int], block_size: int) -> list[float]:
    """Bin edges, a quarter of a doubling apart; one of them is just above block_size."""
    limit = block_size + 0.5
    first = math.floor(BINS_PER_DOUBLING * math.log2(min(tokens) / limit))
    last = math.floor(BINS_PER_DOUBLING * math.log2(max(tokens) / limit)) + 1
    return [limit * 2 ** (step / BINS_PER_DOUBLING) for step in range(first, last + 1)]


def _lengths(tokens: Sequence[int], block_size: int) -> Figure:
    figure, axes = canvas(2.8)
    axes.set_xlabel("tokens per example")
    axes.set_title("examples", loc="left", fontsize=STYLE["font.size"])
    bins = edges(tokens, block_size)
    fits = [each for each in tokens if each <= block_size]
    longer = [each for each in tokens if each > block_size]
    for values, colour in ((fits, LINES[0]), (longer, INVALID)):
        axes.hist(values, bins=bins, color=colour, edgecolor="white", linewidth=0.6, zorder=2)
    doubling_axis(axes, [min(tokens), max(tokens), block_size])
    axes.axvline(block_size, color=INK, linewidth=1.0, linestyle=(0, (3, 2)), zorder=3)
    style = {"textcoords": "offset points", "ha": "right", "va": "bottom", "fontsize": SMALL}
    place = ("data", "axes fraction")
    axes.annotate(f"block_size {block_size:,}", (block_size, 1.0), xycoords=place, xytext=(3, 3), **style)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    cast("MaxNLocator", axes.yaxis.get_major_locator()).set_params(integer=True)  # the default locator
    return figure
