"""Models of one command on different machines: `machine_of`, what it composes, and what a user may mistype."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pytest

from s1 import pipeline
from s1.config.schema import EngineKind
from s1.stages import CurveConfig
from sweep.cli.show_slurm import show_jobs
from sweep.config.compose import Composition, compose
from sweep.console import Console
from sweep.core.pipeline import Graph
from sweep.errors import InputError
from sweep.plan.graph import plan
from sweep.slurm.lifecycle import queue_jobs

MODELS = ("model=s1_32b,qwen3_8b", "task=aime24", "data=none", "budget=none")
MACHINES = "machine_of={s1_32b:h100x2,qwen3_8b:h100}"


def composed(*overrides: str) -> Composition:
    return compose([*MODELS, *overrides, "-m"])


def gpus_of(composition: Composition) -> dict[str, int]:
    return {point.model.name: point.machine.gpus for point in composition.points}


def graph_of(composition: Composition) -> Graph:
    return pipeline.graph(composition.points, composition.request)


def keys_of(graph: Graph, name: str) -> set[str]:
    return {each.key for each in plan([graph.artifact], lambda stage: False).needed if each.name == name}


def test_each_model_gets_its_machine_with_engine_and_price() -> None:
    composition = composed(MACHINES)
    assert gpus_of(composition) == {"s1_32b": 2, "qwen3_8b": 1}
    assert {(x.engine.kind, x.engine.tensor_parallel, x.cost.usd_per_device_hour) for x in composition.points} == {
        (EngineKind.VLLM, 2, 2.90),
        (EngineKind.VLLM, 1, 2.90),
    }


def test_the_command_line_wins_over_what_a_machine_sets() -> None:
    points = composed(MACHINES, "engine=transformers", "cost=cpu", "machine.tensor_parallel=1").points
    assert [(x.machine.gpus, x.engine.kind, x.engine.dtype, x.cost.usd_per_device_hour) for x in points] == [
        (2, EngineKind.TRANSFORMERS, "bfloat16", 0.10),
        (1, EngineKind.TRANSFORMERS, "bfloat16", 0.10),
    ]


def test_a_model_that_is_not_named_keeps_the_machine_of_the_command() -> None:
    assert gpus_of(composed("machine=h100x8", "machine_of={qwen3_8b:h100}")) == {"s1_32b": 8, "qwen3_8b": 1}


def test_points_of_also_get_the_machine_of_their_model() -> None:
    composition = compose(["model=s1_32b", *MODELS[1:], MACHINES, "also=['model=qwen3_8b']", "-m"])
    assert gpus_of(composition) == {"s1_32b": 2, "qwen3_8b": 1}


def test_the_keys_are_those_of_a_command_for_each_model_alone() -> None:
    """The machine is in no key; the engine that it sets is, as in a command of its own."""
    together = graph_of(composed(MACHINES))
    alone = [
        graph_of(compose([f"model={model}", *MODELS[1:], f"machine={machine}"]))
        for model, machine in (("s1_32b", "h100x2"), ("qwen3_8b", "h100"))
    ]
    assert keys_of(together, "traces") == set().union(*(keys_of(each, "traces") for each in alone))


def test_the_recorded_command_names_the_machines() -> None:
    assert f"'{MACHINES}'" in composed(MACHINES, "track=off").request.command


def test_each_model_is_priced_by_the_rates_of_its_machine() -> None:
    graph = graph_of(compose(["model=smollm2_135m,qwen3_8b", *MODELS[1:], "machine_of={qwen3_8b:h100}", "-m"]))
    stages = plan([graph.artifact], lambda stage: False).needed
    found = [graph.estimates[each.address] for each in stages if each.name == "traces"]
    assert [each.usd and each.device_seconds and round(3600 * each.usd / each.device_seconds, 2) for each in found] == [
        None,
        2.90,
    ]
    (curve,) = graph.artifact.inputs["curve"]
    config = getattr(curve, "config", None)
    assert isinstance(config, CurveConfig)
    assert [each.cost and each.cost.usd_per_device_hour for each in config.points] == [None, 2.90]


def test_one_submission_has_jobs_of_both_machines(golden: Callable[[str, str], None]) -> None:
    graph = graph_of(composed(MACHINES, "launch=slurm", "launch.max_array_size=100"))
    jobs = queue_jobs(graph, plan([graph.artifact], lambda stage: False))
    text = io.StringIO()
    show_jobs(Console(file=text, width=120), jobs, graph.launch)
    golden("cli/two-machines.txt", text.getvalue())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["machine_of={s1_32c:h100}"], "machine_of.s1_32c: no such model of this command. Did you mean s1_32b?"),
        (["machine_of={s1_32b:h100x3}"], "machine h100x3: no such option. Did you mean h100x8?"),
        (["machine_of=h100"], "machine_of h100: not a machine for each model. Write machine_of={"),
        (["machine_of={s1_32b:2}"], "machine_of {'s1_32b': 2}: not a machine for each model."),
        ([MACHINES, "machine=h100,h100x8"], f"machine=h100,h100x8 {MACHINES}: both choose machines."),
        (["machine_of={s1_32b:h100},{s1_32b:h100x2}"], "several values, but a command has one machine_of"),
        (["also=['model=laptop machine_of={laptop:cpu}']"], "machine_of belongs to the command, not to a point"),
    ],
)
def test_what_a_user_mistypes_is_refused(overrides: Sequence[str], message: str) -> None:
    with pytest.raises(InputError) as refused:
        composed(*overrides)
    assert message in str(refused.value)
