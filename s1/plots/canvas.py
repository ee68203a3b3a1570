"""Style and axes shared by all matplotlib figures. The same drawing always gives the same bytes.

The SVG keeps text as text, so that the page can apply its own font and replace the colors below by its own.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from s1.stats.interval import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.typing import RcKeyType

Mark: TypeAlias = "tuple[str, Mapping[str, Any]]"  # a name and the matplotlib style of its mark

INK = "#22252a"
FAINT = "#8b9098"
RULE = "#d9dce0"
INVALID = "#b3261e"
LINES = (
    "#1f5fa8",
    "#b4541a",
    "#2f7d5b",
    "#7a4fa3",
    "#9a7a1c",
    "#4a6572",
)  # one per series or point; distinguishable in grayscale
WIDTH_IN = 5.5
SMALL = 8.5  # font size of labels in points
LINE_CHARACTERS = 72  # characters that fit across a figure
STYLE: dict[RcKeyType, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that widths are the same on every machine
    "font.size": 9.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "s1",
    "pdf.fonttype": 42,  # TrueType: conferences refuse Type 3
    "text.color": INK,
    "text.parse_math": False,  # a label or an answer with two dollar signs is no formula
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
    pdf: bytes


def drawing(name: str, draw: Callable[[], Figure]) -> Drawing:
    """Render the figure of `draw` in the shared style as PNG, SVG and PDF."""
    import matplotlib

    png, svg, pdf = io.BytesIO(), io.StringIO(), io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure = draw()
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        figure.savefig(pdf, format="pdf", metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")))
    return Drawing(name, png.getvalue(), svg.getvalue(), pdf.getvalue())


def canvas(height_in: float) -> tuple[Figure, Axes]:
    """Create a figure that needs no display and leaves no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def doubling_axis(axes: Axes, values: Sequence[float]) -> None:
    """Make the x axis logarithmic with powers of two as ticks; labels as many ticks as fit."""
    doublings = [math.log2(value) for value in values]
    least, most = min(doublings), max(doublings)
    margin = max(0.5, 0.13 * (most - least))
    powers = range(math.ceil(least - margin), math.floor(most + margin) + 1)
    axes.set_xscale("log", base=2)
    axes.set_xlim(2 ** (least - margin), 2 ** (most + margin))
    ticks = {2.0**power: f"{2**power:,}" if power >= 0 else f"{2.0**power:g}" for power in powers}
    every = math.ceil(sum(len(label) + 2 for label in ticks.values()) / LINE_CHARACTERS)
    axes.set_xticks(
        list(ticks), labels=[label if not index % every else "" for index, label in enumerate(ticks.values())]
    )
    axes.minorticks_off()


def percent_axis(axes: Axes, intervals: Sequence[tuple[float, float]]) -> None:
    """Make the y axis percent, with room for the intervals and labels."""
    lowest, highest = min(lo for lo, _ in intervals), max(hi for _, hi in intervals)
    axes.set_ylim(max(0, 10 * math.floor(lowest / 10)) - 4, min(100, 10 * math.ceil(highest / 10)) + 3)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def percent_interval(estimate: Estimate) -> tuple[float, float]:
    """Ends of an estimate's interval in percent; both equal the value if it has no interval."""
    lo, hi = (estimate.value if end is None else end for end in (estimate.lo, estimate.hi))
    return 100 * lo, 100 * hi


def legend(axes: Axes, marks: Sequence[Mark], gap_em: float = 0.1) -> None:
    """Draw a legend in one row above the plot, with `gap_em` between mark and name."""
    handles = _handles(marks)
    place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2, "handletextpad": gap_em}
    axes.legend(handles=handles, ncols=len(handles), frameon=False, fontsize=SMALL, columnspacing=1.2, **place)


def legend_below(figure: Figure, marks: Sequence[Mark]) -> None:
    """Draw a legend below the plot in as many columns as fit."""
    columns = max(1, min(len(marks), LINE_CHARACTERS // (6 + max(len(name) for name, _ in marks))))
    place = {"loc": "outside lower center", "ncols": columns}
    figure.legend(handles=_handles(marks), frameon=False, fontsize=SMALL, handletextpad=0.5, **place)


def _handles(marks: Sequence[Mark]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], label=name, **style) for name, style in marks]
