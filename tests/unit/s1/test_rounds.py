"""Rounds towards a target: which questions and samples are added, and when they end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from s1.config.schema import ConfigError, Statistics
from s1.point import PointConfig
from s1.rounds import (
    Design,
    Limits,
    NamedDifference,
    Precision,
    Round,
    Stop,
    check_target,
    described,
    finished_round,
    first_design,
    limits_of,
    next_design,
)
from sweep.config.compose import compose

STATISTICS = Statistics(target=2.0)
SCORES = ("base", "wait", "other")
LIMITS = Limits((300, 300, 300), (64, 64, 64))


def points(*overrides: str) -> Sequence[PointConfig]:
    return compose(["+experiment=smoke", *overrides, "-m"]).points


def made(questions: int, samples: tuple[int, int, int], width: float, other: float = 1.0) -> Round:
    """A finished round: half widths of Wait and of another point, each against the same base."""
    named = (
        NamedDifference("Wait x1", "natural end", width, ("wait", "base")),
        NamedDifference("max 8", "natural end", other, ("other", "base")),
    )
    return finished_round(Design((questions,) * 3, samples), Precision(named), SCORES)


def following(*rounds: Round, limits: Limits = LIMITS, statistics: Statistics = STATISTICS) -> Design:
    found = next_design(rounds, limits, statistics)
    assert isinstance(found, Design), found
    return found


def reason(*rounds: Round, limits: Limits = LIMITS, statistics: Statistics = STATISTICS) -> str:
    found = next_design(rounds, limits, statistics)
    assert isinstance(found, Stop), found
    return found.reason


def test_rounds_end_within_the_target() -> None:
    found = next_design([made(300, (4, 4, 4), 2.0)], LIMITS, STATISTICS)
    assert found == Stop("widest half width 2.0 points (Wait x1 - natural end), within the target of 2", True)


def test_questions_grow_as_the_width_needs_and_at_most_fourfold() -> None:
    assert following(made(50, (1, 1, 1), 2.2)).questions == (61, 61, 61)  # 50 x (2.2 / 2)^2
    assert following(made(50, (1, 1, 1), 9.0)) == Design((200,) * 3, (1, 1, 1))


def test_where_questions_do_not_suffice_samples_grow_beside_them() -> None:
    assert following(made(200, (1, 1, 1), 9.0)) == Design((300,) * 3, (2, 2, 1))  # together at most fourfold
    assert following(made(290, (4, 4, 4), 2.1)) == Design((300,) * 3, (5, 5, 4))


def test_samples_grow_only_at_points_of_wide_differences() -> None:
    assert following(made(300, (4, 4, 4), 4.0)).samples == (16, 16, 4)
    assert following(made(300, (4, 4, 4), 2.2, 4.0)).samples == (16, 5, 16)


def test_rounds_end_after_the_last_look() -> None:
    assert "after all 3 rounds of statistics.looks" in reason(*[made(50, (1, 1, 1), 9.0)] * 3)


def test_rounds_end_at_the_most_samples() -> None:
    assert "every point has 64 samples" in reason(made(300, (64, 64, 4), 4.0))


def test_rounds_end_when_samples_cannot_reach_the_target() -> None:
    # 25 = a + b / 2, 22.75 = a + b / 4: 4.5 points remain however many samples are added
    said = reason(made(300, (2, 2, 2), 5.0), made(300, (4, 4, 2), 22.625**0.5))
    assert said.endswith(
        "by the last rounds, Wait x1 - natural end stays above 4.5 points however many samples these questions get."
        " Only more questions narrow it"
    )


def test_one_sample_tells_nothing_about_what_more_samples_leave() -> None:
    assert following(made(300, (1, 1, 1), 5.0), made(300, (2, 2, 1), 4.9)).samples == (8, 8, 1)


def test_greedy_points_end_when_all_questions_are_answered() -> None:
    said = reason(made(300, (1, 1, 1), 4.0), limits=Limits((300,) * 3, (1, 1, 1)))
    assert "greedy samples are all equal. Choose generate=sampled" in said


def test_without_a_valid_difference_nothing_can_be_narrowed() -> None:
    assert "no difference" in reason(finished_round(Design((9,), (1,)), Precision(()), ("base",)))


def test_a_design_changes_questions_and_samples_alone() -> None:
    planned = points("task.limit=6", "generate=sampled")
    first = first_design(planned)
    assert first == Design((6, 6, 6), (4, 4, 4)) and first.applied(planned) == list(planned)
    more = Design((12, 12, 12), (4, 8, 8)).applied(planned)
    assert [(each.task.limit, each.generate.samples) for each in more] == [(12, 4), (12, 8), (12, 8)]
    assert limits_of(planned) == Limits((12, 12, 12), (64, 64, 64))


def test_greedy_points_have_no_more_samples() -> None:
    assert limits_of(points("task.limit=6")).samples == (1, 1, 1)


def test_a_target_that_nothing_approaches_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"statistics\.target 2: nothing can be added"):
        check_target(points("statistics.target=2"))
    check_target(points("statistics.target=2", "task.limit=6"))
    check_target(points("statistics.target=2", "generate=sampled"))
    check_target(points())


def test_the_plan_says_which_round_it_is() -> None:
    first, now = Design((50,) * 3, (2, 2, 2)), Design((300,) * 3, (2, 4, 4))
    assert described(3, now, first, STATISTICS) == (
        "round 3 of at most 3 towards statistics.target=2: 300 questions, 2/4 samples, 2 of 3 points with more than at"
        " first"
    )
