"""A written report and a workspace on W&B: created once for a name and project, then updated.

The report is found by its title, the workspace by the address that `store/wandb/views.json` remembers, since W&B lists
workspaces for nobody. Panels draw from the runs of this result alone: the filter names their keys, because a group also
holds the runs of earlier scans of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s1.plots.scaling_chart import XAxis, XScale, fields, strings
from s1.report.written.blocks import (
    BarPanel,
    Block,
    Code,
    Contents,
    CurvePanel,
    DifferencesPanel,
    Grid,
    Heading,
    LineagePanel,
    LinePanel,
    Lines,
    PagePanel,
    Panel,
    ParallelPanel,
    RunSet,
    ScatterPanel,
    Table,
    TablePanel,
    Text,
    WrittenReport,
)
from s1.report.written.markdown import markdown_of
from s1.track.runs import JobType

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2.interface as wr
    import wandb_workspaces.workspaces as ws

TABLE_OF_CURVE = "curve"  # logged by the summary run, with every column that the chart reads
TABLE_OF_LINES = "scaling_chart_table"  # valid points alone, logged where the server has no preset
LINE_PRESET = "wandb/line/v0"  # W&B's own chart
API_TIMEOUT_S = 30
COLUMNS, WIDE, NARROW, TALL = 24, 24, 12, 10  # of a grid of panels; rows of a tall one
JOB_TYPES = {
    RunSet.SUMMARY: JobType.SUMMARY,
    RunSet.POINTS: JobType.POINT,
    RunSet.CHECKPOINTS: JobType.CHECKPOINT,
}


@dataclass(frozen=True)
class RunsOnServer:
    """Where the runs of a result are."""

    entity: str
    project: str
    name: str  # of the result; every run has it as a tag
    group: str | None  # that all of its runs have; None: some were sent with an earlier result
    keys: Mapping[RunSet, Sequence[str]]  # that tell its runs from those of other results of the name
    preset: str | None  # id of the scaling chart; None: the server refuses presets

    @property
    def path(self) -> str:
        return f"{self.entity}/{self.project}"


# ----------------------------------------------------------------------------------------------------- rendering


def report_blocks(report: WrittenReport, runs: RunsOnServer) -> list[Any]:
    """The blocks of a W&B report."""
    return [_block(block, runs) for block in report.blocks]


def _block(block: Block, runs: RunsOnServer) -> Any:
    import wandb_workspaces.reports.v2.interface as wr

    match block:
        case Contents():
            return wr.TableOfContents()
        case Heading():
            return (wr.H1, wr.H2, wr.H3)[block.level - 1](text=block.text)
        case Grid():
            return wr.PanelGrid(runsets=[_runset(block.runs, runs)], panels=_laid_out(_panels(block.panels, runs)))
        case Code():
            return wr.CodeBlock(code=block.text, language="python")  # it has no language for shells
        case Text() | Lines() | Table():
            return wr.MarkdownBlock(text=markdown_of(block))
        case _:
            raise TypeError(f"{block}: W&B cannot show it outside a grid")


def _runset(kind: RunSet, runs: RunsOnServer) -> wr.Runset:
    import wandb_workspaces.reports.v2.interface as wr

    groupby = ["config.model"] if kind is RunSet.POINTS else []
    return wr.Runset(
        entity=runs.entity, project=runs.project, name=kind.value, filters=_filters(kind, runs), groupby=groupby
    )


def _filters(kind: RunSet, runs: RunsOnServer) -> Any:
    from wandb_workspaces import expr

    found = [
        _of_result(runs),
        expr.Metric("JobType") == JOB_TYPES[kind].value,
        expr.Config("key").isin(list(runs.keys[kind])),
    ]
    return expr.And(*found, expr.Summary("valid") == 1) if kind is RunSet.POINTS else expr.And(*found)


def _of_result(runs: RunsOnServer) -> Any:
    from wandb_workspaces import expr

    return expr.Metric("Group") == runs.group if runs.group else expr.Tags().isin([runs.name])


def _panels(panels: Sequence[Panel], runs: RunsOnServer) -> list[tuple[Any, bool]]:
    """W&B's panels, and whether each takes the whole width."""
    shown = [panel for panel in panels if not (_is_cost(panel) and runs.preset is None)]
    return [(_panel(panel, runs), _is_wide(panel, runs)) for panel in shown]


def _is_cost(panel: Panel) -> bool:
    """A chart over cost: without the preset, W&B's own would draw a line through invalid points."""
    return isinstance(panel, CurvePanel) and panel.axis is not XAxis.THINKING_TOKENS


def _is_wide(panel: Panel, runs: RunsOnServer) -> bool:
    if isinstance(panel, CurvePanel):
        return runs.preset is None
    return isinstance(panel, TablePanel | ParallelPanel | DifferencesPanel | LineagePanel | PagePanel)


