"""`paper:` finds the points that stand beside published rows, and refuses what matches nothing or too much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from s1 import pipeline
from s1.config.paper import Metric, Paper
from s1.config.schema import ConfigError
from s1.report.paper_rows import compared_with_paper
from s1.stages import CurveConfig, PaperComparison, PaperRow
from sweep.config.compose import Composition, compose
from sweep.errors import InputError
from tests.support.known import known

WAITS = ("+experiment=smoke", "also=[]", "budget.max_thinking_tokens=null", "budget.waits=0,1,2", "-m")
S1_32B = ("model=s1_32b", "data=none", "engine=vllm", "machine=h100x2", "budget.waits=0,2", "-m")
FORMAT = "thinking_format@model.thinking_format=s1"
ROWS = {"No extrapolation": {"budget.waits": 0}, "2x Wait": {"budget.waits": 2}}


@cache
def composed(*overrides: str) -> Composition:
    return compose(list(overrides))


def compared(*overrides: str, **paper: Any) -> PaperComparison:
    composition = composed(*overrides)
    given = Paper(**{"table": "table4", "rows": ROWS, **paper})
    points = [replace(point, paper=given) for point in composition.points]
    return known(compared_with_paper(points, composition.request.values))


def by_row(found: PaperComparison) -> Mapping[tuple[str, str], PaperRow]:
    return {(each.number.row, each.number.task): each for each in found.rows}


def message(*overrides: str, **paper: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        compared(*overrides, **paper)
    return str(refused.value)


# ------------------------------------------------------------------------------------------------------ matching


def test_each_published_row_has_the_point_that_its_selector_names() -> None:
    found = compared(*WAITS, task="aime24")
    assert found.tables == ["Table 4: strings appended where the end of thinking is suppressed"]
    assert [(each.number.row, each.number.value, each.points) for each in found.rows] == [
        ("No extrapolation", 50.0, [0]),
        ("2x without string", 50.0, []),
        ("2x Alternatively", 50.0, []),
        ("2x Hmm", 50.0, []),
        ("2x Wait", 53.3, [2]),
    ]


def test_each_task_stands_beside_the_published_task_of_its_name() -> None:
    found = by_row(compared(*S1_32B, "task=math500,aime24"))
    assert {task for _, task in found} == {"aime24", "math500"}  # gpqa_diamond is not in this scan
    assert found["2x Wait", "math500"].points == [2] and found["2x Wait", "aime24"].points == [3]
    assert found["No extrapolation", "math500"].points == [0]


def test_a_row_of_one_task_wins_over_the_row_of_all() -> None:
    rows = {"s1-32B": {"budget.waits": 0}, "s1-32B, aime24": {"budget.waits": 2}}
    found = by_row(compared(*S1_32B, "task=math500,aime24", table="table1", rows=rows))
    assert found["s1-32B", "math500"].points == [0] and found["s1-32B", "aime24"].points == [3]
    assert found["o1", "aime24"].points == []


def test_a_selector_may_name_groups_fields_methods_and_families() -> None:
    sets = ("+experiment=smoke", "also=[]", "budget.max_thinking_tokens=null", "data=dial_1k,dial_random", "-m")
    axis = compared(*sets, task="aime24", table="table2", rows={"1K-random": {"data": "dial_random"}})
    assert by_row(axis)["1K-random", "aime24"].points == [1]
    field = {"model.name": "laptop", "data.pool": "dial", "generate.samples": 1, "budget.waits": [2, 4]}
    assert by_row(compared(*WAITS, task="aime24", rows={"2x Wait": field}))["2x Wait", "aime24"].points == [2]
    family = {"method": "forcing", "family.continuation": "Wait", "budget.waits": 1}
    assert by_row(compared(*WAITS, task="aime24", rows={"2x Wait": family}))["2x Wait", "aime24"].points == [1]


def test_control_scaling_and_performance_stand_for_all_points_that_match() -> None:
    asked = 'task.instruction="Think for up to 8 tokens.","Think for up to 32 tokens."'
    rows = {"TCC": {"family.instruction": "asked tokens"}, "BF": {"budget.waits": [0, 1]}}
    found = compared(*WAITS[:-1], asked, "-m", table="table3", task="aime24", rows=rows)
    metrics = {(each.number.row, each.number.metric): each.points for each in found.rows}
    assert metrics["TCC", Metric.SCALING] == metrics["TCC", Metric.CONTROL] == [0, 1, 2, 3, 4, 5]
    assert metrics["BF", Metric.PERFORMANCE] == [0, 1, 2, 3]
    assert metrics["RS", Metric.SCALING] == []
    assert {each.number.metric for each in found.rows} == {Metric.CONTROL, Metric.SCALING, Metric.PERFORMANCE}


def test_several_tables_stand_beside_one_scan() -> None:
    found = compared(*WAITS, table=["figure1", "figure4a"], task="aime24", rows={"2x Wait": {"budget.waits": 2}})
    both = [each for each in found.rows if each.points]
    assert [(each.number.table, each.thinking_tokens) for each in both] == [("figure1", 6657), ("figure4a", 6657)]


def test_pooled_seeds_are_one_point() -> None:
    found = compared(*WAITS[:-1], "seed=0,1", "-m", task="aime24")
    assert by_row(found)["2x Wait", "aime24"].points == [4, 5]
    told_apart = message(*WAITS[:-1], "seed=0,1", "statistics.pool_seeds=false", "-m", task="aime24")
    assert "matches 2 points (natural end; natural end). They differ in seed." in told_apart


def test_a_vote_is_of_as_many_samples_as_there_are() -> None:
    sampled = ("generate=sampled", "generate.samples=4")
    rows = {"majority of 4": {"budget.waits": 0, "votes": 4}}
    given: dict[str, Any] = {"table": "figure4b", "task": "gpqa_diamond", "rows": rows}
    assert by_row(compared(*WAITS[:-1], *sampled, "-m", **given))["majority of 4", "gpqa_diamond"].votes == 4
    assert "a vote of 4 samples, and the point has 1. Raise generate.samples." in message(*WAITS, **given)


# -------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("paper", "expected"),
    [
        ({"table": "table44"}, "paper.table table44: no such published table. Did you mean table4?"),
        (
            {"rows": {"2x Wiat": {"budget.waits": 2}}},
            "paper.rows.2x Wiat: no such row of table4. Did you mean 2x Wait?",
        ),
        (
            {"rows": {"2x Wait": {"budget.waits": 7}}},
            "paper.rows.2x Wait {budget.waits: 7}: matches no point. Correct it, add the point,",
        ),
        ({"rows": {"2x Wait": {"budget.waits": True}}}, "paper.rows.2x Wait {budget.waits: true}: matches no point."),
        (
            {"rows": {"2x Wait": {"budget.waits": [1, 2]}}},
            "paper.rows.2x Wait {budget.waits: [1, 2]}: matches 2 points (Wait x1; Wait x2). They differ in"
            " budget.waits. Add a value that only one of them has.",
        ),
        ({"rows": {"2x Wait": {}}}, "paper.rows.2x Wait {}: matches 3 points (natural end; Wait x1; Wait x2)."),
        (
            {"rows": {"2x Wait": {"budget.wait": 2}}},
            "paper.rows.2x Wait.budget.wait: no axis of this scan and no field",
        ),
        ({"rows": {"2x Wait": {"family.amount": 2}}}, "paper.rows.2x Wait.family.amount: no axis of this scan"),
        ({"task": "aime42"}, "paper.task aime42: no such task in these tables. Did you mean aime24?"),
        ({"task": None}, "paper.task null: table4 have no task dial. Set paper.task to the one to stand beside:"),
    ],
)
def test_what_the_paper_or_the_scan_does_not_have_is_refused(paper: dict[str, Any], expected: str) -> None:
    assert message(*WAITS, **{"task": "aime24", **paper}).startswith(expected)


def test_a_task_of_the_scan_without_the_point_is_named() -> None:
    rows = {"2x Wait": {"budget.waits": 2, "task": "math500"}}
    assert "matches no point of task aime24." in message(*S1_32B, "task=math500,aime24", rows=rows)


def test_points_of_several_tasks_have_no_scaling_in_common() -> None:
    given: dict[str, Any] = {"table": "table3", "task": "aime24", "rows": {"BF": {"method": "forcing"}}}
    assert "matches points of several tasks (aime24, math500)." in message(*S1_32B, "task=math500,aime24", **given)


@pytest.mark.parametrize("typed", ["paper.rows={2x Wait:{votes:0}}", "paper.margin_points=0", "paper.table=[]"])
def test_a_field_that_cannot_hold_is_refused_when_composing(typed: str) -> None:
    given = ["+paper.table=table4", "+paper.rows={2x Wait:{budget.waits:0}}"]
    given = [each for each in given if each.split("=")[0] != f"+{typed.split('=')[0]}"]
    with pytest.raises(InputError, match=typed.split("=")[0]):
        compose([*given, f"+{typed}"])


# --------------------------------------------------------------------------------------- by value or by direction


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("task=aime24",), ""),
        (("task=aime24", "model=qwen2_5_0_5b"), "another model or training (qwen2_5_0_5b)"),
        (("task=aime24", "model=qwen2_5_32b"), "another model or training (qwen2_5_32b)"),
        (("task=aime24", "task.limit=10"), "only 10 questions"),
        (("task=aime24", "generate.temperature=1"), "temperature 1 instead of 0"),
        (("task=aime25",), "another task (aime25)"),
        (("task=aime24", "model=qwen2_5_32b", "data=s1k_released", "train=s1"), ""),
        (
            ("task=aime24", "model=qwen2_5_32b", "data=s1k_released", "train=lora"),
            "another model or training (qwen2_5_32b)",
        ),
        (
            ("task=aime24", "model=qwen2_5_32b", "data=random_1k_released", "train=s1"),
            "another model or training (qwen2_5_32b)",
        ),
        (
            ("task=aime24", "model=qwen2_5_7b", "data=s1k_released", "train=s1", FORMAT),
            "another model or training (qwen2_5_7b)",
        ),
    ],
)
def test_a_value_is_compared_only_for_the_published_model_data_task_and_sampling(
    overrides: tuple[str, ...], reason: str
) -> None:
    chosen = {each.partition("=")[0] for each in overrides}
    base = [each for each in S1_32B if each.partition("=")[0] not in chosen]
    found = by_row(compared(*base, *overrides, task="aime24"))
    assert found["2x Wait", "aime24"].not_by_value == reason


def test_an_ablation_is_the_base_model_on_the_released_set() -> None:
    base = ("model=qwen2_5_32b", "train=s1", "engine=vllm", "machine=h100x16", "task=aime24", "-m")
    data = "data=random_1k_released,longest_1k"
    rows = {"1K-random": {"data": "random_1k_released"}, "1K-longest": {"data": "longest_1k"}}
    found = by_row(compared(*base, data, table="table2", rows=rows))
    assert found["1K-random", "aime24"].not_by_value == ""
    assert found["1K-longest", "aime24"].not_by_value  # chosen here, not the released rows


def test_a_row_that_others_measured_is_not_compared_by_value() -> None:
    model = ("model=sky_t1_32b", "data=none", "engine=vllm", "machine=h100x2", "task=math500", "-m")
    found = by_row(compared(*model, table="table1", rows={"Sky-T1": {"method": "forcing"}}))
    assert found["Sky-T1", "math500"].not_by_value == "the published temperature is unknown"


# ------------------------------------------------------------------------------------------------------------ keys


def test_only_the_curve_depends_on_what_it_stands_beside() -> None:
    without = compose([*WAITS])
    given = "paper={table: table4, task: aime24, rows: {2x Wait: {budget.waits: 2}}}"
    with_paper = compose([*WAITS[:-1], given, "-m"])
    curves = []
    for composition in (without, with_paper):
        (curve,) = pipeline.graph(composition.points, composition.request).artifact.inputs["curve"]
        curves.append(curve)
    assert [stage.key for stage in curves[0].inputs["scores"]] == [stage.key for stage in curves[1].inputs["scores"]]
    assert curves[0].key != curves[1].key
    config = curves[0].config
    assert isinstance(config, CurveConfig) and config.paper is None
    assert "paper" not in curves[0].identity()["config"]


def test_the_points_of_a_command_stand_beside_one_table() -> None:
    given = "paper={table: table4, task: aime24, rows: {2x Wait: {budget.waits: 2}}}"
    composition = compose([*WAITS[:-1], given, "-m"])
    other = replace(composition.points[0], paper=None)
    with pytest.raises(ConfigError, match="paper: differs between points"):
        pipeline.graph([other, *composition.points[1:]], composition.request)
