"""Aggregations of samples: they share traces and scores, compose with every method, and their numbers are exact."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s1.config.schema import Aggregation, Budget, Compare, ComputeRequest, ConfigError, Forcing
from s1.estimates import estimates_of
from s1.generate.audit import audit
from s1.generate.methods.method import Bounds
from s1.generate.methods.registry import Aggregator, method_of
from s1.pipeline import stages_of
from s1.records import AnswerEnd, ScoreRow
from s1.report.curve import find
from s1.report.findings import Findings, MeasuredPoint
from s1.report.series import Scored
from s1.report.tables import read_table, samples_csv, table_csv
from s1.report.verdict import verdict
from s1.stages import CurveConfig, CurvePoint
from s1.stats.clustered import shares
from s1.stats.grid import aggregated, grid
from s1.stats.interval import StatisticsError
from s1.stats.votes import majority_at
from sweep.config.compose import compose
from sweep.errors import InputError
from tests.support.ballots import samples
from tests.support.scans import COST, STATISTICS
from tests.support.words import budget

ANSWERS = ("RRRa", "RRab", "Raab", "aabb", "R---", "RRRR", "aaaa", "RaRa")
VOTES = Aggregation.MAJORITY_VOTE


@pytest.fixture(autouse=True)
def engine_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s1.report.curve.read_engine", lambda directory: {"engine": "scripted"})


def request(votes: int | None, most: int | None = None, kind: Aggregation = VOTES, **fields: object) -> ComputeRequest:
    return ComputeRequest(budget(most, answer_tokens=None, aggregation=kind, votes=votes, **fields))


def label(asked: ComputeRequest) -> str:
    return method_of(asked).label(asked)


def scored(asked: ComputeRequest, answers: tuple[str, ...] = ANSWERS, key: str = "", seed: int = 0) -> Scored:
    rows = [row for place, each in enumerate(answers) for row in samples(each, question=f"q{place}")]
    values = {"budget.votes": asked.budget.votes, "budget.max_thinking_tokens": asked.budget.max_thinking_tokens}
    if seed:
        values["seed"] = seed
    point = CurvePoint(label(asked), values, asked, seed)
    return Scored(point, key or f"{asked.budget.max_thinking_tokens}", rows, Path("traces"))


def findings(*points: Scored, compare: Compare | None = None) -> Findings:
    return find(CurveConfig([each.point for each in points], STATISTICS, COST, compare), points)


def point_of(found: Findings, label: str) -> MeasuredPoint:
    return next(point for point in found.points() if point.label == label)


# ------------------------------------------------------------------------------------------ the numbers of a point


def test_the_accuracy_is_that_of_samples_csv_and_so_is_its_interval() -> None:
    """A point of k votes and row k of several samples are one estimate of one thing."""
    found = findings(scored(request(3)))
    (point,) = found.points()
    votes = aggregated(scored(request(3)).scores, "", None, lambda *_: 0.0).votes_QS
    expected = shares(majority_at(votes)[None], 4, 0.95)[2]
    assert point.accuracy.value == pytest.approx(expected.value)
    assert (point.accuracy.lo, point.accuracy.hi) == pytest.approx((expected.lo, expected.hi))
    assert point.accuracy.method == "Wilson over questions, clustered, majority over all choices from 4 samples"
    assert point.votes == 3 and point.at_k == []


def test_thinking_counts_every_sample_of_an_answer_and_the_bounds_with_it() -> None:
    points = [scored(request(votes, most=10)) for votes in (1, 2, 4)]
    measured = list(findings(*points).points())
    assert [point.thinking_tokens.value for point in measured] == [10, 20, 40]
    assert [point.answer_tokens.value for point in measured] == [2, 4, 8]
    assert [point.bounds for point in measured] == [Bounds(0, 10), Bounds(0, 20), Bounds(0, 40)]
    assert all(point.sampled_tokens.value == 8 * 4 * 14 for point in measured)
    assert [point.sampled_tokens_per_answer for point in measured] == [14, 28, 56]


def test_one_vote_is_the_plain_point() -> None:
    plain, one = scored(ComputeRequest(budget(answer_tokens=None)), key="p"), scored(request(1), key="p")
    (first, second) = findings(plain, one).points()
    assert second.accuracy.value == first.accuracy.value
    assert (second.accuracy.lo, second.accuracy.hi) == (first.accuracy.lo, first.accuracy.hi)
    assert second.thinking_tokens == first.thinking_tokens


def test_all_samples_are_the_default() -> None:
    found = findings(scored(request(None)), scored(request(4, most=10)))
    everything, four = point_of(found, "natural end, majority of all"), point_of(found, "max 10, majority of 4")
    assert everything.accuracy == four.accuracy and everything.votes == four.votes == 4


def test_equal_probabilities_are_no_gain_however_they_were_computed() -> None:
    """1/3 from a mean and 1/3 from an expectation differ in the last bit, which is no question gained."""
    rows = [row for place in range(9) for row in samples("Raa", question=f"q{place}")]
    plain = replace(scored(ComputeRequest(budget(answer_tokens=None)), key="p"), scores=rows)
    third = aggregated(rows, "", 2, lambda *_: 1 / 3)
    assert np.abs(third.accuracy_Q - grid(rows, "").accuracy_Q).max() < 1e-9
    two = replace(scored(request(2), key="p"), scores=rows)
    found = findings(plain, two, compare=Compare("budget.votes", "null"))
    (difference,) = found.across
    assert (difference.gained, difference.lost, difference.estimate.value) == (0, 0, 0)


def test_a_cut_answer_that_were_right_would_also_vote() -> None:
    each = scored(request(4), ("Raaa", "aaab"))
    rows = [replace(row, answer_end=AnswerEnd.CONTEXT) if row.sample in (1, 2) else row for row in each.scores]
    (point,) = findings(replace(each, scores=rows)).points()
    assert point.accuracy.value == 0
    assert point.accuracy_if_cut_right == 1  # three of four, and two of four against one each


def test_the_audit_is_that_of_the_samples() -> None:
    long = [replace(row, thinking_tokens=20) for row in samples("RR")]
    assert audit(long, request(2, most=16)).problems == audit(long, request(1, most=16)).problems
    assert audit(long, request(2, most=16)).problems[0].startswith("2 of 2 traces think longer than 16 tokens")


def test_more_votes_than_samples_are_an_error_of_the_scores() -> None:
    with pytest.raises(StatisticsError, match="5 votes of 4 samples"):
        aggregated(scored(request(3)).scores, "natural end", 5, lambda *_: 0.0)


@pytest.mark.parametrize("kind", [Aggregation.WEIGHTED_VOTE, Aggregation.BEST_OF_N])
def test_rewards_that_are_missing_are_refused_by_name(kind: Aggregation) -> None:
    with pytest.raises(ConfigError, match="reward=NAME"):
        findings(scored(request(2, kind=kind)))
    method = method_of(request(2, kind=kind))
    assert isinstance(method, Aggregator) and method.needs_rewards


# ----------------------------------------------------------------------------------------------- lines and verdict


def test_a_line_is_over_the_votes_for_each_budget() -> None:
    asked = [request(votes, most) for votes in (1, 2, 4) for most in (10, 16)]
    plain = [ComputeRequest(budget(most, answer_tokens=None)) for most in (10, 16)]
    found = findings(*(scored(each) for each in [*asked, *plain]))
    lines = {series.name: [point.label for point in series.points] for series in found.series}
    assert lines == {
        f"method majority vote of forcing, each max {most}": [f"max {most}, majority of {k}" for k in (1, 2, 4)]
        for most in (10, 16)
    } | {"method forcing": ["max 10", "max 16"]}
    assert [series.reference for series in found.series[:2]] == ["max 10, majority of 1", "max 16, majority of 1"]


def test_a_line_is_over_the_budgets_for_one_number_of_votes() -> None:
    found = findings(*(scored(request(4, most)) for most in (10, 16, None)))
    (series,) = found.series
    assert {point.label for point in series.points} == {
        f"{budget}, majority of 4" for budget in ("max 10", "max 16", "natural end")
    }


def test_other_kinds_of_votes_and_the_samples_themselves_are_lines_of_their_own() -> None:
    families = [
        method_of(each).family(each)
        for each in (
            request(4, 16),
            request(4, 16, kind=Aggregation.BEST_OF_N),
            request(4, 16, kind=Aggregation.WEIGHTED_VOTE),
            ComputeRequest(budget(16, answer_tokens=None)),
        )
    ]
    assert len({family["method"] for family in families}) == 4


def test_the_verdict_and_scaling_speak_of_votes() -> None:
    answers = ("RRRa",) * 40 + ("aaab",) * 10
    found = findings(*(scored(request(votes), answers) for votes in (1, 2, 4)))
    (series,) = found.series
    assert [round(point.accuracy.value, 3) for point in series.points] == [0.6, 0.6, 0.8]
    assert verdict(series)[0].startswith("Accuracy rises with thinking to natural end, majority of 4, from 60.0%")
    scaling = series.metrics.scaling
    assert scaling is not None and scaling.value == pytest.approx((0 + 20 + 10) / 3)


def test_seeds_are_pooled() -> None:
    points = [scored(request(2), key=f"k{seed}", seed=seed) for seed in (1, 2)]
    (point,) = findings(*points).points()
    (alone,) = findings(points[0]).points()
    assert point.accuracy.value == pytest.approx(alone.accuracy.value)
    assert len(point.sources) == 2 and point.sources[0].accuracy.value == pytest.approx(alone.accuracy.value)


def test_the_table_has_the_number_of_votes_only_where_there_are_any(tmp_path: Path) -> None:
    plain = scored(ComputeRequest(budget(answer_tokens=None)))
    mixed = findings(scored(request(3), key="k"), plain)
    (tmp_path / "table.csv").write_text(table_csv(mixed), encoding="utf-8")
    rows = {row["label"]: row["votes"] for row in read_table(tmp_path / "table.csv")}
    assert rows == {"natural end, majority of 3": 3, "natural end": None}
    heading = table_csv(findings(plain)).partition("\n")[0].split(",")
    assert "votes" not in heading and "branches" not in heading
    assert (samples_csv(mixed) or "").count("natural end,") == 4  # k = 1..4 of the plain point


# --------------------------------------------------------------------------------------------------- the requests


def test_every_number_of_votes_and_the_plain_samples_share_traces_and_scores() -> None:
    sampled = ["generate=sampled", "generate.samples=16", "budget.max_thinking_tokens=16"]
    votes = compose([*sampled, "budget=majority_vote", "budget.votes=1,2,4,8,16,null", "-m"]).points
    plain = compose(sampled).points
    waits = compose([*sampled, "budget=wait", "budget.aggregation=majority_vote"]).points
    stages = [stages_of(point).evaluation for point in (*votes, *plain)]
    assert len({each.traces.key for each in stages}) == len({each.scores.key for each in stages}) == 1
    assert stages_of(waits[0]).evaluation.traces.key != stages[0].traces.key
    assert {each.traces.label for each in stages} == {"max 16"}


def test_the_plan_counts_the_tokens_of_shared_samples_once() -> None:
    sampled = ["generate=sampled", "generate.samples=16", "budget.max_thinking_tokens=16", "budget=majority_vote", "-m"]
    estimates = []
    for votes in ("16", "1,2,4,8,16"):
        points = compose([*sampled, f"budget.votes={votes}"]).points
        estimates.append(estimates_of(points, [stages_of(point) for point in points]))
    assert estimates[0] == estimates[1]


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (request(4, 1024), "max 1024, majority of 4"),
        (request(None), "natural end, majority of all"),
        (request(2, waits=2, kind=Aggregation.BEST_OF_N), "Wait x2, best of 2"),
        (request(8, kind=Aggregation.WEIGHTED_VOTE), "natural end, weighted vote of 8"),
        (replace(request(4), instruction="Think for up to 64 tokens."), "asked 64 tokens, majority of 4"),
        (
            ComputeRequest(Budget(Forcing.REJECTION, 64, 0, 0, "", None, tries=8, aggregation=VOTES, votes=3)),
            "reject > 64, majority of 3",
        ),
        (ComputeRequest(Budget(Forcing.NONE, None, 0, 0, "", None, aggregation=VOTES)), "no forcing, majority of all"),
    ],
)
def test_votes_compose_with_every_method(asked: ComputeRequest, named: str) -> None:
    method = method_of(asked)
    assert method.label(asked) == named
    plain = replace(asked, budget=replace(asked.budget, aggregation=Aggregation.NONE, votes=None))
    assert method.effective_budget(asked) == method_of(plain).effective_budget(plain)
    assert method.bounds(asked) == method_of(plain).bounds(plain)
    assert method.expected_thinking_tokens(asked, 50) == method_of(plain).expected_thinking_tokens(plain, 50)


def test_the_amount_is_the_votes_and_then_that_of_a_sample() -> None:
    asked = [request(1, 64), request(2, 16), request(2, 64), request(None, 16)]
    assert sorted([asked[2], asked[0], asked[3], asked[1]], key=lambda each: method_of(each).amount(each)) == asked
    assert method_of(asked[3]).amount(asked[3]) == (math.inf, 0, 0, 16)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (["generate=greedy"], r"budget\.aggregation majority_vote: greedy samples are all equal"),
        (["budget.votes=5"], r"budget\.votes 5: there are only 4 samples"),
        (["budget.votes=0"], r"budget\.votes 0"),
        (["budget.aggregation=none", "budget.votes=2"], r"budget\.votes 2: nothing is aggregated"),
        (["budget.aggregation=median"], r"budget\.aggregation"),
        (["budget.max_thinking_tokens=500"], r"max_thinking_tokens 500: with 128 tokens"),
        (["task.instruction='Think for up to 64 tokens.'", "budget.votes=5"], r"budget\.votes 5"),
    ],
)
def test_votes_that_no_samples_could_give_are_refused(changed: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        compose(["budget=majority_vote", "generate=sampled", *changed])


def test_a_reward_of_none_is_not_written(tmp_path: Path) -> None:
    from s1.records import read_rows, write_rows

    path = tmp_path / "scores.jsonl"
    rows = [*samples("R"), *samples("a", [0.5])]
    write_rows(path, rows)
    first, second = path.read_text(encoding="utf-8").splitlines()
    assert "reward" not in first and "branches" not in first and '"reward": 0.5' in second
    assert read_rows(path, ScoreRow) == rows
