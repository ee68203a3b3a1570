"""Memory of generation on each device, before anything is queued. Pure; GiB.

weights      bytes per number x parameters / tensor_parallel
KV cache     2 x layers x kv_heads x head_size x bytes per number for each token, over tensor_parallel devices
             (Pope et al. 2022; vLLM divides the heads of keys and values, and repeats one that it cannot divide)
longest      room for so many traces of the longest possible length, the whole context, at the same time
"""

from __future__ import annotations

from dataclasses import dataclass

from s1.config.resources import Machine
from s1.config.schema import DecoderShape

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
USABLE = 0.90  # of a GPU: vLLM's default gpu_memory_utilization; activations and CUDA graphs take the rest


@dataclass(frozen=True)
class GenerationMemory:
    weights_gib: float  # on each device
    cache_bytes_per_token: float  # on each device
    cache_gib: float | None  # room on each device; None: unknown
    limit_gib: float | None  # memory of one device; None: unknown

    @property
    def surely_too_large(self) -> bool:
        """Whether the weights alone take more than a device has."""
        return self.limit_gib is not None and self.weights_gib > self.limit_gib

    def traces_at_once(self, tokens: float) -> int | None:
        """How many traces of so many tokens the cache holds; None: unknown."""
        if self.cache_gib is None:
            return None
        return int(max(0.0, self.cache_gib) * GIB / (self.cache_bytes_per_token * tokens))

    def remark(self, tokens: int) -> str:
        """One line; `tokens`: of the longest trace."""
        of = f" of {self.limit_gib:g}" if self.limit_gib is not None else ""
        cache_kib = self.cache_bytes_per_token / 2**10
        line = f"weights {self.weights_gib:.1f}{of} GiB per device, KV cache {cache_kib:,.0f} KiB per token"
        at_once = self.traces_at_once(tokens)
        return (
            line
            if at_once is None
            else f"{line}: room for {at_once:,} trace{'s' * (at_once != 1)} of {tokens:,} tokens at once"
        )


def generation_memory(shape: DecoderShape, dtype: str, machine: Machine) -> GenerationMemory | None:
    """Memory of one copy on each of its devices; None for a dtype of unknown size."""
    if dtype not in BYTES:
        return None
    size, devices = BYTES[dtype], machine.tensor_parallel
    heads = max(1.0, shape.kv_heads / devices)
    weights = size * shape.parameters / devices / GIB
    room = machine.cache_gib
    if room is None and machine.memory_gib is not None:
        room = USABLE * machine.memory_gib - weights
    return GenerationMemory(
        weights_gib=weights,
        cache_bytes_per_token=2 * shape.layers * heads * shape.head_size * size,
        cache_gib=room,
        limit_gib=machine.memory_gib,
    )
