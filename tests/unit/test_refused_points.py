"""Points that cannot run are refused before anything runs, with field, value and fix."""

from __future__ import annotations

import pytest

from s1 import pipeline
from sweep.config.compose import Composition, compose
from sweep.core.pipeline import Graph
from sweep.errors import InputError


def graph_of(composition: Composition) -> Graph:
    return pipeline.graph(composition.points, composition.request)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["budget.max_thinking_tokens=0"], "budget.max_thinking_tokens 0: below 1. Raise it."),
        (["budget.max_thinking_tokens=8,-1", "-m"], "budget.max_thinking_tokens -1: below 1."),
        (["budget.max_thinking_tokens=512"], "it does not fit the context of 512"),
        (["budget=none", "budget.max_thinking_tokens=8"], "budget=none forces nothing"),
        (["budget.waits=-1"], "budget.waits -1: below 0. Raise it."),
        (["budget.max_thinking=8"], "budget.max_thinking: no such field. Did you mean budget.max_thinking_tokens?"),
        (["budget.compat=s2"], "budget.compat 's2': not one of corrected, s1. Did you mean s1?"),
        (["task=aime26"], "task aime26: no such option. Did you mean aime2"),
        (
            ["task=math500", "task.hub.revision='a b'"],
            "task.hub.revision 'a b': not a commit, branch or tag. Give a 40-",
        ),
        (
            ["model=s1_32b", "data=none", "model.repo=models/of/mine"],
            "model.repo 'models/of/mine': not a repository name",
        ),
        (["data=none"], "a fresh model knows nothing before training"),
        (["generate.samples=4"], "greedy samples are all equal"),
        (["generate.temperature=1", "generate.top_p=0"], "generate.top_p 0: not above 0. Raise it."),
        (["train.epochs=1"], "train.steps 1400: exactly one of train.steps and train.epochs (1) must be set"),
        (["data.pool.rows=0"], "data.pool.rows 0: below 1. Raise it."),
        (["data=file", "data.pool.file=nowhere.jsonl"], "data.pool.file 'nowhere.jsonl': no such file"),
        (["data=dial_random", "data.selection.examples=null"], "strategy random takes a number"),
        (["model.dial=null"], "model.dial null: a fresh model needs words"),
        (
            ["goal=checkpoint", "model=qwen2_5_7b", "machine=h100", "cost=h100", "train=s1"],
            "model.thinking_format.thinking_start '': the model would learn trace and answer as one text",
        ),
        (
            ["goal=data", "data=s1k", "pool@data.pool=file", f"data.pool.file={__file__}"],
            "data.selection.seed_set: selects by source, and data.pool.columns.source is null",
        ),
        (
            ["goal=data", "data=s1k", "+data.selection.tail={after: 700, first: a, others: {b: 0.5}}"],
            "data.selection.tail: weighs domains, and s1_59k has none besides its sources",
        ),
        (
            [
                *("data=dial_s1k", "model@data.difficulty.solvers.laptop_base=s1_32b"),
                "data.difficulty.solvers.laptop_base.revision='v 1'",
            ],
            "data.difficulty.solvers.laptop_base.revision 'v 1': not a commit, branch or tag.",
        ),
        (["goal=data", "model=laptop_base", "data=none"], "data none: nothing is curated"),
        (["budget=none", "budget.waits=2"], "budget.waits 2: budget=none forces nothing"),
        (["budget=min", "budget.compat=s1"], "compat=s1 counts ends, not tokens"),
        (
            ["budget.min_thinking_tokens=600"],
            "budget.min_thinking_tokens 600: with 128 tokens reserved for the answer",
        ),
        (["machine.workers=0"], "machine.workers 0: below 1"),
        (["machine.cache_gib=null"], "machine.cache_gib null: on a CPU the memory for the cache is unknown"),
        (["engine.kv_cache_dtype=fp8_e4m3"], "engine.kv_cache_dtype fp8_e4m3: engine=transformers has no such setting"),
        (["engine.batch_invariant=true"], "engine.batch_invariant true: engine=transformers has no such setting."),
        (["machine.max_num_batched_tokens=8192"], "Choose engine=vllm, or machine.max_num_batched_tokens=null."),
        (["machine.gpu_memory_utilization=0.9"], "machine.gpu_memory_utilization 0.9: engine=transformers has no"),
        (["engine=vllm", "engine.batch_invariant=true"], "vLLM has batch-invariant kernels for GPUs only"),
        (["engine=vllm", "engine.kv_cache_dtype=fp8"], "engine.kv_cache_dtype 'fp8'"),
        (
            ["engine=vllm", "machine.gpu_memory_utilization=0.9"],
            "machine.gpu_memory_utilization 0.9: machine.cache_gib 4 sets the memory of the KV cache already.",
        ),
        (
            ["machine=h100", "machine.max_num_batched_tokens=128"],
            "machine.max_num_batched_tokens 128: below machine.slots 256",
        ),
        (["machine.tensor_parallel=2"], "machine.tensor_parallel 2: engine=transformers keeps a model on one device"),
        (
            ["machine=h100", "engine=vllm", "machine.tensor_parallel=2", "machine.data_parallel=2"],
            "machine.gpus 1: tensor_parallel 2 x data_parallel 2 need 4",
        ),
        (["machine.data_parallel=0"], "machine.data_parallel 0: below 1"),
        (["machine.micro_batch=3"], "train.batch_size 8: not a multiple of machine.micro_batch 3"),
        (["cost.generate_tokens_per_second=0"], "cost.generate_tokens_per_second 0: not above 0"),
        (["statistics.level=2"], "statistics.level 2: not below 1. Lower it."),
        (["task.name=aime26"], "task.name 'aime26': no such task. Known: aime24, aime25"),
        (["name=../.."], "name '../..': not a plain folder name"),
        (["name="], "name '': empty. Give it a value"),
        (["name=."], "name '.': not a plain folder name"),
        (["name=Paper"], "name 'Paper': reserved (so are published, paper, benchmarks, latest)"),
        (["name=latest"], "name 'latest': reserved"),
        ([f"name={'long' * 75}"], "300 characters. Use at most 200."),
        (["pipeline=s1.nope"], "pipeline s1.nope: no such module"),
        (["generate.temperature=-1"], "generate.temperature -1: below 0. Raise it."),
        (["seed=one"], "seed 'one': input should be a valid integer"),
        (["thinking_format@model.thinking_format=thought"], "thinking_format thought: no such option."),
        (["model.thinking_format.prompt='Q: '"], "model.thinking_format.prompt 'Q: ': no {question} in it"),
        (
            ["model.thinking_format.prompt='{question}'", "model.thinking_format.system=Think."],
            "model.thinking_format.system 'Think.': only a chat template uses it",
        ),
        (["model.thinking_format.answer_stops=[]"], "model.thinking_format.answer_stops []: no answer would end"),
        (
            ["model.thinking_format.thinking_stops=['']"],
            "model.thinking_format.thinking_stops '': an empty text stops everywhere",
        ),
        (
            ["model.thinking_format.thinking_end=''"],
            "model.thinking_format.thinking_end '': nothing would separate thinking from answer",
        ),
        (
            ["budget.continuation='\\n\\nWait'"],
            "contains a backslash and 'n'. If you mean a new line, write \\n in double quotes, such as"
            " 'budget.continuation=\"\\nWait\"'; if you mean the two characters, choose other words.",
        ),
        (
            ["budget.continuation=\\tWait"],
            "contains a backslash and 't'. If you mean a tab, write \\t in double quotes",
        ),
        (['budget.continuation="\\\\nWait"'], "contains a backslash and 'n'."),
        (
            ["thinking_format@model.thinking_format=think", "budget.continuation='Wait.</think>'"],
            "budget.continuation 'Wait.</think>': contains the delimiter '</think>', which is not thinking",
        ),
    ],
)
def test_impossible_points_are_refused_by_field_value_and_fix(overrides: list[str], complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        graph_of(compose(overrides))
    assert complaint in str(refused.value)


def test_a_missing_data_file_is_refused() -> None:
    with pytest.raises(InputError, match=r"task.data_file '/no/such.jsonl': no such file"):
        graph_of(compose(["task=math500", "task.data_file=/no/such.jsonl"]))


def test_one_model_has_one_machine() -> None:
    with pytest.raises(InputError, match=r"machine: differs between points of model=laptop, in slots, but one process"):
        graph_of(compose(["machine.slots=1,2", "-m"]))


def test_one_command_has_one_limit() -> None:
    with pytest.raises(InputError, match=r"cost.limit_usd: differs between points"):
        graph_of(compose(["cost.limit_usd=1,2", "-m"]))


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        ('compare={axis: seed, reference: "0"}', r"compare\.axis seed: seeds are pooled.*statistics\.pool_seeds=false"),
        ("compare={axis: data, reference: limo}", r"compare\.reference limo: no such value of data \(available: null"),
    ],
)
def test_a_comparison_that_would_fail_at_the_end_is_refused_before_anything_runs(compare: str, message: str) -> None:
    composition = compose(["+experiment=smoke", "seed=0,1", compare, "-m"])
    with pytest.raises(InputError, match=message):
        graph_of(composition)
