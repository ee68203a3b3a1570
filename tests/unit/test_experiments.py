"""Every experiment file composes, plans, and makes the stages it made before; what cannot run is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from s1 import pipeline
from s1.generate.methods.registry import method_of
from s1.training_stages import curated_of, training_stages_of
from sweep.config.compose import CONFIG, Composition, compose
from sweep.core.identity import canonical_fields, key_of
from sweep.core.pipeline import Graph
from sweep.core.stage import Stage
from sweep.plan.graph import plan

NESTED = ("experiment", "thinking_format", "pool", "filters", "teacher", "scale")  # groups without a place of their own
EXPERIMENTS = sorted(path.stem for path in (CONFIG / "experiment").glob("*.yaml"))


def graph_of(composition: Composition) -> Graph:
    return pipeline.graph(composition.points, composition.request)


def curve_of(graph: Graph) -> Stage:
    """What the report rests on; the report itself also quotes the command."""
    (curve,) = graph.artifact.inputs["curve"]
    assert isinstance(curve, Stage)
    return curve


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_plans_the_stages_it_always_did(name: str, golden: Callable[[str, str], None]) -> None:
    """A changed key is work done again: the difference shows which, and is accepted on purpose.

    Code is left out of the keys of final stages, or every edit of a report would be a difference.
    """
    graph = graph_of(compose([f"+experiment={name}", "-m"]))
    stages = plan([graph.artifact], lambda stage: False).needed
    labels = {f"{stage.name}/{stage.request_key}": stage.label for stage in stages}
    golden(f"keys/{name}.json", json.dumps(labels, indent=2) + "\n")


@pytest.mark.slow
def test_every_option_of_every_group_composes() -> None:
    groups = [path for path in CONFIG.iterdir() if path.is_dir() and path.name not in NESTED]
    for group in groups:
        for option in group.glob("*.yaml"):
            if (group.name, option.stem) == ("model", "own"):  # needs a directory: tests/unit/s1/test_local_files.py
                continue
            compose([f"{group.name}={option.stem}", "task=dial", *_companions(group.name, option.stem)])


def _companions(group: str, option: str) -> list[str]:
    """What an option needs beside it to be a possible point."""
    companions = {
        ("budget", "rejection"): ["generate=sampled"],  # greedy tries are all equal
        ("budget", "majority_vote"): ["generate=sampled"],
        ("budget", "best_of_n"): ["generate=sampled", "reward=laptop_prm"],
        ("budget", "weighted_vote"): ["generate=sampled", "reward=laptop_prm"],
        ("budget", "rebase"): ["generate=sampled", "generate.samples=1", "reward=laptop_prm"],
        ("data", "none"): ["model=smollm2_135m"],
        ("data", "file"): [f"data.pool.file={__file__}"],
        ("data", "s1k_and_own"): [f"data.pool.sources.own.pool.file={__file__}"],
        ("machine", "h100x2"): ["engine=vllm"],  # a model is split over two GPUs
        ("machine", "h100x8"): ["engine=vllm"],
        ("machine", "h100x16"): ["engine=vllm", "train=s1"],  # a batch of 8 is no work for 16 GPUs
        ("train", "qlora"): ["machine=h100"],  # four bits are computed on GPUs alone
    }
    if group == "model" and not option.startswith("laptop"):
        return ["data=none", *companions.get((group, option), [])]
    return companions.get((group, option), [])


@pytest.mark.slow
def test_every_pool_composes_in_the_place_of_any_other() -> None:
    for option in (CONFIG / "pool").glob("*.yaml"):
        local = [f"data.pool.file={__file__}"]
        needs = {
            "dial": [],
            "dial_6k": [],
            "file": local,
            "questions": [*local, "+teacher@data.teacher=local_vllm"],
            "s1k_and_own": [f"data.pool.sources.own.pool.file={__file__}"],
        }.get(option.stem, [])
        compose(["data=dial_random", f"pool@data.pool={option.stem}", *needs])


def test_sets_of_one_name_are_all_reported() -> None:
    graph = graph_of(compose(["+experiment=curate", "data=dial_random", "data.selection.seed=0,1", "-m"]))
    assert len(graph.artifact.inputs["curated"]) == 2
    assert len(set(graph.artifact.config.sets)) == 2


def test_a_task_that_the_examples_were_not_held_against_is_noted_in_the_plan() -> None:
    def notes(*overrides: str) -> list[str]:
        return [line for line in graph_of(compose(overrides)).notes if not line.startswith("estimate of")]

    (note,) = notes("data=dial_random", "task=aime24")
    assert note.startswith("task aime24: data dial_random was not decontaminated against it.")
    assert notes("data=dial_random") == []


def test_a_continuation_with_new_lines_is_typed_in_double_quotes() -> None:
    typed = ("budget=wait", 'budget.continuation="\\n\\nWait","Wait\\t"', "-m")
    points = compose(typed).points
    assert [x.budget.continuation for x in points] == ["\n\nWait", "Wait\t"]
    assert [method_of(x.request).label(x.request) for x in points] == ["\\n\\nWait x2", "Wait\\t x2"]


def test_what_is_forced_at_the_end_of_thinking_does_not_decide_the_training() -> None:
    here, there = (
        training_stages_of(compose([f"model.thinking_format.forced_end='{end}'"]).points[0])
        for end in ("<|im_start|>answer\nFinal Answer:", "<|im_start|>answer\n")
    )
    assert here.checkpoint.key == there.checkpoint.key


def test_two_nodes_can_be_planned_here_and_not_run() -> None:
    nodes = ["data=dial_1k", "machine=h100x16", "train=s1", "engine=vllm", "goal=checkpoint"]
    assert any(
        line.startswith("machine.nodes 2: launch=local runs on this machine")
        for line in lines(graph_of(compose(nodes)))
    )
    assert lines(graph_of(compose([*nodes, "launch=slurm"]))) == []


def test_a_stage_costs_what_the_devices_that_it_asks_for_cost() -> None:
    (x,) = compose(
        ["data=dial_1k", "machine=h100x16", "cost=h100", "train=s1", "engine=vllm", "model=qwen2_5_32b"]
    ).points
    rate = x.cost.usd_per_device_hour
    checkpoint = training_stages_of(x).checkpoint
    assert checkpoint.settings["usd_per_hour"] == pytest.approx(16 * rate)
    stages = pipeline.stages_of(x)
    shards = stages.evaluation.traces.shards
    assert [each.settings["usd_per_hour"] for each in shards] == [pytest.approx(8 * rate)] * 2
    assert stages.evaluation.traces.settings == {}  # puts them together, on no device


def test_what_a_set_is_chosen_by_decides_its_key_and_how_many_rows_a_file_has_does_not(tmp_path: Path) -> None:
    file = tmp_path / "pool.jsonl"
    file.write_text('{"question": "1+1?", "solution": "2", "thinking": "2.", "attempt": "2"}\n', encoding="utf-8")

    def chosen(*overrides: str) -> str:
        place = ["data=dial_random", "pool@data.pool=file", f"data.pool.file={file}"]
        (x,) = compose([*place, *overrides]).points
        return curated_of(x, x.data, x.model)[0].key

    assert chosen() == chosen("data.pool.rows=7")
    others = (["data.selection.seed=1"], ["data.filters.ngram_words=9"], ["data.selection.strategy=longest"])
    assert len({chosen(), *(chosen(*each) for each in others)}) == 4


def test_thinking_formats_are_an_axis_and_a_field_without_a_value_changes_no_key() -> None:
    """`system` came later than the first trained models."""
    points = compose(
        ["data=none", "model=smollm2_135m", "thinking_format@model.thinking_format=s1,think,r1,sky_t1,plain", "-m"]
    ).points
    assert len({key_of(x.model.thinking_format) for x in points}) == 5
    assert [("system" in canonical_fields(x.model.thinking_format)) for x in points] == [
        False,
        False,
        False,
        True,
        False,
    ]


def test_points_that_differ_in_the_budget_share_everything_before_the_answers() -> None:
    stages = plan([graph_of(compose(["+experiment=budget_scan", "-m"])).artifact], lambda stage: False).needed
    names = [stage.name for stage in stages]
    assert {name: names.count(name) for name in set(names)} == {
        "problems": 1,
        "questions": 1,
        "base_model": 1,
        "pool": 1,
        "curated": 1,
        "rendered": 1,
        "checkpoint": 1,
        "traces": 10,
        "scores": 10,
        "curve": 1,
        "trace_archive": 1,
        "report": 1,
    }


def test_where_things_run_is_not_what_they_are() -> None:
    here = graph_of(compose(["+experiment=budget_scan", "-m"]))
    there = graph_of(
        compose(
            ["+experiment=budget_scan", "machine.slots=7", "machine.threads=2", "track.wandb=false", "store=/x", "-m"]
        )
    )
    assert curve_of(here).key == curve_of(there).key


def test_what_decides_the_numbers_is_part_of_what_a_point_is() -> None:
    """Engine, dtype, kind of device and the split of a model over devices; not how many copies of it there are."""
    variants = [
        [],
        ["engine=vllm"],
        ["engine.dtype=bfloat16"],
        ["machine=h100", "engine=transformers", "cost=cpu"],
        ["machine=h100x8", "cost=cpu"],
        ["machine=h100x8", "cost=cpu", "machine.tensor_parallel=1"],
        ["machine=h100x8", "cost=cpu", "engine.kv_cache_dtype=fp8_e4m3"],
        ["machine=h100x8", "cost=cpu", "engine.batch_invariant=true"],
    ]
    keys = [curve_of(graph_of(compose(variant))).key for variant in variants]
    assert len(set(keys)) == len(variants)
    copies = ["machine.data_parallel=2", "machine.shards=3", "machine.prefix_caching=false"]
    scheduling = ["machine.max_num_batched_tokens=8192", "machine.gpu_memory_utilization=0.8"]
    defaults = ["engine.kv_cache_dtype=auto", "engine.batch_invariant=false"]
    assert curve_of(graph_of(compose(["machine=h100x8", "cost=cpu", *copies, *scheduling, *defaults]))).key == keys[4]


def test_a_gpu_machine_brings_its_engine_and_its_price_and_the_command_line_may_say_otherwise() -> None:
    (x,) = compose(["machine=h100x16"]).points
    assert (x.engine.kind.value, x.cost.usd_per_device_hour) == ("vllm", 2.90)
    (x,) = compose(["machine=h100", "engine=transformers", "cost=cpu"]).points
    assert (x.engine.kind.value, x.cost.usd_per_device_hour) == ("transformers", 0.10)


def test_another_version_of_the_engine_makes_other_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    here = curve_of(graph_of(compose([]))).key
    monkeypatch.setattr("s1.generate.engines._version", lambda library: "9.9")
    assert curve_of(graph_of(compose([]))).key != here


def lines(graph: Graph) -> list[str]:
    """What is lacking if nothing is made yet."""
    return graph.missing_for(plan([graph.artifact], lambda stage: False).needed)


def test_a_model_too_large_to_train_here_can_be_planned_and_asked_once_it_is_trained() -> None:
    large = ["model=qwen2_5_32b", "data=dial_1k", "train=s1", "machine=h100", "engine=transformers"]
    graph = graph_of(compose(large))
    (line,) = lines(graph)
    assert line.startswith("machine.memory_gib 80: weights, gradients and optimiser of qwen2_5_32b alone take 488 GiB")
    trained = plan([graph.artifact], lambda stage: stage.name == "checkpoint").needed
    assert graph.missing_for(trained) == []


def test_an_engine_that_is_not_installed_can_be_planned_and_says_what_is_lacking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("s1.generate.engines._version", lambda library: None if library == "vllm" else "2.13.0")
    assert lines(graph_of(compose([]))) == []
    (line,) = lines(graph_of(compose(["engine=vllm"])))
    assert line.startswith("vllm: not installed, but engine=vllm needs it.")
    image = ["launch=slurm", "launch.container.kind=pyxis", "launch.container.image=/s1.sqsh"]
    (line,) = lines(graph_of(compose(["engine=vllm", *image])))
    assert line.startswith("vllm: not installed here. Jobs run in launch.container.image, but the stage keys have")


def test_a_data_file_is_known_by_its_content(tmp_path: Path) -> None:
    rows = '{"id": "1", "problem": "1+1?", "answer": "2"}\n'
    keys = set()
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(rows, encoding="utf-8")
        keys.add(curve_of(graph_of(compose(["task=math500", f"task.data_file={tmp_path / name}"]))).key)
    assert len(keys) == 1


def test_points_beside_the_grid_are_crossed_with_the_axes_they_do_not_set() -> None:
    """Once they took the defaults: seeds 1 and 2 had no natural end, and nothing said so."""
    points = compose(["+experiment=budget_scan", "seed=1,2", "-m"]).points
    assert len(points) == 20
    assert [x.seed for x in points if x.budget.waits == 4] == [1, 2]
    assert [x.seed for x in points if x.budget.max_thinking_tokens is None and not x.budget.waits] == [1, 2]


OTHERS = (  # commands whose results once took one another's place
    ["seed=1"],
    ["seed=0,1"],
    ["budget.max_thinking_tokens=4,8"],
    ["also=[]"],
    ["also=['budget.max_thinking_tokens=null budget.waits=1']"],
    ["machine.dtype=bfloat16"],
    ["dial.turns_max=5"],
    ["task=math500", "task.data_file=ROWS", "task.limit=2"],
    ["task=math500", "task.data_file=ROWS", "task.limit=3"],
    [f"task.instruction='{'Think of every digit, then of all of them. ' * 7}'"],
    ["generate.share=false"],
    ["thinking_format@model.thinking_format=think"],
    ["cost.usd_per_device_hour=2"],
    ["claim=Another."],
)


def test_another_experiment_is_another_result(tmp_path: Path) -> None:
    """All have the name of the experiment; results/<name>/<key> tells them apart."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "1", "problem": "1 + 1", "answer": "2"}\n', encoding="utf-8")
    elsewhere = ["task=math500", f"task.data_file={rows}", "task.limit=2"]
    here = tmp_path / "here.jsonl"
    here.write_text('{"id": "1", "problem": "1 + 2", "answer": "3"}\n', encoding="utf-8")
    others = [[word.replace("ROWS", str(here)) for word in each] for each in OTHERS]
    graphs = [graph_of(compose(["+experiment=budget_scan", *each, "-m"])) for each in ([], elsewhere, *others)]
    assert {each.name for each in graphs} == {"budget_scan"}
    assert len({each.artifact.key for each in graphs}) == len(graphs)


