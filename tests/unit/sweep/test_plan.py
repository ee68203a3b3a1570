"""The plan: shared stages once, finished ones reused, the rest in an order that works."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.core.stage import CodePolicy, Stage
from sweep.plan.graph import PlanError, explain, flatten, plan


def stage(name: str, *inputs: Stage, number: int = 0, batch: str | None = None) -> Stage:
    return Stage(
        name, 1, {"number": number}, "a:b", {"of": inputs} if inputs else {}, batch=batch, code=CodePolicy.EXPENSIVE
    )


START = stage("start")
ANSWERS = [stage("answers", START, number=n, batch="gpu") for n in range(3)]
CURVE = stage("curve", *ANSWERS)


def names(stages: tuple[Stage, ...]) -> list[str]:
    return [each.name for each in stages]


def test_shared_stages_are_planned_once_and_inputs_come_first() -> None:
    assert names(plan([CURVE], lambda each: False).needed) == ["start", "answers", "answers", "answers", "curve"]


def test_stages_of_one_batch_are_one_unit() -> None:
    assert [len(unit.stages) for unit in plan([CURVE], lambda each: False).units] == [1, 3, 1]


def test_what_is_behind_a_finished_stage_is_not_needed() -> None:
    work = plan([CURVE], lambda each: each.name == "answers")
    assert names(work.needed) == ["curve"]
    assert names(work.reused) == ["answers"] * 3


def test_a_plan_of_finished_targets_is_empty() -> None:
    work = plan([CURVE], lambda each: True)
    assert work.needed == () and work.units == () and names(work.reused) == ["curve"]


def test_only_the_unfinished_of_a_batch_run() -> None:
    work = plan([CURVE], lambda each: each in ANSWERS[:2])
    assert [len(unit.stages) for unit in work.units] == [1, 1, 1]
    assert names(work.needed) == ["start", "answers", "curve"]


def test_a_batch_whose_stages_wait_for_each_other_is_refused() -> None:
    one = stage("answers", batch="gpu")
    two = stage("answers", stage("scores", one), number=1, batch="gpu")
    with pytest.raises(PlanError, match="need each other"):
        plan([two], lambda each: False)


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=30), st.sets(st.integers(0, 30)))
def test_any_graph_is_ordered_with_every_input_done_or_before(inputs: list[list[int]], done: set[int]) -> None:
    stages: list[Stage] = []
    for index, wanted in enumerate(inputs):
        stages.append(stage("any", *(stages[each] for each in wanted if each < index), number=index))
    finished = {stages[index].key for index in done if index < len(stages)}
    work = plan(stages, lambda each: each.key in finished)
    made = {each.key for each in work.reused}
    for each in work.needed:
        assert {source.key for source in each.dependencies()} <= made
        made.add(each.key)
    assert len({each.key for each in work.needed}) == len(work.needed)


def test_the_reason_to_run_is_the_difference_to_the_nearest_stage() -> None:
    here: Any = {"config": {"budget": {"max": 16, "waits": 0}, "seed": 1}}
    made: Any = {
        "far": {"config": {"budget": {"max": 8, "waits": 2}, "seed": 1}},
        "near": {"config": {"budget": {"max": 8, "waits": 0}, "seed": 1}},
    }
    difference = explain(here, made)
    assert difference is not None
    assert difference.nearest_key == "near"
    assert difference.fields == {"config.budget.max": (8, 16)}
    assert explain(here, {}) is None


def test_flattening_names_every_leaf() -> None:
    assert flatten({"a": {"b": 1, "c": [1]}, "d": {}}) == {"a.b": 1, "a.c": [1], "d": {}}
