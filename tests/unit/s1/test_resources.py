"""What the stages of a point ask of a cluster, and what they would download there."""

from __future__ import annotations

import pytest

from s1.config.resources import JobKind, filled, resources_of
from s1.config.schema import Hub
from s1.estimates import estimates_of
from s1.pipeline import Point, stages_of
from s1.prefetch import ModelNeed, needs_of
from sweep.config.compose import compose
from sweep.core.stage import Resources, Stage
from sweep.plan.graph import plan
from tests.support.known import known


def point(*overrides: str) -> Point:
    (x,) = compose(["train.batch_size=16", *overrides]).points
    return x


def stages(*overrides: str) -> tuple[Stage, ...]:
    return plan([stages_of(point(*overrides)).evaluation.scores], lambda stage: False).needed


def test_training_takes_all_nodes_generation_one_and_the_rest_no_gpu() -> None:
    asked = {stage.name: stage.resources for stage in stages("engine=vllm", "machine=h100x16")}
    assert asked["checkpoint"] == Resources("sft", nodes=2, devices=8, processes=8)
    assert asked["traces_shard"] == Resources("generate", devices=8)
    assert {asked[name] for name in ("base_model", "pool", "curated", "rendered", "questions", "traces", "scores")} == {
        Resources("cpu")
    }


def test_generation_takes_the_gpus_of_its_copies() -> None:
    machine = point("engine=vllm", "machine=h100x8", "machine.data_parallel=1").machine
    assert resources_of(JobKind.GENERATE, machine).devices == 2


def test_no_gpu_trains_without_a_row_of_the_batch() -> None:
    machine = point("machine=h100x16").machine
    for batch_size, shape in {64: (2, 8), 16: (2, 8), 8: (1, 8), 4: (1, 4), 1: (1, 1)}.items():
        used = filled(machine, batch_size)
        assert (used.nodes, used.gpus) == shape
    assert filled(point().machine, 1) == point().machine
    asked = {stage.name: stage.resources for stage in stages("machine=h100x16", "train.batch_size=8")}
    assert asked["checkpoint"] == Resources("sft", nodes=1, devices=8, processes=8)


def test_a_machine_without_gpus_asks_for_none() -> None:
    machine = point().machine
    assert resources_of(JobKind.SFT, machine) == Resources("sft")
    assert resources_of(JobKind.GENERATE, machine) == Resources("generate")


def test_where_it_runs_is_no_part_of_what_it_is() -> None:
    here, there = stages("engine=vllm", "machine=h100x8"), stages("engine=vllm", "machine=h100x16", "launch=slurm")
    assert [each.key for each in here] == [each.key for each in there if each.name != "traces_shard"]


def test_shards_are_generated_side_by_side_and_cost_a_start_each() -> None:
    points = [point(f"machine.shards={shards}", "task.problems=300") for shards in (1, 4)]
    planned = [stages_of(each) for each in points]
    whole, sharded = (estimates_of([x], [each]) for x, each in zip(points, planned, strict=True))
    one, four = (
        whole[planned[0].evaluation.traces.address],
        [sharded[each.address] for each in planned[1].evaluation.traces.shards],
    )
    assert len(four) == 4
    assert sum(known(each.tokens) for each in four) == one.tokens
    start_s = points[0].cost.seconds_per_stage
    assert sum(known(each.device_seconds) for each in four) == pytest.approx(known(one.device_seconds) + 3 * start_s)
    assert planned[1].evaluation.traces.address not in sharded


def test_no_shard_is_without_a_question() -> None:
    assert len(stages_of(point("machine.shards=4", "task.problems=3")).evaluation.traces.shards) == 3
    assert stages_of(point("machine.shards=4", "task.problems=1")).evaluation.traces.shards == ()


def test_models_and_datasets_of_the_hub_are_known_before_anything_runs() -> None:
    needs = needs_of(stages("model=qwen3_8b", "data=none", "task=aime24", "engine=vllm", "machine=h100"))
    assert [type(need) for need in needs] == [ModelNeed, Hub]
    assert needs[0].repo == "Qwen/Qwen3-8B"
    assert all(need.revision and len(need.revision) == 40 for need in needs)


def test_the_laptop_downloads_nothing() -> None:
    assert needs_of(stages()) == ()
