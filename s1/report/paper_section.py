"""The section "Beside the paper" of a report, and paper.csv.

In paper.csv accuracies, Control and Performance are in percent, Scaling in points per doubling of thinking tokens, as
published. A published number that nothing of ours stands beside has empty cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from s1.config.paper import Metric, Published
from s1.files import csv_files
from s1.files.csv_files import PAPER
from s1.report import format
from s1.report.findings import BesideNumber, BesidePair, BesidePaper, Findings
from s1.stats.interval import Estimate, standard_error_pp
from s1.stats.published import Verdict

MEASURES = {
    Metric.ACCURACY: "accuracy",
    Metric.CONTROL: "Control",
    Metric.SCALING: "Scaling",
    Metric.PERFORMANCE: "Performance",
}
BY_VALUE = {Verdict.AGREES: "reproduces", Verdict.DIFFERS: "differs"}
SIGN = {Verdict.AGREES: "same sign", Verdict.DIFFERS: "other sign", Verdict.UNDECIDED: "sign cannot be told"}
DECIMALS = 4


@dataclass(frozen=True)
class Line:
    """One row of the table, as text."""

    row: str
    measure: str  # with the task if there are several
    published: str
    published_tokens: str
    point: str
    ours: str
    interval: str
    tokens: str
    verdict: str
    source: str
    is_judged: bool


@dataclass(frozen=True)
class PaperSection:
    beside: BesidePaper
    level_percent: str

    @property
    def titles(self) -> str:
        return "; ".join(self.beside.tables)

    @property
    def lines(self) -> list[Line]:
        return [self._line(each) for each in self.beside.numbers]

    @property
    def has_tokens(self) -> bool:
        return any(each.published_tokens is not None for each in self.beside.numbers)

    @property
    def counts(self) -> dict[str, int]:
        """For the record of the stage: numbers by verdict."""
        return {
            "paper_reproduced": self.beside.count(Verdict.AGREES),
            "paper_different": self.beside.count(Verdict.DIFFERS),
            "paper_undecided": self.beside.count(Verdict.UNDECIDED),
        }

    @property
    def summary(self) -> list[str]:
        """How many numbers have which verdict, in sentences."""
        ours = [each for each in self.beside.numbers if each.label]
        judged = [each for each in ours if each.verdict is not None]
        by_value = [each for each in judged if each.is_by_value]
        by_direction = [each for each in judged if not each.is_by_value]
        sentences = [f"{len(ours)} of {len(self.beside.numbers)} published numbers have a counterpart here."]
        if by_value:
            sentences.append(f"By value: {_counted(by_value, 'reproduced', 'different')}.")
        if by_direction:
            pairs = (
                f"; pairs of rows: {_counted(self.beside.pairs, 'as published', 'reversed')}"
                if self.beside.pairs
                else ""
            )
            sentences.append(f"By direction: {_counted(by_direction, 'as published', 'different')}{pairs}.")
        if len(judged) < len(ours):
            sentences.append(f"{len(ours) - len(judged)} not judged.")
        return sentences

    @property
    def explanations(self) -> list[str]:
        """What the verdicts mean, and why."""
        found = [each for each in self.beside.numbers if each.verdict is not None]
        sentences = []
        if any(each.is_by_value for each in found):
            sentences.append(self._of_values)
        if any(not each.is_by_value for each in found):
            sentences += [self._of_directions, *self._noise]
        return sentences

    @property
    def _of_values(self) -> str:
        return (
            "Values are compared where model, training data, task, questions and temperature are the published ones."
            f" Reproduces: the whole {self.level_percent}% interval of ours lies within"
            f" {self.beside.margin_points:g} points of the published number (Scaling: points per doubling). Differs:"
            " the interval does not contain it. Otherwise it cannot be told at this n. Both runs answer the same"
            " questions, so the published number is taken as fixed (s1/stats/published.py)."
        )

    @property
    def _of_directions(self) -> str:
        why = "; ".join(dict.fromkeys(each.remark for each in self.beside.numbers if self._is_by_direction(each)))
        count = sum(pair.first.metric is Metric.ACCURACY for pair in self.beside.pairs)
        pairs = f"all {count} pairs jointly (Holm)" if count > 1 else "the one pair"
        joint = f" Accuracies: by paired intervals, at a level that holds for {pairs}." if count else ""
        series = any(each.number.metric.is_of_series and self._is_by_direction(each) for each in self.beside.numbers)
        more = " Control and Performance: by intervals that do not overlap. Scaling: by its sign." if series else ""
        return (
            f"Only the direction is compared where this run is not the published one: {why}. A value would then say"
            " nothing about the paper, as other models and tasks have other accuracies; which of two rows is higher can"
            f" still be the same.{joint}{more} Rows with equal published numbers are not compared with each other."
        )

    @property
    def _noise(self) -> Iterator[str]:
        """How uncertain the published order is itself."""
        numbers = [each.number for each in self.beside.numbers if self._is_by_direction(each)]
        shares = [each for each in numbers if each.metric is Metric.ACCURACY and each.n]
        smallest = min(shares, key=lambda each: each.n or 0, default=None)
        if smallest is None or smallest.n is None:
            return
        n = smallest.n
        error = max(standard_error_pp(each.value / 100, n) for each in shares if each.n == n)
        yield (
            f"The published order is uncertain too: on {smallest.task} one of {n} questions is {100 / n:.1f} points,"
            f" and a published accuracy has a standard error of up to {error:.1f} points."
        )

    def _is_by_direction(self, each: BesideNumber) -> bool:
        return each.verdict is not None and not each.is_by_value

    @cached_property
    def _several_tasks(self) -> bool:
        return len({each.number.task for each in self.beside.numbers}) > 1

    def _line(self, each: BesideNumber) -> Line:
        measure = MEASURES[each.number.metric]
        return Line(
            row=each.number.row,
            measure=f"{each.number.task} {measure}" if self._several_tasks else measure,
            published=_published(each.number),
            published_tokens="" if each.published_tokens is None else f"{each.published_tokens:,.0f}",
            point=each.label,
            ours="" if each.ours is None else format.value(each.ours),
            interval=format.interval(each.ours),
            tokens="" if each.tokens is None else format.value(each.tokens),
            verdict=self._verdict(each),
            source=each.number.source,
            is_judged=each.verdict is not None,
        )

    def _verdict(self, each: BesideNumber) -> str:
        if each.verdict is None:
            return each.remark
        if each.is_by_value:
            n = each.ours.n if each.ours else 0
            return BY_VALUE.get(each.verdict, f"cannot be told at n = {n}")
        if each.number.metric is Metric.SCALING:
            return SIGN[each.verdict]
        return self._order(each.number)

    def _order(self, number: Published) -> str:
        """`same order in 2 of 3 pairs`, `reversed against 59K-full`."""
        pairs = [pair for pair in self.beside.pairs if number in (pair.first, pair.second)]
        if not pairs:
            return "no other row to compare with"
        reversed_ = [
            next(row for row in pair.rows if row != number.row) for pair in pairs if pair.verdict is Verdict.DIFFERS
        ]
        if reversed_:
            return f"reversed against {', '.join(reversed_)}"
        same = sum(pair.verdict is Verdict.AGREES for pair in pairs)
        return f"same order in {same} of {len(pairs)} pairs" if same else "order cannot be told"


def _counted(judged: Sequence[BesideNumber] | Sequence[BesidePair], agrees: str, differs: str) -> str:
    counts = {verdict: sum(each.verdict is verdict for each in judged) for verdict in Verdict}
    return (
        f"{counts[Verdict.AGREES]} {agrees}, {counts[Verdict.DIFFERS]} {differs}, {counts[Verdict.UNDECIDED]} undecided"
    )


def _published(number: Published) -> str:
    """`50.0%`, `+15`: with the decimals that were published."""
    if number.metric is Metric.SCALING:
        return f"{number.value:+g}"
    return f"{number.value:g}%" if number.metric is Metric.CONTROL else f"{number.value:.1f}%"


# ------------------------------------------------------------------------------------------------------ paper.csv


def paper_csv(findings: Findings) -> str | None:
    """The content of paper.csv; None if the scan names no published numbers."""
    if findings.beside_paper is None:
        return None
    rows = [dict(_cells(each)) for each in findings.beside_paper.numbers]
    return csv_files.csv_text(list(PAPER), [[row.get(name) for name in PAPER] for row in rows])


def _cells(each: BesideNumber) -> Iterator[tuple[str, Any]]:
    number = each.number
    yield from {"table": number.table, "row": number.row, "task": number.task, "metric": number.metric.value}.items()
    yield from {"published": number.value, "published_tokens": each.published_tokens, "published_n": number.n}.items()
    yield from {"model": number.model, "source": number.source, "label": each.label or None}.items()
    if each.ours is not None:
        yield from _ends(each.ours)
    if each.tokens is not None:
        yield "thinking_tokens", round(each.tokens.value, 1)
    if each.verdict is not None:
        yield from {"compared_by": "value" if each.is_by_value else "direction", "verdict": each.verdict.value}.items()
    yield from {"remark": each.remark or None, "scores": " ".join(each.sources) or None}.items()


def _ends(ours: Estimate) -> Iterator[tuple[str, Any]]:
    factor = 100 if ours.unit == "share" else 1
    for name, number in (("ours", ours.value), ("lo", ours.lo), ("hi", ours.hi)):
        yield name, None if number is None else round(factor * number, DECIMALS)
    yield from {"n": ours.n, "method": ours.method}.items()
