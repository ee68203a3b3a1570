"""The funnel stage: a report on how training examples were chosen; identical inputs give byte-identical output.

README.md             rows that each step kept and dropped, examples by source and by domain (paper, Tables 5 and 6)
funnel.csv            one row per set, step and reason; a step that dropped nothing has one row with an empty reason
figures/funnel.*      one bar per step: rows kept in colour, rows dropped in grey
ids/<set>.txt         sorted ids of the chosen rows, one per line

In funnel.csv `kept` counts rows that the whole step kept, `dropped` rows that it dropped for this reason; `key` is that
of the directory curated/<key>.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s1.plots.canvas import FAINT, LINES, RULE, SMALL, Drawing, canvas, drawing
from s1.report.curated_sets import CuratedSet, curated_sets
from s1.report.render import render, write_drawings
from s1.report.tables import csv_text
from s1.stages import FunnelConfig
from sweep.core.stage import Summary, Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FunnelPage:
    """Data for the template."""

    report: FunnelConfig
    sets: list[CuratedSet]

    def ids_path(self, each: CuratedSet) -> str:
        return f"ids/{re.sub(r'[^A-Za-z0-9._=-]+', '_', each.name)}.txt"


def funnel(work: Work[FunnelConfig]) -> Summary:
    """Write the report folder."""
    page = FunnelPage(work.config, curated_sets(work.config.sets, work.inputs["curated"]))
    write_drawings(work.out, [funnel_drawing(page.sets)])
    (work.out / "README.md").write_text(render("funnel.md.jinja", page), encoding="utf-8")
    (work.out / "funnel.csv").write_text(funnel_csv(page.sets), encoding="utf-8")
    (work.out / "ids").mkdir()
    for each in page.sets:
        with (work.out / page.ids_path(each)).open(
            "x", encoding="utf-8"
        ) as file:  # "x": fail rather than overwrite another set
            file.writelines(f"{chosen.id}\n" for chosen in each.chosen)
    return {"sets": len(page.sets), "examples": sum(len(each.chosen) for each in page.sets)}


def funnel_csv(sets: Sequence[CuratedSet]) -> str:
    """The content of funnel.csv."""
    return csv_text(
        [
            {"set": each.name, "step": step.name, "kept": step.kept, "dropped": rows, "reason": reason, "key": each.key}
            for each in sets
            for step in each.steps
            for reason, rows in step.dropped.items() or [("", 0)]
        ]
    )


GAP = 0.7  # blank space between sets, in bar slots


def funnel_drawing(sets: Sequence[CuratedSet]) -> Drawing:
    """The figure, with sets stacked vertically."""
    return drawing("funnel", lambda: _funnel(sets))


def _funnel(sets: Sequence[CuratedSet]) -> Figure:
    bars = [(number * GAP, each.name, step) for number, each in enumerate(sets) for step in each.steps]
    places = [row + gap for row, (gap, _, _) in enumerate(bars)]
    figure, axes = canvas(0.8 + 0.3 * (places[-1] + 1))
    most = max(step.kept + step.dropped_rows for _, _, step in bars)
    for place, (_, _, step) in zip(places, bars, strict=True):
        axes.barh(place, step.kept, height=0.6, color=LINES[0])
        axes.barh(place, step.dropped_rows, left=step.kept, height=0.6, color=RULE)
        text = f"{step.kept:,}" + (f"  (\u2212{step.dropped_rows:,})" if step.dropped_rows else "")
        style = {"textcoords": "offset points", "va": "center", "fontsize": SMALL}
        axes.annotate(text, (step.kept + step.dropped_rows, place), xytext=(4, 0), **style)
    axes.set_yticks(places, labels=[f"{name}: {step.name}" if len(sets) > 1 else step.name for _, name, step in bars])
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.set_xlim(0, 1.3 * most)  # room for the numbers
    axes.set_xlabel("rows kept (dropped)")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["left"]].set_visible(False)
    axes.spines[["bottom"]].set_color(FAINT)
    axes.tick_params(axis="y", length=0)
    return figure
