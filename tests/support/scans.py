"""Points with generated scores, run through the curve and report stages on real files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from s1.config.resources import Cost
from s1.config.schema import Budget, ComputeRequest, EngineConfig, EngineKind, Forcing, Statistics
from s1.generate.engines import Fingerprint
from s1.records import AnswerEnd, Ending, Outcome, ScoreRow, TraceRow, write_rows
from s1.report.curve import curve, find
from s1.report.findings import Findings, Series, read_findings
from s1.report.page import report
from s1.report.series import Scored
from s1.stages import CurveConfig, CurvePoint, PaperComparison, ReportConfig
from sweep.core.stage import Work

COST = Cost(2.0, 1000.0, 500.0, 8.0, 100, 30, 2, "a price list of 2026")
STATISTICS = Statistics(resamples=2000)
ENGINE = EngineConfig(EngineKind.VLLM, "float32", "cpu", 1)
FINGERPRINT = Fingerprint(ENGINE, {"vllm": "0.32.0", "torch": "2.13.0"}, {"processor": "CPU AVX2"})


def point(limit: int | None, waits: int, **values: object) -> CurvePoint:
    label = f"Wait x{waits}" if waits else "natural end" if limit is None else f"max {limit}"
    return of(Budget(Forcing.BUDGET, limit, 0, waits, "Wait", None), label, **values)


def of(budget: Budget, label: str, instruction: str | None = None, /, **values: object) -> CurvePoint:
    """A point whose values are those of its budget, and others."""
    axes = {"budget.max_thinking_tokens": budget.max_thinking_tokens, "budget.waits": budget.waits}
    return CurvePoint(label, {**axes, **values}, ComputeRequest(budget, instruction), int(str(values.get("seed", 0))))


def rows(
    right: int, questions: int, tokens: int, limit: int | None = None, waits: int = 0, sample: int = 0
) -> list[ScoreRow]:
    """The first `right` questions are right; one whose thinking would go beyond the limit is cut there."""

    def row(index: int) -> ScoreRow:
        natural = tokens + index % 4
        cut = limit is not None and natural > limit
        outcome, ending = (Outcome.FORCED, Ending.FORCED) if cut else (Outcome.ANSWERED, Ending.NATURAL)
        thought = limit if cut and limit is not None else natural
        correct = index < right
        return ScoreRow(
            f"q{index:02}",
            sample,
            "7",
            "7" if correct else "8",
            correct,
            outcome,
            ending,
            thought,
            2,
            AnswerEnd.STOP,
            0,
            waits,
            thought + 3,
        )

    return [row(index) for index in range(questions)]


def trace_of(score: ScoreRow, thinking: Sequence[int] | None = None) -> TraceRow:
    """A trace with this score; its thinking tokens all differ unless they are given."""
    ids = list(range(score.thinking_tokens) if thinking is None else thinking)
    return TraceRow(
        question_id=score.question_id,
        sample=score.sample,
        prompt_tokens=1,
        segments=[{"part": "thinking", "origin": "sampled", "ids": ids, "ended_by": None}],
        thinking="",
        answer=score.extracted or "",
        ending=score.ending,
        thinking_tokens=len(ids),
        answer_tokens=score.answer_tokens,
        answer_end=score.answer_end,
        thinks_on_tokens=0,
        waits=score.waits,
        sampled_tokens=score.sampled_tokens,
    )


def measured(point: CurvePoint, right: range, tokens: int, questions: int = 40) -> Scored:
    """A point without files: which questions are right, and how long every trace thinks."""
    budget = point.request.budget
    template = rows(0, questions, 0)
    scores = [
        replace(row, correct=index in right, waits=budget.waits, **_thinking(tokens + index % 3, budget))
        for index, row in enumerate(template)
    ]
    name = hashlib.sha256(repr((point, right, tokens)).encode()).hexdigest()
    return Scored(point, name[:12], scores, Path("traces"), name[12:24])


def _thinking(tokens: int, budget: Budget) -> dict[str, object]:
    """So many tokens, or as many as the maximum allows."""
    most = budget.max_thinking_tokens
    if most is None or tokens <= most:
        return {"thinking_tokens": tokens}
    return {"thinking_tokens": most, "ending": Ending.FORCED, "outcome": Outcome.FORCED}


def found(scored: Sequence[Scored], **statistics: object) -> Findings:
    """What the curve stage finds; the test sets `read_engine` aside."""
    return find(CurveConfig([each.point for each in scored], replace(STATISTICS, **statistics), COST), scored)


def work(config: object, inputs: Mapping[str, Sequence[Path]], out: Path) -> Work:
    """An order with a digest of every input."""
    out.mkdir(parents=True)
    given = {role: tuple(paths) for role, paths in inputs.items()}
    digests = {role: tuple(f"d{place:03x}beef0000" for place in range(len(paths))) for role, paths in given.items()}
    return Work(out.parent.name, config, given, out, out, out, {}, lambda *_: None, digests=digests)


def run(
    store: Path,
    points: Sequence[CurvePoint],
    scores: Sequence[list[ScoreRow]],
    disagreeing: Mapping[int, str] = MappingProxyType({}),
    paper: PaperComparison | None = None,
    **statistics: object,
) -> Path:
    """Both stages, as the machinery would run them; the report's product directory.

    `disagreeing`: what graders judge differently, as a file, by the place of the point.
    """
    made = run_curve(store, points, scores, disagreeing, paper, **statistics)
    claim = "Accuracy rises with the thinking budget & with Wait."
    page = ReportConfig("budget_scan", claim, "python -m sweep +experiment=budget_scan -m")
    final = work(page, {"curve": [made]}, store / "report" / "facade000000" / "out")
    report(final)
    return final.out


def run_curve(
    store: Path,
    points: Sequence[CurvePoint],
    scores: Sequence[list[ScoreRow]],
    disagreeing: Mapping[int, str] = MappingProxyType({}),
    paper: PaperComparison | None = None,
    **statistics: object,
) -> Path:
    """The curve stage alone; its product directory."""
    directories: dict[str, list[Path]] = {"scores": [], "traces": []}
    for index, each in enumerate(scores):
        for role, made in directories.items():
            made.append(store / role / f"{index:012x}" / "out")
            made[-1].mkdir(parents=True, exist_ok=True)
        write_rows(directories["scores"][-1] / "scores.jsonl", each)
        if index in disagreeing:
            (directories["scores"][-1] / "grader_disagreement.csv").write_text(disagreeing[index], encoding="utf-8")
        FINGERPRINT.write(directories["traces"][-1])
        write_rows(directories["traces"][-1] / "traces.jsonl", map(trace_of, each))
    config = CurveConfig(list(points), replace(STATISTICS, **statistics), COST, paper=paper)
    made = work(config, directories, store / "curve" / "c0ffee000000" / "out")
    curve(made)
    return made.out


def series_of(out: Path) -> list[Series]:
    return read_findings(out.parents[2] / "curve" / "c0ffee000000" / "out").series
