"""Points compared along an axis other than the budget: each against the reference's value there, in pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s1.config.resources import Cost
from s1.config.schema import Budget, Compare, ComputeRequest, ConfigError, Forcing, Statistics
from s1.records import AnswerEnd, Ending, Outcome, ScoreRow
from s1.report.curve import find
from s1.report.findings import PairedDifference
from s1.report.series import Scored
from s1.report.verdict import comparison
from s1.stages import CurveConfig, CurvePoint

COST = Cost(2.0, 1000.0, 500.0, 8.0, 100, 30, 2, "a price list of 2026")
QUESTIONS = 40


def scored(data: str, waits: int, right: range) -> Scored:
    """A point whose questions in `right` are right."""
    label = f"Wait x{waits}" if waits else "natural end"
    rows = [
        ScoreRow(
            *(f"q{index:02}", 0, "7", "7", index in right),
            *(Outcome.ANSWERED, Ending.NATURAL, 20 + 10 * waits, 2, AnswerEnd.STOP, 0, waits, 23 + 10 * waits),
        )
        for index in range(QUESTIONS)
    ]
    point = CurvePoint(
        label,
        {"budget.waits": waits, "data": data},
        ComputeRequest(Budget(Forcing.BUDGET, None, 0, waits, "Wait", None)),
    )
    return Scored(point, f"{data}-{waits}", rows, Path(data))


POINTS = [
    scored("s1k", 0, range(20)),
    scored("s1k", 1, range(30)),
    scored("random", 0, range(10)),
    scored("random", 1, range(10, 40)),
]


def compared(points: list[Scored], reference: str = "s1k") -> list[PairedDifference]:
    config = CurveConfig([each.point for each in points], Statistics(resamples=500), COST, Compare("data", reference))
    return find(config, points).across


@pytest.fixture(autouse=True)
def engine_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s1.report.curve.read_engine", lambda directory: {"engine": "scripted"})


def test_each_point_is_compared_with_the_reference_at_its_own_budget() -> None:
    first, second = compared(POINTS)
    assert (first.label, first.against) == ("random, natural end", "s1k, natural end")
    assert (second.label, second.against) == ("random, Wait x1", "s1k, Wait x1")
    assert (first.estimate.value, first.gained, first.lost) == (-25.0, 0, 10)
    assert (second.estimate.value, second.gained, second.lost) == (0.0, 10, 10)
    assert first.estimate.hi is not None and first.estimate.hi < 0
    assert second.estimate.lo is not None and second.estimate.lo < 0


def test_a_reference_that_no_point_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"compare\.reference limo: no such value of data \(available: random, s1k\)"):
        compared(POINTS, "limo")


def test_the_verdict_names_who_is_higher_and_who_cannot_be_told_apart() -> None:
    first, second = comparison(compared(POINTS))
    assert first.startswith("Against s1k, natural end: lower: random, natural end -25.0 points [")
    assert second.startswith("Against s1k, Wait x1: not measurably different: random, Wait x1 0.0 points [")


def test_points_that_failed_the_audit_are_no_part_of_the_verdict() -> None:
    assert comparison([replace(row, valid=False) for row in compared(POINTS)]) == []


def test_seeds_are_pooled_on_both_sides_of_a_comparison() -> None:
    seeded = []
    for each in POINTS[::2]:
        for seed in (0, 1):
            at = replace(each.point, values={**each.point.values, "seed": seed}, seed=seed)
            seeded.append(replace(each, point=at, key=f"{each.key}-{seed}"))
    (row,) = compared(seeded)
    assert (row.label, row.against, row.estimate.value) == ("random, natural end", "s1k, natural end", -25.0)
    assert "given these 2 seeds" in row.estimate.method
