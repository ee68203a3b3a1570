"""Memory of generation on each device, before anything is queued. Pure; GiB.

weights      bytes per number x parameters / tensor_parallel
KV cache     2 x layers x kv_heads x head_size x bytes per number for each token, over tensor_parallel devices
             (Pope et al. 2022; vLLM divides the heads of keys and values, and repeats one that it cannot divide)
longest      room for so many traces of the longest possible length, the whole context, at the same time
"""

from __future__ import annotations

from dataclasses import dataclass

from s1.config.resources import Machine
from s1.config.schema import DecoderShape, EngineConfig, EngineKind

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
FP8_BYTES = 1
USABLE = 0.90  # of a GPU: vLLM's default gpu_memory_utilization; activations and CUDA graphs take the rest


@dataclass(frozen=True)
class GenerationMemory:
    weights_gib: float  # on each device
    cache_bytes_per_token: float  # on each device
    cache_gib: float | None  # room on each device; None: unknown
    least_cache_gib: float  # that the engine reserves
    limit_gib: float | None  # memory of one device; None: unknown
    usable_gib: float | None  # of it, for weights and cache; None: unknown

    @property
    def surely_too_large(self) -> bool:
        """Whether weights and the reserved cache take more than may be used."""
        return self.usable_gib is not None and self.weights_gib + self.least_cache_gib > self.usable_gib

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
        if at_once is None:
            return line
        return f"{line}: room for {at_once:,} trace{'s' * (at_once != 1)} of {tokens:,} tokens at once"


def generation_memory(shape: DecoderShape, engine: EngineConfig, machine: Machine) -> GenerationMemory | None:
    """Memory of one copy on each of its devices; None for a dtype of unknown size."""
    if engine.dtype not in BYTES:
        return None
    size, devices = BYTES[engine.dtype], machine.tensor_parallel
    cached = FP8_BYTES if engine.kv_cache_dtype.startswith("fp8") else size
    heads = max(1.0, shape.kv_heads / devices)
    weights = size * shape.parameters / devices / GIB
    share, room = machine.gpu_memory_utilization or USABLE, machine.cache_gib
    if room is None and machine.memory_gib is not None:
        room = share * machine.memory_gib - weights
    is_limited = engine.kind is EngineKind.VLLM and machine.cache_gib is None
    return GenerationMemory(
        weights_gib=weights,
        cache_bytes_per_token=2 * shape.layers * heads * shape.head_size * cached,
        cache_gib=room,
        least_cache_gib=machine.cache_gib or 0.0,
        limit_gib=machine.memory_gib,
        usable_gib=None if machine.memory_gib is None else machine.memory_gib * (share if is_limited else 1.0),
    )