def _panel(panel: Panel, runs: RunsOnServer) -> Any:
    import wandb_workspaces.reports.v2.interface as wr

    match panel:
        case CurvePanel():
            return _curve(panel.axis, runs.preset)
        case TablePanel():
            return wr.WeavePanelSummaryTable(table_name=panel.name)
        case ScatterPanel():
            x, y = wr.SummaryMetric(panel.x), wr.SummaryMetric(panel.y)
            return wr.ScatterPlot(title=panel.title, x=x, y=y, log_x=True)
        case ParallelPanel():
            columns = [wr.ParallelCoordinatesPlotColumn(metric=_metric(key)) for key in panel.keys]
            return wr.ParallelCoordinatesPlot(columns=columns)
        case BarPanel():
            return wr.BarPlot(title=panel.title, metrics=[wr.SummaryMetric(panel.key)])
        case DifferencesPanel():
            return wr.RunComparer(diff_only="split")
        case LinePanel():
            return wr.LinePlot(title=panel.title, x=panel.x, y=[panel.y])
        case LineagePanel():
            return wr.WeavePanelArtifact(artifact=panel.artifact, tab="lineage")
        case PagePanel():
            return wr.MediaBrowser(media_keys=[panel.name])


def _curve(axis: XAxis, preset: str | None) -> wr.CustomChart:
    import wandb_workspaces.reports.v2.interface as wr

    if preset is None:
        columns = {"x": "thinking tokens", "y": "accuracy", "stroke": "series"}
        query = {"summaryTable": {"tableKey": TABLE_OF_LINES}}
        return wr.CustomChart(query=query, chart_name=LINE_PRESET, chart_fields=columns)
    return wr.CustomChart(
        query={"summaryTable": {"tableKey": TABLE_OF_CURVE}},
        chart_name=preset,
        chart_fields=fields(axis),
        chart_strings=strings(axis, XScale.LOG),
    )


def _metric(key: str) -> Any:
    import wandb_workspaces.reports.v2.interface as wr

    return wr.Config(key.removeprefix("config.")) if key.startswith("config.") else wr.SummaryMetric(key)


def _laid_out(panels: Sequence[tuple[Any, bool]]) -> list[Any]:
    """Place panels in rows: wide ones alone, narrow ones two by two."""
    import wandb_workspaces.reports.v2.interface as wr

    x = y = 0
    for panel, is_wide in panels:
        width = WIDE if is_wide else NARROW
        if x + width > COLUMNS:
            x, y = 0, y + TALL
        panel.layout = wr.Layout(x=x, y=y, w=width, h=TALL)
        x += width
    return [panel for panel, _ in panels]


# -------------------------------------------------------------------------------------------------------- saving


def missing_run(path: str) -> str | None:
    """What the server says about a run that it does not have; None: it has the run."""
    import wandb
    from wandb.errors import CommError

    try:
        wandb.Api(timeout=API_TIMEOUT_S).run(path)
    except (ValueError, CommError) as error:
        # The SDK wraps its error for a missing run in the one for a server that cannot be reached.
        if not isinstance(getattr(error, "exc", error), ValueError):
            raise
        return str(error)
    return None


def save_report(report: WrittenReport, runs: RunsOnServer) -> str:
    """Create the report, or replace the blocks of the one with this title. Returns its address."""
    import wandb_workspaces.reports.v2.interface as wr

    saved = wr.Report(
        entity=runs.entity,
        project=runs.project,
        title=report.title,
        description=report.claim,
        blocks=report_blocks(report, runs),
        width="fluid",
    )
    if (known := _report_id(runs.path, report.title)) is not None:
        saved.id = known
    saved.save()
    return saved.url


def _report_id(path: str, title: str) -> str | None:
    """Id of the oldest report with this title in a project."""
    import wandb

    found = [each for each in wandb.Api().reports(path) if each.display_name == title]
    return found[-1].id if found else None


def save_workspace(runs: RunsOnServer, known: str | None) -> str:
    """Create the workspace, or replace the sections of the one at the address `known`. Returns its address."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    saved = _known_workspace(known) or ws.Workspace(entity=runs.entity, project=runs.project)
    saved.name = f"{runs.name}: scaling"
    saved.sections = _sections(runs)
    saved.runset_settings = ws.RunsetSettings(filters=expr.And(_of_result(runs)), groupby=[expr.Metric("JobType")])
    saved.save()
    return saved.url


def _known_workspace(url: str | None) -> ws.Workspace | None:
    """None if it was deleted on the server."""
    import wandb_workspaces.workspaces as ws

    if url is None:
        return None
    try:
        return ws.Workspace.from_url(url)
    except ValueError:
        return None


def _sections(runs: RunsOnServer) -> list[ws.Section]:
    import wandb_workspaces.workspaces as ws

    sections: Mapping[str, Sequence[Panel]] = {
        "Scaling": (
            CurvePanel(XAxis.THINKING_TOKENS),
            ScatterPanel("accuracy over thinking tokens", "thinking_tokens", "accuracy"),
        ),
        "Cost": (CurvePanel(XAxis.USD), ScatterPanel("accuracy over USD", "usd", "accuracy"), TablePanel("costs")),
        "Audit": (BarPanel("share without an answer", "no_answer_share"), TablePanel("audit")),
        "Samples": (TablePanel("traces"), PagePanel("report")),
        "Training": (
            LinePanel("loss", "train/step", "train/loss"),
            LinePanel("learning rate", "train/step", "train/lr"),
            LinePanel("gradient norm", "train/step", "train/grad_norm"),
        ),
    }
    return [
        ws.Section(name=name, is_open=name == "Scaling", panels=[panel for panel, _ in _panels(panels, runs)])
        for name, panels in sections.items()
    ]
