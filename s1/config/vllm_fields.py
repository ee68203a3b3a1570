"""Refuse settings of vLLM that the chosen engine or device cannot do, and those that contradict each other."""

from __future__ import annotations

import json

from s1.config.resources import Machine
from s1.config.schema import ConfigError, EngineConfig, EngineKind


def check_vllm_fields(machine: Machine, engine: EngineConfig) -> None:
    """Raise ConfigError for the first field that cannot be honoured."""
    if engine.kind is not EngineKind.VLLM:
        _check_unset(machine, engine)
    if engine.batch_invariant and engine.device == "cpu":
        raise ConfigError(
            "engine.batch_invariant true: vLLM has batch-invariant kernels for GPUs only. Set it to false on a CPU."
        )
    share, batched_tokens = machine.gpu_memory_utilization, machine.max_num_batched_tokens
    if share is not None and machine.cache_gib is not None:
        raise ConfigError(
            f"machine.gpu_memory_utilization {share:g}: machine.cache_gib {machine.cache_gib:g} sets the memory of the"
            " KV cache already. Set one of them to null."
        )
    if batched_tokens is not None and batched_tokens < machine.slots:
        raise ConfigError(
            f"machine.max_num_batched_tokens {batched_tokens}: below machine.slots {machine.slots}, and each slot takes"
            " a token of a forward pass. Raise it, or lower machine.slots."
        )


def _check_unset(machine: Machine, engine: EngineConfig) -> None:
    for field, value, unset in (
        ("engine.kv_cache_dtype", engine.kv_cache_dtype, "auto"),
        ("engine.batch_invariant", engine.batch_invariant, False),
        ("machine.max_num_batched_tokens", machine.max_num_batched_tokens, None),
        ("machine.gpu_memory_utilization", machine.gpu_memory_utilization, None),
    ):
        if value != unset:
            raise ConfigError(
                f"{field} {_as_typed(value)}: engine={engine.kind.value} has no such setting. Choose engine=vllm, or"
                f" {field}={_as_typed(unset)}."
            )


def _as_typed(value: str | float | bool | None) -> str:
    return value if isinstance(value, str) else json.dumps(value)
