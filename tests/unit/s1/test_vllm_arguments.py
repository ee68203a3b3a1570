"""What vLLM is given is what was configured, and no more: everything else keeps vLLM's own default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from s1.config.schema import ConfigError, EngineConfig, EngineKind
from s1.generate.vllm_engine import batch_invariance, engine_arguments
from s1.models.location import Location

ON_A_GPU = EngineConfig(EngineKind.VLLM, "bfloat16", "cuda", 2)
LOCATION = Location("Qwen/Qwen3-8B", "4" * 40)
SETTINGS = {
    "context_tokens": 32768,
    "slots": 256,
    "cache_gib": None,
    "prefix_caching": True,
    "max_num_batched_tokens": None,
    "gpu_memory_utilization": None,
}
ARGUMENTS: dict[str, Any] = {
    "model": "Qwen/Qwen3-8B",
    "revision": "4" * 40,
    "skip_tokenizer_init": True,
    "generation_config": "vllm",
    "dtype": "bfloat16",
    "kv_cache_dtype": "auto",
    "tensor_parallel_size": 2,
    "max_model_len": 32768,
    "max_num_seqs": 256,
    "kv_cache_memory_bytes": None,
    "enable_prefix_caching": True,
    "scheduling_policy": "priority",
    "enforce_eager": False,
}


def test_without_settings_of_its_own_vllm_keeps_its_defaults() -> None:
    assert engine_arguments(LOCATION, ON_A_GPU, SETTINGS) == ARGUMENTS


def test_every_setting_reaches_vllm() -> None:
    config = replace(ON_A_GPU, kv_cache_dtype="fp8_e4m3")
    settings = {**SETTINGS, "max_num_batched_tokens": 8192, "gpu_memory_utilization": 0.8, "prefix_caching": False}
    assert engine_arguments(LOCATION, config, settings) == {
        **ARGUMENTS,
        "kv_cache_dtype": "fp8_e4m3",
        "max_num_batched_tokens": 8192,
        "gpu_memory_utilization": 0.8,
        "enable_prefix_caching": False,
    }


def test_on_a_cpu_the_cache_has_a_size_and_small_blocks() -> None:
    arguments = engine_arguments(LOCATION, replace(ON_A_GPU, device="cpu"), {**SETTINGS, "cache_gib": 0.5})
    assert arguments == {
        **ARGUMENTS,
        "kv_cache_memory_bytes": 2**29,
        "enforce_eager": True,
        "block_size": 32,
    }


def test_batch_invariance_comes_from_the_configuration_alone() -> None:
    """In the environment it would change answers without changing their key."""
    assert batch_invariance(True, {}) == batch_invariance(True, {"VLLM_BATCH_INVARIANT": "1"})
    assert batch_invariance(True, {}) == {"VLLM_BATCH_INVARIANT": "1"}
    assert batch_invariance(False, {}) == batch_invariance(False, {"VLLM_BATCH_INVARIANT": "0"}) == {}
    with pytest.raises(ConfigError, match=r"engine.batch_invariant false: the environment has VLLM_BATCH_INVARIANT=1"):
        batch_invariance(False, {"VLLM_BATCH_INVARIANT": "1"})
    with pytest.raises(ConfigError, match=r"engine.batch_invariant true: the environment has VLLM_BATCH_INVARIANT=0"):
        batch_invariance(True, {"VLLM_BATCH_INVARIANT": "0"})
