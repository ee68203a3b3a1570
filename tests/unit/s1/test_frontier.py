"""The frontier: fronts of hand-made points, ties included; costs of votes and tries; who is compared with whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.config.schema import Aggregation, Budget, Forcing, Rebase, RebaseVote
from s1.files.csv_files import read_rows
from s1.records import Outcome, ScoreRow
from s1.report.curve import find
from s1.report.findings import Frontier
from s1.report.series import Scored
from s1.stages import CurveConfig, CurvePoint
from s1.stats.bootstrap import draw_counts
from s1.stats.pareto import best_within, front_share, on_front
from tests.support.scans import COST, STATISTICS, of, point, rows, run

# ------------------------------------------------------------------------------------------------- the front


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(8, 0.2), (16, 0.5), (32, 0.4), (64, 0.9)], [0, 1, 3]),
        ([(8, 0.5), (16, 0.5)], [0]),  # as accurate, and cheaper
        ([(8, 0.5), (8, 0.6)], [1]),  # as cheap, and more accurate
        ([(8, 0.5), (8, 0.5), (16, 0.5)], [0, 1]),  # a tie in both
        ([(8, 0.1 + 0.2), (8, 0.3), (9, 0.3)], [0, 1]),  # a tie but for rounding
        ([(64, 0.9), (8, 0.2), (32, 0.4), (16, 0.5)], [0, 1, 3]),  # in any order
        ([(8, 0.0)], [0]),
        ([(8, 0.0), (16, 0.0), (32, 0.0)], [0]),
    ],
)
def test_a_point_is_on_the_front_unless_another_beats_it(points: list[tuple[float, float]], front: list[int]) -> None:
    cost, accuracy = (np.array(each, dtype=float) for each in zip(*points, strict=True))
    assert np.flatnonzero(on_front(cost, accuracy)).tolist() == front


POINTS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=12)


@given(POINTS)
def test_the_front_is_what_its_definition_says(points: list[tuple[int, int]]) -> None:
    def beats(other: tuple[int, int], one: tuple[int, int]) -> bool:
        return other[0] <= one[0] and other[1] >= one[1] and other != one

    cost, accuracy = (np.array(each, dtype=float) for each in zip(*points, strict=True))
    expected = [not any(beats(other, one) for other in points) for one in points]
    assert on_front(cost, accuracy).tolist() == expected


def test_the_share_of_resamples_is_that_of_each_resample_by_itself() -> None:
    generator = np.random.default_rng(0)
    cost_QP, accuracy_QP = generator.integers(1, 9, (12, 7)).astype(float), generator.integers(0, 2, (12, 7)) * 1.0
    counts = draw_counts(12, 50, 0)
    alone = [on_front(count @ cost_QP / 12, count @ accuracy_QP / 12) for count in counts]
    assert front_share(cost_QP, accuracy_QP, counts).tolist() == np.mean(alone, axis=0).tolist()


def test_resamples_in_several_chunks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cost_QP, accuracy_QP = np.arange(24.0).reshape(8, 3), np.eye(8)[:, :3]
    counts = draw_counts(8, 40, 0)
    whole = front_share(cost_QP, accuracy_QP, counts).tolist()
    monkeypatch.setattr("s1.stats.pareto.MOST_PAIRS", 1)
    assert front_share(cost_QP, accuracy_QP, counts).tolist() == whole


def test_the_rival_is_the_most_accurate_one_that_costs_no_more_and_of_equals_the_cheapest() -> None:
    cost, accuracy = np.array([8.0, 16, 16, 32, 4]), np.array([0.5, 0.6, 0.6, 0.9, 0.6])
    everyone = np.ones(5, dtype=bool)
    assert [best_within(cost, accuracy, budget, everyone) for budget in (3, 8, 16, 31.9, 32)] == [None, 4, 4, 4, 3]
    assert best_within(cost, accuracy, 16, np.array([1, 1, 1, 0, 0], dtype=bool)) == 1


# ------------------------------------------------------------------------------------------------ in the report

QUESTIONS, SAMPLES = 12, 4


@pytest.fixture(autouse=True)
def _without_engine_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s1.report.curve.read_engine", lambda directory: {"engine": "scripted"})


def sampled(limit: int, right: int, samples: int = SAMPLES) -> list[ScoreRow]:
    """Later samples are better; each takes 3 tokens besides its thinking."""
    return [row for sample in range(samples) for row in rows(right + sample, QUESTIONS, 40, limit, sample=sample)]


def voted(limit: int, votes: int | None, **values: object) -> CurvePoint:
    budget = Budget(Forcing.BUDGET, limit, 0, 0, "Wait", None, aggregation=Aggregation.MAJORITY_VOTE, votes=votes)
    axes = {"budget.aggregation": "majority_vote", "budget.votes": votes}
    return of(budget, f"max {limit}, majority of {votes}", **axes, **values)


def rejecting(limit: int) -> CurvePoint:
    budget = Budget(Forcing.REJECTION, limit, 0, 0, "Wait", None, tries=8)
    return of(budget, f"reject > {limit}", **{"budget": "rejection", "generate.samples": 1})


def frontiers(
    points: Sequence[CurvePoint], scores: Sequence[list[ScoreRow]], keys: Sequence[str] = ()
) -> list[Frontier]:
    keys = keys or [f"key{index}" for index in range(len(points))]
    scored = [Scored(*each, Path("traces")) for each in zip(points, keys, scores, strict=True)]
    return find(CurveConfig(list(points), STATISTICS, COST), scored).frontiers


def test_votes_cost_all_their_samples_and_share_the_scores_of_one() -> None:
    points = [point(16, 0), *(voted(16, votes) for votes in (1, 2, 4))]
    scores = [row for sample in range(SAMPLES) for row in rows(9 if sample else 0, QUESTIONS, 40, 16, sample=sample)]
    (frontier,) = frontiers(points, [scores] * 4, ["one"] * 4)
    assert [each.tokens.value for each in frontier.points] == [19, 19, 38, 76]
    assert {each.key for each in frontier.points} == {"one"}
    single, same, _, four = frontier.points
    assert (single.on_front, same.on_front) == (True, True)  # a vote of one is the sample itself
    assert four.accuracy.value > single.accuracy.value and four.on_front
    assert single.device_seconds == pytest.approx(19 / 500) and single.usd == pytest.approx(19 / 500 / 3600 * 2)


def test_an_answer_of_rejection_costs_all_its_tries() -> None:
    tried = [replace(row, sampled_tokens=90, branches=5) for row in rows(6, QUESTIONS, 12)]
    (frontier,) = frontiers([point(16, 0), rejecting(16)], [rows(5, QUESTIONS, 12, 16), tried])
    assert [(each.method, each.tokens.value) for each in frontier.points] == [
        ("forcing", pytest.approx(16.5)),
        ("rejection", 90),
    ]
    (rival,) = frontier.points[1].rivals
    assert (rival.method, rival.name, rival.tokens) == ("forcing", "max 16", pytest.approx(16.5))
    assert rival.difference.value == pytest.approx(100 / 12) and rival.difference.unit == "pp"
    assert frontier.points[0].rivals == []


def test_every_point_is_compared_with_the_best_of_every_method_that_costs_no_more() -> None:
    points = [point(8, 0), point(16, 0), point(32, 0), voted(8, 2), voted(8, 4)]
    scores = [sampled(8, 2), sampled(16, 6), sampled(32, 5), sampled(8, 2), sampled(8, 2)]
    (frontier,) = frontiers(points, scores, ["a", "b", "c", "a", "a"])
    rivals = {each.label: [(rival.method, rival.name) for rival in each.rivals] for each in frontier.points}
    majority = "majority vote of forcing"
    assert rivals == {
        "max 8": [],
        "max 16": [("forcing", "max 8")],
        "max 8, majority of 2": [("forcing", "max 16")],
        "max 32": [("forcing", "max 16"), (majority, "max 8, majority of 2")],
        "max 8, majority of 4": [("forcing", "max 16"), (majority, "max 8, majority of 2")],
    }


def test_a_search_that_a_reward_model_steers_is_compared_with_points_without_one() -> None:
    budget = Budget(Forcing.REBASE, None, 0, 0, "Wait", None, rebase=Rebase(4, 0.2, 50, ["\n"], RebaseVote.MAJORITY))
    search = of(budget, "REBASE 4", **{"budget": "rebase", "reward": "laptop_prm"})
    searched = [replace(row, sampled_tokens=90, branches=4) for row in rows(9, QUESTIONS, 12)]
    (frontier,) = frontiers([point(16, 0, reward="none"), search], [rows(5, QUESTIONS, 12, 16), searched])
    assert [(each.method, each.on_front) for each in frontier.points] == [("forcing", True), ("rebase", True)]
    assert [rival.name for rival in frontier.points[1].rivals] == ["max 16"]


def test_invalid_points_are_on_no_front() -> None:
    scores = sampled(16, 12, samples=1)
    scores[0] = replace(scores[0], thinking_tokens=17)
    tried = [replace(row, branches=1) for row in rows(3, QUESTIONS, 12)]
    (frontier,) = frontiers([point(8, 0), point(16, 0), rejecting(20)], [sampled(8, 1, 1), scores, tried])
    assert [each.method for each in frontier.points] == ["forcing", "rejection"]
    assert "max 16" not in [each.label for each in frontier.points]


def test_each_model_data_and_task_has_a_front_of_its_own() -> None:
    chosen = list(product(("aime24", "math500"), (1, 4)))
    points = [voted(16, votes, task=task) for task, votes in chosen]
    found = frontiers(points, [sampled(16, 4) for _ in chosen], [task for task, _ in chosen])
    assert [(each.name, len(each.points)) for each in found] == [("task aime24", 2), ("task math500", 2)]


@pytest.mark.parametrize(
    "points",
    [
        [point(8, 0), point(16, 0), point(None, 1)],  # one line is a curve already
        [point(8, 0, data=data) for data in ("s1k", "random")],  # a curve each
        [voted(16, 4)],
    ],
)
def test_a_scan_of_one_series_has_no_frontier(points: list[CurvePoint]) -> None:
    assert frontiers(points, [sampled(40, 4) for _ in points]) == []


def test_several_series_of_one_model_have_a_frontier() -> None:
    points = [
        of(Budget(Forcing.BUDGET, None, 0, 1, text, None), f"{text} x1", **{"budget.continuation": text})
        for text in ("Wait", "Hmm")
    ]
    (frontier,) = frontiers(points, [rows(right, QUESTIONS, 20, None, 1) for right in (3, 5)])
    assert [each.label for each in frontier.front] == ["Hmm x1"]


def test_points_that_share_a_label_are_named_by_what_differs() -> None:
    formats = ("s1", "s1_qwen3_stop")
    points = [point(limit, 0, **{"model.thinking_format": name}) for name in formats for limit in (8, 16)]
    scores = [rows(right, QUESTIONS, 40, each.request.budget.max_thinking_tokens) for right, each in enumerate(points)]
    (frontier,) = frontiers(points, scores)
    assert [each.name for each in frontier.points if each.label == "max 8"] == [
        "max 8, model.thinking_format s1_qwen3_stop",
        "max 8, model.thinking_format s1",
    ]
    (best,) = [each for each in frontier.points if each.on_front and each.label == "max 16"]
    assert [rival.name for rival in best.rivals] == ["max 8, model.thinking_format s1_qwen3_stop"]


def test_points_that_sample_nothing_have_a_front_and_no_figure(tmp_path: Path) -> None:
    silent = [
        replace(row, sampled_tokens=0, thinking_tokens=0, extracted=None, outcome=Outcome.NONE)
        for row in rows(0, QUESTIONS, 0)
    ]
    points = [voted(16, 1), voted(16, 2)]
    both = [*silent, *(replace(row, sample=1) for row in silent)]
    out = run(tmp_path, points, [both, both])
    assert {row["pareto"] for row in read_rows(out / "frontier.csv")} == {"yes"}
    assert not list((out / "figures").glob("frontier*"))


def test_the_report_has_a_section_a_figure_and_two_tables(tmp_path: Path) -> None:
    points = [point(8, 0), point(16, 0), voted(8, 4)]
    out = run(tmp_path, points, [sampled(8, 2), sampled(16, 6), sampled(8, 2)])
    readme, page = ((out / name).read_text(encoding="utf-8") for name in ("README.md", "report.html"))
    assert "On the Pareto front of 3 points" in readme and "![accuracy over tokens per answer" in readme
    assert "| max 16 | 19.0 | 62.5 |" in readme
    assert "<h2>Frontier</h2>" in page
    assert [row["pareto"] for row in read_rows(out / "table.csv")] == ["yes", "yes", "no"]
    table = read_rows(out / "frontier.csv")
    assert [(row["label"], row["against"]) for row in table] == [
        ("max 8", None),
        ("max 16", "max 8"),
        ("max 8, majority of 4", "max 16"),
    ]
    assert (out / "figures" / "frontier.svg").exists()


def test_a_scan_without_a_frontier_has_none_of_it(tmp_path: Path) -> None:
    out = run(tmp_path, [point(8, 0), point(16, 0)], [rows(3, 8, 9, 8), rows(4, 8, 9, 16)])
    assert not (out / "frontier.csv").exists() and "pareto" not in (out / "table.csv").read_text(encoding="utf-8")
    assert "rontier" not in (out / "README.md").read_text(encoding="utf-8")
