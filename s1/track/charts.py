"""Tables and charts of the summary run. The chart of the curve is a preset of ours, where the server has it.

The preset draws intervals, one line per series, and invalid points hollow and off the line. A server without it gets
W&B's own line chart, which can mark nothing: one line per series, valid points alone. The table `curve` has all points.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from s1.plots.scaling_chart import PRESET, XAxis, XScale, fields, scaling_chart, strings
from s1.track.summary_run import Rows

if TYPE_CHECKING:
    import wandb
    from wandb import Run

log = logging.getLogger(__name__)

TITLE = "s1 scaling"


def table_of(rows: Rows) -> wandb.Table:
    """A W&B table; a column may mix numbers and text, such as an axis with the value `null`."""
    import wandb

    return wandb.Table(columns=list(rows.columns), data=[list(row) for row in rows.rows], allow_mixed_types=True)


def preset_of(run: Run) -> str | None:
    """The preset of the chart on the server of this run; None: the run is offline, or the server has no presets."""
    return None if run.offline else preset_at(run.entity)


def preset_at(entity: str) -> str | None:
    """Create the preset of the chart for a team or user, once; its id. None: the server has no such presets."""
    import wandb

    try:
        return wandb.Api().create_custom_chart(entity, PRESET, TITLE, "vega2", "private", scaling_chart())
    except Exception as error:  # W&B gives no type to "exists already"
        if "exist" in str(error) or "duplicate" in str(error).lower():
            return f"{entity}/{PRESET}"
        log.debug("no preset %s on this server", PRESET, exc_info=True)
        return None


def curve_chart(rows: Rows, lines: Rows, preset: str | None) -> Any:
    """The curve over thinking tokens: `rows` with our preset, or else `lines` (thinking tokens, accuracy, series)."""
    import wandb

    if preset is None:
        x, y, series = lines.columns
        return wandb.plot.line(table_of(lines), x, y, stroke=series, title="accuracy over thinking tokens")
    axis = XAxis.THINKING_TOKENS
    return wandb.plot_table(preset, table_of(rows), fields(axis), strings(axis, XScale.LOG))


def majority_chart(rows: Rows) -> Any:
    """The majority vote of k samples, one line per point. `rows`: k, maj@k, point."""
    import wandb

    k, share, point = rows.columns
    return wandb.plot.line(table_of(rows), k, share, stroke=point, title="majority of k samples")


def page_of(html: str) -> wandb.Html:
    """The page of the report, as it is."""
    import wandb

    return wandb.Html(html, inject=False)
