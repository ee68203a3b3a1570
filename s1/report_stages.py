"""The stages that end a command or a merge: curve, trace_archive and report, over the scores of all points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from s1.generate.methods.registry import code_roots
from s1.stages import ArchivedScores, CurveConfig, LineageStage, ReportConfig, TraceArchiveConfig
from sweep.core.stage import CodePolicy, Stage


@dataclass(frozen=True)
class ScoredStages:
    """The stages of one point that its report reads."""

    scores: Stage
    traces: Stage
    questions: Stage
    model: Stage  # the base model, which has the tokenizer
    archived: ArchivedScores
    rewards: Stage | None = None


def report_stage(
    config: CurveConfig, report: ReportConfig, scored: Sequence[ScoredStages], curated: Sequence[Stage]
) -> Stage:
    """Statistics over the scores of all points, their texts, and the page that shows both.

    `report` without sets and lineage, which come from the stages; `curated`: the sets of training examples.
    """
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
        config=replace(report, sets=names_of(curated), lineage=lineage_of(scored)),
        run="s1.report.page:report",
        inputs={
            "curve": (curve,),
            "archive": (_trace_archive(scored, curve),),
            **({"curated": tuple(curated)} if curated else {}),
        },
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


def names_of(stages: Sequence[Stage]) -> list[str]:
    """Their labels, with the key added where several stages share a label."""
    labels = [stage.label for stage in stages]
    return [each.label if labels.count(each.label) == 1 else f"{each.label} {each.key}" for each in stages]


def lineage_of(scored: Sequence[ScoredStages]) -> list[LineageStage]:
    """All that the scores were made from, each stage once, inputs first."""
    found: dict[str, LineageStage] = {}

    def visit(stage: Stage) -> None:
        if stage.address not in found:
            inputs = [each for of_role in stage.inputs.values() for each in of_role if isinstance(each, Stage)]
            for each in inputs:
                visit(each)
            found[stage.address] = LineageStage(stage.address, stage.label, [each.address for each in inputs])

    for each in scored:
        for stage in filter(None, (each.traces, each.rewards)):
            visit(stage)
    return list(found.values())
