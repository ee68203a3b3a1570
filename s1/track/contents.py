"""What is logged to the run of a finished stage, by job type. Reads the store; calls no W&B but the given run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1.files.csv_files import Cell
from s1.records import ScoreRow, read_rows
from s1.report.curve import measured_alone
from s1.report.findings import FILE_NAME, Findings, MeasuredPoint, read_findings
from s1.report.series import Scored
from s1.report.trace_archive import open_archive
from s1.track import alerts, summary_run
from s1.track.charts import curve_chart, majority_chart, page_of, preset_of, table_of
from s1.track.costs import Bill, PlannedStage
from s1.track.finished import FinishedStages
from s1.track.point_run import (
    PointNumbers,
    ScoresOfRun,
    before_curve,
    defined,
    invalid_labels,
    place_of,
    with_curve,
)
from s1.track.runs import has_arrived, last_there
from s1.track.trace_rows import trace_rows
from s1.track.tracked import Tracked
from s1.track.training_run import STEP, define_training, training_row, training_summary

if TYPE_CHECKING:
    from s1.track.runs import Run

METRICS = "metrics.jsonl"


@dataclass
class Contents:
    """Reads what runs show; keeps the findings of the newest curve in memory."""

    stages: FinishedStages
    result: str  # its name
    planned: Mapping[str, PlannedStage]  # all stages behind it
    known: dict[Path, Findings] = field(default_factory=dict[Path, Findings])

    def training(self, run: Run, tracked: Tracked, rows_sent: int) -> int:
        """Log the steps of a checkpoint that were not sent yet, and its summary. Returns the number of rows sent."""
        define_training(run)
        rows = list(self._metrics(tracked.stage))
        there = last_there(run, STEP, rows_sent or None)  # one row a step, so a step is a count of rows
        for row in rows[int(there or 0) :]:
            run.log(training_row(row))
        run.summary.update(training_summary(self.stages.record(tracked.stage)))
        return len(rows)

    def point(self, run: Run, tracked: Tracked, rows_sent: int) -> int:
        """Write the numbers of a point; with the curve, also as one history row. Returns the number of rows sent."""
        values, is_complete = self.numbers(tracked)
        if is_complete and not rows_sent and not has_arrived(run, "reference"):  # a key that needs the curve
            run.log(defined(values))
        _write_summary(run, values)
        return rows_sent or int(is_complete)

    def summary(self, run: Run, tracked: Tracked, rows_sent: int) -> int:
        """Log tables, chart and page of a scan, its summary and alerts. Returns the number of rows sent."""
        page = self.stages.checked(tracked.stage, "report.html").read_text(encoding="utf-8")
        findings = self.findings(_only(tracked, "curve"))
        tables = summary_run.tables(findings)
        bill = self._bill(tracked.stage)
        tables |= {
            name: summary_run.rows_of(rows)
            for name, rows in (
                ("costs", [row.cells for row in bill.rows()]),
                ("traces", self._traces(tracked, findings)),
            )
            if rows
        }
        shown: dict[str, Any] = {name: table_of(rows) for name, rows in tables.items()}
        chart = curve_chart(summary_run.chart_table(findings), summary_run.line_rows(findings), preset_of(run))
        votes = summary_run.majority_rows(findings)
        shown |= {"majority": majority_chart(votes)} if votes.rows else {}
        is_first = not rows_sent and not has_arrived(run, "points")
        run.log({**shown, "scaling_chart": chart, "report": page_of(page)})
        verdict = str(self.stages.record(tracked.stage)["summary"].get("verdict") or "")
        _write_summary(run, summary_run.summary_numbers(findings, verdict, bill.spent()))
        if is_first:
            for alert in alerts.of_finished_scan(
                self.result, verdict, invalid_labels(findings), *bill.of_this_result()
            ):
                alerts.send(run, alert)
        return rows_sent + 1

    def _bill(self, address: str) -> Bill:
        records = {each: self.stages.record(each) for each in self.planned if self.stages.is_done(each)}
        return Bill(self.planned, records, self.stages.planned_for(address))

    def _traces(self, tracked: Tracked, findings: Findings) -> list[dict[str, Any]]:
        archive = tracked.one("archive")
        if archive is None or not self.stages.is_done(archive):
            return []
        references = {series.name: series.reference for series in findings.series}
        return trace_rows(open_archive(self.stages.out(archive)), references)

    def numbers(self, tracked: Tracked) -> tuple[PointNumbers, bool]:
        """The numbers of a point, and whether they are those of the curve."""
        scores = self._scores(tracked)
        curve = tracked.one("curve")
        if curve is None or not self.stages.is_done(curve):
            return before_curve(self._alone(tracked), scores), False
        place = place_of(self.findings(curve), scores)
        return with_curve(place, scores, self._alone(tracked) if place.is_pooled else None), True

    def findings(self, curve: str) -> Findings:
        file = self.stages.checked(curve, FILE_NAME)
        if file not in self.known:
            self.known.clear()
            self.known[file] = read_findings(file.parent)
        return self.known[file]

    def _scores(self, tracked: Tracked) -> ScoresOfRun:
        assert tracked.point is not None
        return ScoresOfRun(tracked.key, self.stages.digest(tracked.stage), tracked.point)

    def _alone(self, tracked: Tracked) -> MeasuredPoint:
        assert tracked.point and tracked.statistics and tracked.cost
        rows = read_rows(self.stages.checked(tracked.stage, "scores.jsonl"), ScoreRow)
        traces = self.stages.out(_only(tracked, "traces"))
        scored = Scored(tracked.point, tracked.key, rows, traces, self.stages.digest(tracked.stage))
        return measured_alone(scored, tracked.statistics, tracked.cost)

    def _metrics(self, address: str) -> Iterator[dict[str, Any]]:
        if METRICS in self.stages.files(address):
            text = self.stages.checked(address, METRICS).read_text(encoding="utf-8")
            yield from (json.loads(line) for line in text.splitlines())


def _write_summary(run: Run, values: Mapping[str, Cell]) -> None:
    """Set defined values and remove undefined ones, which an earlier curve may have defined."""
    run.summary.update(defined(values))
    for key in run.summary.keys() & values.keys():
        if values[key] is None:
            delattr(run.summary, key)


def _only(tracked: Tracked, role: str) -> str:
    address = tracked.one(role)
    assert address is not None
    return address
