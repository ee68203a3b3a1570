"""Merge finished results: one curve over the points of several, with their scores as they are. Reads nothing of
them but the recorded stages.

points       those that several results have, with the same scores and values, count once
axes         all axes of all results; s1/report/merge_axes.py fills in what a result does not name
settings     statistics, prices and comparison have to agree, unless one result is chosen for them
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from s1.config.schema import ConfigError
from s1.evaluate.task_files import read_task, task_file
from s1.generate.methods.registry import method_of
from s1.report.merge_axes import RESULT, Member, TextSource, filled, text_of
from s1.report_stages import ScoredStages
from s1.stages import (
    ArchivedScores,
    CurveConfig,
    CurvePoint,
    PaperComparison,
    PaperRow,
    ReportConfig,
    ScoresConfig,
    TraceArchiveConfig,
    TracesConfig,
)
from sweep.core.pipeline import ComposedPoint, FinishedResult, MergeRequest
from sweep.core.recorded import RecordedStage
from sweep.core.typed import Typed
from sweep.errors import InputError

EARLIER = "made by an earlier version. Run its command again: finished stages are reused."


@dataclass(frozen=True)
class Merged:
    """What the merged result is made from."""

    curve: CurveConfig
    report: ReportConfig
    scored: tuple[ScoredStages, ...]  # one per point
    curated: tuple[RecordedStage, ...]  # sets of training examples
    remarks: tuple[str, ...]  # lines to print


@dataclass(frozen=True)
class _Source:
    """One of the results."""

    name: str
    curve: CurveConfig
    report: ReportConfig
    members: list[Member]


def merge(results: Sequence[FinishedResult], request: MergeRequest) -> Merged:
    """Merge results. Raises InputError if one of them has no points or lost its scores, or if settings differ."""
    sources = [_source(each, request) for each in results]
    settings = _settings(sources, request.like)
    together = filled([member for source in sources for member in source.members], request.is_apart)
    points = _once(together)
    _refuse_rivals(points)
    claims = {source.report.claim for source in sources}
    return Merged(
        curve=replace(settings, points=[_point(each) for each in points], paper=_paper(sources, together, points)),
        report=ReportConfig(
            name=request.name,
            claim=claims.pop() if len(claims) == 1 else "",
            command=request.command,
            merged=list(dict.fromkeys(command for source in sources for command in _commands(source.report))),
        ),
        scored=tuple(map(_scored, points)),
        curated=tuple({each.key: each for result in results for each in _curated(result.artifact)}.values()),
        remarks=tuple(_remarks(sources, together, points)),
    )


# ---------------------------------------------------------------------------------------------- one result


def _source(result: FinishedResult, request: MergeRequest) -> _Source:
    curves = result.artifact.stages_of("curve")
    if len(curves) != 1:
        raise InputError(
            f"merge {result.name}: a {result.artifact.name}, which has no points. Name results of goal=curve."
        )
    (stage,) = curves
    curve, report = _config(result, stage, CurveConfig), _config(result, result.artifact, ReportConfig)
    scores, traces = stage.stages_of("scores"), stage.stages_of("traces")
    _refuse_lost(result, [stage, *scores, *traces])
    texts = _text_sources(result, scores, traces)
    composed = list(_composed(report, request))
    together = zip(curve.points, scores, traces, texts, strict=True)
    return _Source(
        result.name, curve, report, [Member(result.name, *each, _composed_as(each[0], composed)) for each in together]
    )


def _refuse_lost(result: FinishedResult, stages: Sequence[RecordedStage]) -> None:
    """Raises InputError if an input of a stage is gone, or a stage was made again since the result read it."""
    for lost in (lost for each in stages for lost in each.lost):
        raise InputError(
            f"merge {result.name}: {lost} is no longer in the store. Run the command of the result again, then merge."
        )
    for each in stages:
        cited = result.digests.get(each.address) or each.digest
        if cited != each.digest:
            raise InputError(
                f"merge {result.name}: made from {each.address}@{cited[:4]}, which is @{each.digest[:4]} now. Run the"
                " command of the result again, then merge."
            )


def _text_sources(
    result: FinishedResult, scores: Sequence[RecordedStage], traces: Sequence[RecordedStage]
) -> list[TextSource]:
    """What the archive of a result reads; derived from the stages for a result of an earlier version without one."""
    archives = result.artifact.stages_of("archive")
    if archives:
        (archive,) = archives
        _refuse_lost(result, [archive])
        read = zip(archive.stages_of("questions"), archive.stages_of("model"), strict=True)
        config = _config(result, archive, TraceArchiveConfig)
        return [TextSource(*each, archived) for each, archived in zip(read, config.points, strict=True)]
    return [_text_source(result, *each) for each in zip(scores, traces, strict=True)]


def _text_source(result: FinishedResult, scores: RecordedStage, traces: RecordedStage) -> TextSource:
    (questions,), (model,) = scores.stages_of("questions"), traces.stages_of("model")
    while before := model.stages_of("model"):  # a checkpoint is trained from another, down to a base model
        (model,) = before
    _refuse_lost(result, [model])
    graded = _config(result, scores, ScoresConfig)
    stops = read_task(graded.task, Path(str(scores.settings.get("task") or task_file(graded.task)))).stops
    archived = ArchivedScores(graded.task, list(stops), _config(result, traces, TracesConfig).thinking_format)
    return TextSource(questions, model, archived)


def _scored(member: Member) -> ScoredStages:
    texts = member.texts
    rewards = next(iter(member.scores.stages_of("rewards")), None)
    return ScoredStages(member.scores, member.traces, texts.questions, texts.model, texts.archived, rewards)


def _curated(stage: RecordedStage) -> Iterator[RecordedStage]:
    """The sets of training examples that a report shows; none for one of an earlier version."""
    return iter(stage.stages_of("curated"))


def _config(result: FinishedResult, stage: RecordedStage, schema: type[Typed]) -> Typed:
    try:
        return stage.as_config(schema)
    except InputError:
        raise InputError(f"merge {result.name}: {stage.address} was {EARLIER}") from None


def _commands(report: ReportConfig) -> Sequence[str]:
    """The commands that composed its points."""
    return report.merged or [report.command]


def _composed(report: ReportConfig, request: MergeRequest) -> Iterator[ComposedPoint]:
    """All points of its commands; none of a command that does not compose any more."""
    for command in _commands(report):
        try:
            yield from request.compose(command)
        except InputError:
            continue


def _composed_as(point: CurvePoint, composed: Sequence[ComposedPoint]) -> ComposedPoint | None:
    """The composed point that this one is; None if there is none, or several."""
    axes = [axis for axis in point.values if axis != RESULT]
    found = [
        each
        for each in composed
        if (each.point.request, each.point.seed) == (point.request, point.seed)
        and all(text_of(each.value(axis)) == text_of(point.values[axis]) for axis in axes)
    ]
    return found[0] if len(found) == 1 else None


# ------------------------------------------------------------------------------------------------ settings


def _settings(sources: Sequence[_Source], like: str | None) -> CurveConfig:
    """The config of the chosen result, or of the first. Raises ConfigError if none is chosen and settings differ."""
    chosen = next((each for each in sources if each.name == like), None)
    if chosen is not None:
        return chosen.curve
    first = sources[0]
    for other in sources[1:]:
        here, there = _fields(first.curve), _fields(other.curve)
        for name in (each for each in here if each in there):
            if text_of(here[name]) != text_of(there[name]):
                raise ConfigError(
                    f"{name}: {first.name} has {_short(here[name])}, {other.name} has {_short(there[name])}. Choose"
                    f" the result whose settings count: --like {first.name}, or --like {other.name}."
                )
    return first.curve


def _fields(curve: CurveConfig) -> dict[str, Any]:
    """The settings by configuration field, as JSON."""
    settings = {f"statistics.{name}": value for name, value in asdict(curve.statistics).items()}
    settings |= {f"cost.{name}": value for name, value in asdict(curve.cost).items()}
    settings["compare"] = None if curve.compare is None else asdict(curve.compare)
    if curve.paper is not None:  # a result without published numbers agrees with any margin
        settings["paper.margin_points"] = curve.paper.margin_points
    return settings


def _short(value: Any) -> str:
    return "null" if value is None else str(value)


# -------------------------------------------------------------------------------------------------- points


def _once(members: Sequence[Member]) -> list[Member]:
    """Every point once, where it is first."""
    points: dict[str, Member] = {}
    for each in members:
        points.setdefault(_same(each), each)
    return list(points.values())


def _same(member: Member) -> str:
    return text_of([member.scores.key, member.values, repr(member.point.request)])


def _point(member: Member) -> CurvePoint:
    request = member.point.request
    label = method_of(request).label(request)
    return replace(member.point, label=label, values=member.values, request=request)


def _refuse_rivals(points: Sequence[Member]) -> None:
    """Raises ConfigError for two points that agree in everything but their scores."""
    seen: dict[str, Member] = {}
    for each in points:
        other = seen.setdefault(text_of([each.values, repr(each.point.request), each.point.seed]), each)
        if other is each:
            continue
        what = f"point {each.point.label}: {other.source} and {each.source} have different scores of it"
        if other.scores.request_key == each.scores.request_key:
            raise ConfigError(
                f"{what}, {other.scores.address} and {each.scores.address}, graded by different code. Run the command"
                " of the older result again, which makes only its scores and report."
            )
        raise ConfigError(
            f"{what}, {other.scores.address} and {each.scores.address}, of different traces. Add --apart to keep the"
            " points of each result in series of their own."
        )


def _paper(sources: Sequence[_Source], together: Sequence[Member], points: Sequence[Member]) -> PaperComparison | None:
    """Published numbers of all results, each beside all points that stand beside it in any of them."""
    given = [source.curve.paper for source in sources if source.curve.paper is not None]
    if not given:
        return None
    place = {_same(each): at for at, each in enumerate(points)}
    rows: dict[str, PaperRow] = {}
    start = 0
    for source in sources:
        for row in source.curve.paper.rows if source.curve.paper else ():
            moved = [place[_same(together[start + at])] for at in row.points]
            name = repr(replace(row, points=[]))
            before = rows[name].points if name in rows else []
            rows[name] = replace(row, points=list(dict.fromkeys([*before, *moved])))
        start += len(source.members)
    tables = list(dict.fromkeys(title for each in given for title in each.tables))
    return PaperComparison(tables, list(rows.values()), given[0].margin_points)


# ------------------------------------------------------------------------------------------------- remarks


def _remarks(sources: Sequence[_Source], together: Sequence[Member], points: Sequence[Member]) -> Iterator[str]:
    if twice := len(together) - len(points):
        are, count = ("point is", "counts") if twice == 1 else ("points are", "count")
        yield f"{twice} {are} in several results, and {count} once."
    for source in sources:
        if any(member.composed is None for member in source.members):
            yield f"{source.name}: its command composes other points now, so fields that it does not vary are unknown."
    if any(RESULT in each.values for each in points):
        yield f"The axis {RESULT} keeps the points of each result apart."
    if len({source.report.claim for source in sources}) > 1:
        yield "The results have different claims, so the merged one has none."
    yield from _grader_remarks(points)


def _grader_remarks(points: Sequence[Member]) -> Iterator[str]:
    """A line for each package or file that differs between the scores."""
    versions: dict[str, dict[str, str]] = {}
    for each in points:
        code = each.scores.identity().get("code", {"files": {}, "packages": {}})
        for name, version in {**code["files"], **code["packages"]}.items():
            versions.setdefault(name, {}).setdefault(str(version), each.source)
    for name, by_version in versions.items():
        if len(by_version) > 1:
            shown = ", ".join(f"{source} {version[:12]}" for version, source in by_version.items())
            yield f"Scores were made by different versions of {name}: {shown}."