def test_fields_outside_the_command_do_not_change_the_result() -> None:
    """It says by which command it is made, but for what is no part of that."""
    overrides = ([], ["yes=true", "results=elsewhere"])
    assert len({graph_of(compose(["+experiment=budget_scan", *each, "-m"])).artifact.key for each in overrides}) == 1


@pytest.mark.parametrize("goal", [[], ["goal=checkpoint"]])
def test_two_checkpoints_of_one_name_are_two_results(tmp_path: Path, goal: list[str]) -> None:
    keys = set()
    for number in (1, 2):
        model = tmp_path / str(number) / "final"
        model.mkdir(parents=True)
        (model / "config.json").write_text(json.dumps({"max_position_embeddings": 512}), encoding="utf-8")
        (model / "chat_template.jinja").write_text("{{ messages[0].content }}", encoding="utf-8")
        save_file({"head": np.full((2, 2), number, np.float32)}, model / "model.safetensors")
        overrides = ["model=own", f"model.repo={model}", "thinking_format@model.thinking_format=s1", *goal]
        keys.add(graph_of(compose(["+experiment=budget_scan", *overrides, "-m"])).artifact.key)
    assert len(keys) == 2


def test_another_limit_is_the_same_result() -> None:
    command = ["cost.usd_per_device_hour=2"]
    plain, limited = (
        compose([*command, *limits]) for limits in ((), ("cost.limit_usd=8", "cost.limit_device_hours=2"))
    )
    assert limited.request.command == plain.request.command
    assert graph_of(limited).artifact.address == graph_of(plain).artifact.address
    assert graph_of(limited).limits.usd == 8
