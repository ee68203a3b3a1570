"""The training report of `goal=checkpoint`: how each checkpoint was trained.

README.md            the command, a table of checkpoints with their places in the store, and the audits of their text
training.csv         one row per checkpoint
audit-<n>.csv        the audit of its text (s1/train/render.py)
figures/             loss.png, .svg, .pdf: loss over steps, one line per checkpoint; lengths-<n>.png: tokens per example
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from s1.plots.canvas import LINES, RULE, Drawing, canvas, drawing, legend_below
from s1.records import read_objects
from s1.report import format
from s1.report.render import write_drawings
from s1.report.tables import as_written, csv_text, rounded
from s1.stages import TrainingReportConfig
from sweep.core.stage import Summary, Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = "metrics.jsonl"
SMOOTHED_SHARE = 0.02  # share of the steps to average a loss over


@dataclass(frozen=True)
class TrainingRun:
    """One checkpoint and its rendered training text."""

    label: str
    checkpoint: Path
    rendered: Path
    steps: list[dict[str, Any]]  # metrics.jsonl

    @property
    def address(self) -> str:
        """Its place in the store: checkpoint/<key>/out."""
        return "/".join(self.checkpoint.parts[-3:])


def training_report(work: Work[TrainingReportConfig]) -> Summary:
    """Write the report folder."""
    pairs = zip(work.config.labels, work.inputs["checkpoint"], work.inputs["rendered"], strict=True)
    found = [TrainingRun(*pair, list(read_objects(pair[1] / METRICS))) for pair in pairs]
    write_drawings(work.out, [loss_drawing(found)])
    for number, each in enumerate(found):
        shutil.copy(each.rendered / "audit.csv", work.out / f"audit-{number}.csv")
        shutil.copy(each.rendered / "figures" / "lengths.png", work.out / "figures" / f"lengths-{number}.png")
    (work.out / "training.csv").write_text(csv_text([row(each) for each in found]), encoding="utf-8")
    (work.out / "README.md").write_text(readme(work.config, found), encoding="utf-8")
    return {"checkpoints": len(found), "final_loss": row(found[0])["final loss"]}


def row(each: TrainingRun) -> dict[str, Any]:
    """One row of training.csv; the final loss is the mean over the last steps."""
    losses = [step["loss"] for step in each.steps]
    return {
        "checkpoint": each.label,
        "steps": len(losses),
        "tokens": each.steps[-1]["tokens"],
        "first loss": rounded(losses[0], 4),
        "final loss": rounded(mean(losses[-window(len(losses)) :]), 4),
        "mean loss": rounded(mean(losses), 4),
        "where": each.address,
    }


def window(steps: int) -> int:
    """Number of steps to average a loss over."""
    return max(1, round(SMOOTHED_SHARE * steps))


def smoothed(values: Sequence[float]) -> list[float]:
    """Moving average: the mean of each value and those before it in the window."""
    width = window(len(values))
    return [mean(values[max(0, end - width) : end]) for end in range(1, len(values) + 1)]


def readme(config: TrainingReportConfig, found: Sequence[TrainingRun]) -> str:
    """The content of README.md."""
    return "\n".join([f"# {format.cell(config.name)}", "", format.indented(config.command), "", *_lines(found)])


def _lines(found: Sequence[TrainingRun]) -> Iterator[str]:
    yield "![loss over steps](figures/loss.png)"
    yield ""
    yield from _table([row(each) for each in found])
    yield ""
    yield "Final loss: the mean over the last 2% of the steps. A checkpoint loads with plain `from_pretrained`."
    for number, each in enumerate(found):
        yield ""
        yield f"## The text of {format.cell(each.label)}"
        yield ""
        yield from _table(as_written(each.rendered / "audit.csv"))
        yield ""
        yield f"![tokens per example](figures/lengths-{number}.png)"
    yield ""


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield f"| {' | '.join(rows[0])} |"
    yield f"|{'---|' * len(rows[0])}"
    for each in rows:
        yield f"| {' | '.join('' if value is None else _cell(value) for value in each.values())} |"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else format.cell(str(value))


def loss_drawing(found: Sequence[TrainingRun]) -> Drawing:
    """Loss over steps, smoothed over 2% of them."""
    return drawing("loss", lambda: _loss(found))


def _loss(found: Sequence[TrainingRun]) -> Figure:
    figure, axes = canvas(3.0)
    marks = []
    for number, each in enumerate(found):
        style = {"color": LINES[number % len(LINES)], "linewidth": 1.3}
        axes.plot([step["step"] for step in each.steps], smoothed([step["loss"] for step in each.steps]), **style)
        marks.append((each.label, style))
    axes.set_xlabel("step")
    axes.set_title("loss, nats per trained token", loc="left", fontsize=9.5)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    if len(found) > 1:
        legend_below(figure, marks)
    return figure
