"""The vLLM engine: continuous batching, paged keys and values, prefix caching.

vLLM does the stepping. When a request finishes, the caller continues its text with a new request (a forced answer, the
text after "Wait"). Requests have priority by the order in which their seeds first arrived. So a continuation runs
before questions that have not started, finds the cached blocks of its prefix before others evict them, and when memory
runs out the newest question is preempted.

    multi-token stops       vLLM stops at single ids. It gets the last id of each stop; if the ids before it do not
                            complete the stop, the request is resubmitted from there. Exact, and no token is wasted
    a forbidden first stop  a separate one-token request with the first ids of all stops masked (`min_tokens` masks
                            stop ids)
    end of sequence         only the ids in `stop_ids` are special: vLLM gets no tokenizer and no generation config
    seeds                   vLLM's second model runner draws by (seed, position). Its first one (on CPUs) starts a
                            generator for each request, so there the seed is derived from seed and position

We do not use vLLM's `thinking_token_budget`: without a reasoning parser it silently has no effect.

The engine core runs in this process, also on a GPU, so that we can query its kernels and no process outlives us. Data
parallelism is ours (s1/generate/replicas.py); vLLM starts the tensor-parallel workers, which end with this process.
"""

# vLLM is installed in a separate environment, .venv-vllm.
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

BATCH_INVARIANT = "VLLM_BATCH_INVARIANT"  # vLLM has no argument for it
CPU_BLOCK_TOKENS = 32  # with the default of 128, each continuation would recompute up to 127 tokens


def load(location: Location, config: EngineConfig, settings: Mapping[str, Any]) -> VllmEngine:
    """Load a model; for the settings see `engine_arguments`. Raises ConfigError if the model does not fit."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # engine core in this process, see above
    os.environ.update(batch_invariance(config.batch_invariant, os.environ))  # before vLLM is imported
    from vllm import EngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.llm_engine import LLMEngine

    arguments = EngineArgs(**engine_arguments(location, config, settings))
    try:
        # vLLM's defaults depend on the context: that of its class LLM, for offline use, reads 16,384 tokens per forward
        # pass on an H100; the one for servers reads 8,192; without any it is 2,048.
        return VllmEngine(LLMEngine.from_engine_args(arguments, usage_context=UsageContext.LLM_CLASS))
    except ValueError as error:  # vLLM raises it if the model, its cache or the dtype does not fit
        raise ConfigError(
            f"engine=vllm {location.model}: {str(error).splitlines()[0].rstrip('.')}. If it is too large, give each"
            " copy more GPUs (machine.tensor_parallel) or lower model.context_tokens."
        ) from error


def engine_arguments(location: Location, config: EngineConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of vLLM's EngineArgs; what is left out has vLLM's default.

    Settings: context_tokens, slots, cache_gib (null: a share of the GPU memory), prefix_caching, and optionally
    max_num_batched_tokens and gpu_memory_utilization (null: vLLM's default).
    """
    is_cpu, cache_gib = config.device == "cpu", settings["cache_gib"]
    batched_tokens, share = settings.get("max_num_batched_tokens"), settings.get("gpu_memory_utilization")
    return {
        "model": location.model,
        "revision": location.revision,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "dtype": config.dtype,
        "kv_cache_dtype": config.kv_cache_dtype,
        "tensor_parallel_size": config.tensor_parallel,
        "max_model_len": int(settings["context_tokens"]),
        "max_num_seqs": int(settings["slots"]),
        "kv_cache_memory_bytes": None if cache_gib is None else int(float(cache_gib) * 2**30),
        "enable_prefix_caching": bool(settings["prefix_caching"]),
        "scheduling_policy": "priority",
        "enforce_eager": is_cpu,  # on a CPU, compilation takes longer than it saves
        **({"block_size": CPU_BLOCK_TOKENS} if is_cpu else {}),
        **({} if batched_tokens is None else {"max_num_batched_tokens": int(batched_tokens)}),
        **({} if share is None else {"gpu_memory_utilization": float(share)}),
    }


def batch_invariance(wanted: bool, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variable that vLLM reads. Raises ConfigError if it contradicts the configuration."""
    given = environment.get(BATCH_INVARIANT)
    if given is not None and given != str(int(wanted)):
        raise ConfigError(
            f"engine.batch_invariant {str(wanted).lower()}: the environment has {BATCH_INVARIANT}={given}, which would"
            " change answers under the same key. Unset it, and set engine.batch_invariant."
        )
    return {BATCH_INVARIANT: "1"} if wanted else {}


class VllmEngine:
    """Serves any model that vLLM can run from token ids."""

    def __init__(self, engine: LLMEngine) -> None:
        model = engine.vllm_config.model_config
        self._engine = engine
        self.vllm_config = engine.vllm_config
        self.vocabulary = model.get_vocab_size()
        self._names = itertools.count()
        self._ranks: dict[int, int] = {}  # of each seed, by arrival
        self._open: dict[str, OpenRequest] = {}
        self.context_tokens = model.max_model_len
        self.seeds_positions = bool(engine.vllm_config.use_v2_model_runner)
        self.kernels = _kernels(engine)

    def add(self, request: GenerationRequest) -> None:
        refuse_unservable(request, self.vocabulary, self.context_tokens)
        self._submit(OpenRequest(request))

    def step(self) -> list[Delta]:
        outputs = self._engine.step() if self._open else []
        return [delta for delta in map(self._on_output, outputs) if delta]

    @property
    def is_idle(self) -> bool:
        return not self._open

    def close(self) -> None:
        """End the processes of the engine."""
        self._engine.engine_core.shutdown()

    def _submit(self, open_request: OpenRequest) -> None:
        """Submit the remaining part of an open request to vLLM."""
        name = str(next(self._names))
        ids = [*open_request.request.prompt_ids, *open_request.ids]
        parameters = sampling_params(open_request, self.seeds_positions)
        rank = self._ranks.setdefault(open_request.request.seed, len(self._ranks))
        self._engine.add_request(name, {"prompt_token_ids": ids}, parameters, priority=rank)
        self._open[name] = open_request

    def _on_output(self, output: Any) -> Delta | None:
        open_request = self._open[output.request_id]
        if output.finished:
            del self._open[output.request_id]
            _require_regular(output)
            if len(output.prompt_token_ids) == len(open_request.request.prompt_ids):
                open_request.cached_tokens = output.num_cached_tokens or 0
        delta = open_request.write(output.outputs[0].token_ids)
        if output.finished and (delta is None or delta.end is None):  # stopped at an id that completed no stop
            self._submit(open_request)
        return delta


def sampling_params(open_request: OpenRequest, seeds_positions: bool) -> SamplingParams:
    """vLLM parameters for the next part of an open request."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    request, written = open_request.request, len(open_request.ids)
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
    """Raise EngineError if vLLM aborted the request."""
    reason = output.outputs[0].finish_reason
    if reason not in ("stop", "length"):
        raise EngineError(f"vLLM request {output.request_id}: ended by {reason!r}. See the log of the worker.")


def segment_seed(seed: int, position: int) -> int:
    """63-bit seed of a request that starts at this position. The plain seed would repeat the draws before it."""
    return position_bits(seed, position) >> 1


def attention_backends(worker: Any) -> list[str]:
    """Attention backends of a vLLM worker's layers. Runs in the worker."""
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
        "batch_invariant": os.environ.get(BATCH_INVARIANT, "0"),
    }
