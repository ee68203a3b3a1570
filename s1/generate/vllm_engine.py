"""The engine on vLLM: continuous batching, paged keys and values, prefixes found again in its cache.

vLLM steps; whatever finishes is continued at once by a request of its own (a forced answer, the text after "Wait"). Who
came first goes first, by seed: so a continuation goes before questions not yet begun, finds the blocks of the text it
continues before others evict them, and where memory runs out the question that was begun last makes room.

    stops of several ids    vLLM stops at single ids. It is told the last id of each stop; where the ids before it are
                            not those of the stop, the request goes on from there: exact, and nothing is in vain
    a forbidden first stop  one token of its own, with the first ids of all stops masked (`min_tokens` masks stop ids)
    end of sequence         no id is special but those in `stop_ids`: vLLM gets no tokenizer and no generation config
    seeds                   vLLM's second model runner draws by (seed, position); its first one (on CPUs) starts a
                            generator for each request, so there the seed is derived from seed and position

vLLM's own `thinking_token_budget` is not used: it is silently without effect where no reasoning parser is configured.

The engine core runs in this process, on a GPU too: there it can be asked for its kernels, and nothing outlives us. Data
parallelism is ours (s1/generate/replicas.py); the workers of tensor parallelism are vLLM's and end with this process.
"""

# vLLM lives in an environment of its own, .venv-vllm.
# pyright: reportMissingImports=false

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from s1.config.schema import ConfigError, EngineConfig
from s1.generate.engine import (
    DELTA_TOKENS,
    Delta,
    EngineError,
    GenerationRequest,
    OpenRequest,
    position_bits,
    refuse_unservable,
)
from s1.models.location import Location

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.v1.engine.llm_engine import LLMEngine

CPU_BLOCK_TOKENS = 32  # of the default 128, up to 127 tokens would be read again for each continuation


def load(location: Location, config: EngineConfig, settings: Mapping[str, Any]) -> VllmEngine:
    """Settings: context_tokens, slots, cache_gib (null: what the GPU has left), prefix_caching. Raises ConfigError."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the core in this process, see above
    from vllm import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    is_cpu, cache_gib = config.device == "cpu", settings["cache_gib"]
    arguments = EngineArgs(
        model=location.model,
        revision=location.revision,
        skip_tokenizer_init=True,
        generation_config="vllm",
        dtype=config.dtype,
        tensor_parallel_size=config.tensor_parallel,
        max_model_len=int(settings["context_tokens"]),
        max_num_seqs=int(settings["slots"]),
        kv_cache_memory_bytes=None if cache_gib is None else int(float(cache_gib) * 2**30),
        enable_prefix_caching=bool(settings["prefix_caching"]),
        scheduling_policy="priority",
        enforce_eager=is_cpu,  # compiling takes a CPU longer than it saves
        **({"block_size": CPU_BLOCK_TOKENS} if is_cpu else {}),
    )
    try:
        return VllmEngine(LLMEngine.from_engine_args(arguments))
    except ValueError as error:  # vLLM's way to say that a model, its cache or a dtype does not fit here
        raise ConfigError(
            f"engine=vllm {location.model}: {str(error).splitlines()[0].rstrip('.')}. If it is too large, give each"
            " copy more GPUs (machine.tensor_parallel) or lower model.context_tokens."
        ) from error


class VllmEngine:
    """Any model that vLLM serves from token ids."""

    def __init__(self, engine: LLMEngine) -> None:
        model = engine.vllm_config.model_config
        self._engine = engine
        self.vocabulary = model.get_vocab_size()
        self._names = itertools.count()
        self._ranks: dict[int, int] = {}  # of seeds, by arrival
        self._open: dict[str, OpenRequest] = {}
        self.context_tokens = model.max_model_len
        self.seeds_positions = bool(engine.vllm_config.use_v2_model_runner)
        self.kernels = _kernels(engine)

    def add(self, request: GenerationRequest) -> None:
        refuse_unservable(request, self.vocabulary, self.context_tokens)
        self._submit(OpenRequest(request))

    def step(self) -> list[Delta]:
        heard = (self._hear(output) for output in (self._engine.step() if self._open else []))
        return [portion for portion in heard if portion]

    @property
    def is_idle(self) -> bool:
        return not self._open

    def close(self) -> None:
        """End the processes of the engine."""
        self._engine.engine_core.shutdown()

    def _submit(self, writing: OpenRequest) -> None:
        """Ask vLLM for what an open request lacks."""
        name = str(next(self._names))
        ids = [*writing.request.prompt_ids, *writing.ids]
        parameters = sampling_params(writing, self.seeds_positions)
        rank = self._ranks.setdefault(writing.request.seed, len(self._ranks))
        self._engine.add_request(name, {"prompt_token_ids": ids}, parameters, priority=rank)
        self._open[name] = writing

    def _hear(self, output: Any) -> Delta | None:
        writing = self._open[output.request_id]
        if output.finished:
            del self._open[output.request_id]
            _require_regular(output)
            if len(output.prompt_token_ids) == len(writing.request.prompt_ids):
                writing.cached_tokens = output.num_cached_tokens or 0
        portion = writing.write(output.outputs[0].token_ids)
        if output.finished and (portion is None or portion.end is None):  # at the last id of a stop, and it was none
            self._submit(writing)
        return portion


def sampling_params(writing: OpenRequest, seeds_positions: bool) -> SamplingParams:
    """What vLLM is to do next for an open request."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    request, written = writing.request, len(writing.ids)
    is_greedy = request.sampling.temperature == 0
    position = len(request.prompt_ids) + written
    masked = () if written else request.forbidden_first
    stops = masked or tuple(stop[-1] for stop in request.stop_ids)
    return SamplingParams(
        temperature=request.sampling.temperature,
        top_p=1.0 if is_greedy else request.sampling.top_p,
        seed=None if is_greedy else request.seed if seeds_positions else segment_seed(request.seed, position),
        max_tokens=1 if masked else request.max_tokens - written,
        min_tokens=1 if masked else 0,
        stop_token_ids=sorted(set(stops)),
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        stream_interval=DELTA_TOKENS,
    )


def _require_regular(output: Any) -> None:
    """Raises EngineError for a request that vLLM gave up."""
    reason = output.outputs[0].finish_reason
    if reason not in ("stop", "length"):
        raise EngineError(f"vLLM request {output.request_id}: ended by {reason!r}. Look into the log of the worker.")


def segment_seed(seed: int, position: int) -> int:
    """63 bits for a request that begins at this position; with the plain seed it would repeat the draws before it."""
    return position_bits(seed, position) >> 1


def attention_backends(worker: Any) -> list[str]:
    """What the layers of a vLLM worker compute attention with; run in the worker."""
    layers = worker.vllm_config.compilation_config.static_forward_context.values()
    return sorted({layer.attn_backend.get_name() for layer in layers if hasattr(layer, "attn_backend")})


def _kernels(engine: LLMEngine) -> dict[str, str]:
    import torch
    from vllm.platforms import current_platform

    attention = {name for names in engine.collective_rpc(attention_backends) for name in names}
    is_cpu = current_platform.is_cpu()
    return {
        "processor": f"CPU {torch.backends.cpu.get_cpu_capability()}" if is_cpu else current_platform.get_device_name(),
        "attention": ", ".join(sorted(attention)),
        "runner": "2" if engine.vllm_config.use_v2_model_runner else "1",
        "batch_invariant": os.environ.get("VLLM_BATCH_INVARIANT", "0"),
    }
