"""What the stages of a point ask of a cluster, and what they would download there."""

from __future__ import annotations

from s1.config import Hub
from s1.pipeline import Point, stages_of
from s1.prefetch import ModelNeed, needs_of
from s1.resources import Kind, resources_of
from sweep.compose import compose
from sweep.plan import plan
from sweep.stage import Resources, Stage


def point(*overrides: str) -> Point:
    (x,) = compose(["train.batch_size=16", *overrides]).points
    return x


def stages(*overrides: str) -> tuple[Stage, ...]:
    return plan([stages_of(point(*overrides)).asked.scores], lambda stage: False).needed


def test_training_takes_all_nodes_generation_one_and_the_rest_no_gpu() -> None:
    asked = {stage.name: stage.resources for stage in stages("engine=vllm", "machine=h100x16")}
    assert asked["checkpoint"] == Resources("sft", nodes=2, devices=8, processes=8)
    assert asked["answers"] == Resources("generate", devices=8)
    assert {asked[name] for name in ("start", "pool", "curated", "rendered", "questions", "scores")} == {
        Resources("cpu")
    }


def test_generation_takes_the_gpus_of_its_copies() -> None:
    machine = point("engine=vllm", "machine=h100x8", "machine.data_parallel=1").machine
    assert resources_of(Kind.GENERATE, machine).devices == 2


def test_a_machine_without_gpus_asks_for_none() -> None:
    machine = point().machine
    assert resources_of(Kind.SFT, machine) == Resources("sft")
    assert resources_of(Kind.GENERATE, machine) == Resources("generate")


def test_where_it_runs_is_no_part_of_what_it_is() -> None:
    here, there = stages("engine=vllm", "machine=h100x8"), stages("engine=vllm", "machine=h100x16", "launch=slurm")
    assert [each.key for each in here] == [each.key for each in there]


def test_models_and_datasets_of_the_hub_are_known_before_anything_runs() -> None:
    needs = needs_of(stages("model=qwen3_8b", "data=none", "task=aime24", "engine=vllm", "machine=h100"))
    assert [type(need) for need in needs] == [ModelNeed, Hub]
    assert needs[0].repo == "Qwen/Qwen3-8B"
    assert all(need.revision and len(need.revision) == 40 for need in needs)


def test_the_laptop_downloads_nothing() -> None:
    assert needs_of(stages()) == ()
