"""The stages that end a command or a merge: curve, trace_archive and report, over the scores of all points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s1.generate.methods.registry import code_roots
from s1.stages import ArchivedScores, CurveConfig, ReportConfig, TraceArchiveConfig
from sweep.core.stage import CodePolicy, Stage


@dataclass(frozen=True)
class ScoredStages:
    """The stages of one point that its report reads."""

    scores: Stage
    traces: Stage
    questions: Stage
    model: Stage  # the base model, which has the tokenizer
    archived: ArchivedScores


def report_stage(config: CurveConfig, report: ReportConfig, scored: Sequence[ScoredStages]) -> Stage:
    """Statistics over the scores of all points, their texts, and the page that shows both."""
    curve = Stage(
        name="curve",
        version=4,
        config=config,
        run="s1.report.curve:curve",
        inputs={
            "scores": tuple(each.scores for each in scored),
            "traces": tuple(each.traces for each in scored),
        },
        label=f"{len(scored)} points",
        code=CodePolicy.FINAL,
        code_roots=code_roots(),
    )
    return Stage(
        name="report",
        version=4,
        config=report,
        run="s1.report.page:report",
        inputs={"curve": (curve,), "archive": (_trace_archive(scored, curve),)},
        label=report.name,
        code=CodePolicy.FINAL,
        code_roots=code_roots(),
    )


def _trace_archive(scored: Sequence[ScoredStages], curve: Stage) -> Stage:
    """All texts of the points, to browse them without the store."""
    return Stage(
        name="trace_archive",
        version=1,
        config=TraceArchiveConfig([each.archived for each in scored]),
        run="s1.report.trace_archive.stage:trace_archive",
        inputs={
            "curve": (curve,),
            "scores": tuple(each.scores for each in scored),
            "traces": tuple(each.traces for each in scored),
            "questions": tuple(each.questions for each in scored),
            "model": tuple(each.model for each in scored),
        },
        label=curve.label,
        code=CodePolicy.FINAL,
    )
