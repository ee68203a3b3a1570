"""What the interactive figure of report.html reads (s1/report/html/chart.js): rows, specification, axes, colours."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from s1.plots.canvas import FAINT, INK, LINES, RULE
from s1.plots.scaling_chart import FIELDS, SHAPES, UNNAMED, XAxis, scaling_chart
from s1.report.chart_rows import Row, chart_rows, paper_rows, seed_rows
from s1.report.findings import Findings

ChartData: TypeAlias = dict[str, Any]

SWATCHES = {  # the shapes of Vega, in a box of 18 pixels, as in a legend
    "circle": "M7,0A7,7,0,1,1,-7,0A7,7,0,1,1,7,0Z",
    "square": "M-6,-6H6V6H-6Z",
    "triangle-up": "M0,-7L7,6H-7Z",
    "cross": "M-7,-2.5H-2.5V-7H2.5V-2.5H7V2.5H2.5V7H-2.5V2.5H-7Z",
    "triangle-down": "M0,7L7,-6H-7Z",
    "triangle-right": "M7,0L-6,7V-7Z",
}


def chart_data(name: str, findings: Findings) -> ChartData:
    """JSON values; `name` is that of the result, for files that a reader saves."""
    rows, published = chart_rows(findings), paper_rows(findings)
    return {
        "name": re.sub(r"[^\w.=-]+", "_", name) or "scaling",
        "specification": scaling_chart(),
        "fields": FIELDS,
        "axes": [{"column": axis.value, "name": axis.short, "title": axis.title} for axis in XAxis],
        "rows": rows,
        "seeds": seed_rows(findings),
        "paper": published,
        "tasks": list(dict.fromkeys(row["task"] for row in rows if row["task"])),
        "columns": list(rows[0]) if rows else [],
        "series": _series(rows),
        "light": {"ink": INK, "soft": FAINT, "rule": RULE, "paper": "#ffffff"},
    }


def _series(rows: list[Row]) -> list[dict[str, str]]:
    """Name, title, colour (a variable of the page, and for files in hex) and shape of each series."""
    return [
        {
            "name": name,
            "title": name or UNNAMED,
            "colour": f"line-{place % len(LINES)}",
            "hex": LINES[place % len(LINES)],
            "mark": SWATCHES[SHAPES[place % len(SHAPES)]],
        }
        for place, name in enumerate(dict.fromkeys(row["series"] for row in rows))
    ]
