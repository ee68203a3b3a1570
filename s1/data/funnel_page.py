"""The funnel stage: how training examples were chosen, as a folder that can be read and compared byte by byte.

README.md             what every step kept and dropped, examples by source and by domain (paper, Tables 5 and 6)
funnel.csv            the same steps as numbers (s1/report/funnel_table.py)
figures/funnel.*      a bar per step
ids/<set>.txt         the ids of the chosen rows, one a line, sorted
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from s1.data.curate import SELECTION
from s1.data.funnel import read_funnel
from s1.records import Chosen, read_rows
from s1.report.figures_funnel import funnel_drawing
from s1.report.funnel_table import CuratedSet, funnel_csv
from s1.report.page import render, write_drawings
from s1.stages import FunnelReport
from sweep.stage import Summary, Work


@dataclass(frozen=True)
class FunnelPage:
    """Everything the template speaks of."""

    report: FunnelReport
    sets: list[CuratedSet]

    def ids_path(self, each: CuratedSet) -> str:
        return f"ids/{re.sub(r'[^A-Za-z0-9._=-]+', '_', each.name)}.txt"


def funnel(work: Work[FunnelReport]) -> Summary:
    """Write the folder."""
    page = FunnelPage(work.config, list(_sets(work)))
    write_drawings(work.out, [funnel_drawing(page.sets)])
    (work.out / "README.md").write_text(render("funnel.md.jinja", page), encoding="utf-8")
    (work.out / "funnel.csv").write_text(funnel_csv(page.sets), encoding="utf-8")
    (work.out / "ids").mkdir()
    for each in page.sets:
        with (work.out / page.ids_path(each)).open("x", encoding="utf-8") as file:  # no set overwrites another
            file.writelines(f"{chosen.id}\n" for chosen in each.chosen)
    return {"sets": len(page.sets), "examples": sum(len(each.chosen) for each in page.sets)}


def _sets(work: Work[FunnelReport]) -> Iterator[CuratedSet]:
    for name, directory in zip(work.config.sets, work.inputs["curated"], strict=True):
        chosen = read_rows(directory / SELECTION, Chosen)
        yield CuratedSet(name, directory.parent.name, read_funnel(directory), chosen)
