"""The whole traces of a scan over a single question, as in the paper's Figure 3.

With one question no statistic says anything; what the model wrote does. A point shows its first sample of its first
seed. The texts are those of traces.jsonl, so appended strings stand in the thinking where the policy put them.
"""

from __future__ import annotations

from collections.abc import Sequence

from s1.generate.trace_row import TRACES_FILE
from s1.records import ScoreRow, TraceRow, read_rows
from s1.report.findings import ShownTrace
from s1.report.series import Scored


def shown_traces(scored: Sequence[Scored]) -> list[ShownTrace]:
    """One trace per point, in the order of the points; none if any point has several questions."""
    if any(len({score.question_id for score in each.scores}) > 1 for each in scored):
        return []
    return [_shown(each) for each in {each.identity: each for each in scored}.values()]


def _shown(each: Scored) -> ShownTrace:
    score = min(each.scores, key=lambda row: row.sample)
    trace = _trace_of(each, score)
    return ShownTrace(
        label=each.point.label,
        question_id=score.question_id,
        gold=score.gold,
        thinking=trace.thinking.strip("\n"),
        answer=trace.answer.strip("\n"),
        extracted=score.extracted,
        is_correct=score.correct,
    )


def _trace_of(each: Scored, score: ScoreRow) -> TraceRow:
    rows = read_rows(each.traces / TRACES_FILE, TraceRow)
    return next(row for row in rows if (row.question_id, row.sample) == (score.question_id, score.sample))
