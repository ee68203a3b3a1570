"""The Hugging Face transformers engine: continuous batching, and tokens that do not depend on the rest of the batch.

Each open request owns a slot of a preallocated cache (s1/generate/slot_cache.py). Active slots stay contiguous: a
finished one is swapped with the last. Every row has its own position, so one forward pass advances requests of any
age. A new prompt copies the longest prefix that some slot holds. Prefill covers the rest except the last token, which
is the first input of decoding, so all sampling happens in one place.

Greedy: argmax in float32. Otherwise the token at absolute position p of a request with seed s is drawn by inverse CDF
from the top-p part of softmax(logits / temperature), with the uniform number blake2b(s, p) / 2^64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from s1.config.schema import ConfigError, EngineConfig
from s1.generate.engine import Delta, GenerationRequest, OpenRequest, position_bits, refuse_unservable
from s1.generate.slot_cache import SlotCache
from s1.models.location import Location

FREE_SHARE = 0.8
PREFILL_TOKENS = 8192  # prompt tokens in one forward pass, padding included


def load(location: Location, config: EngineConfig, settings: Mapping[str, Any]) -> TransformersEngine:
    """Load a directory or a hub revision. Settings: slots, cache_gib (null: free GPU memory). Raises ConfigError."""
    if config.tensor_parallel > 1:
        raise ConfigError(
            f"machine.tensor_parallel {config.tensor_parallel}: transformers runs on one device. Use engine=vllm."
        )
    logging.disable_progress_bar()
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        location.model,
        revision=location.revision,
        dtype=_dtype(config.dtype),
        use_safetensors=True,
        trust_remote_code=False,
    )
    # A decorator of transformers hides the signature of `to`.
    model.to(torch.device(config.device))  # pyright: ignore[reportArgumentType]
    return TransformersEngine(model, int(settings["slots"]), _cache_bytes(settings["cache_gib"], model.device))


class _Row(OpenRequest):
    """An open request in its slot."""

    @property
    def position(self) -> int:
        """Absolute position of the next token."""
        return len(self.request.prompt_ids) + len(self.ids)

    @property
    def last(self) -> int:
        return self.ids[-1] if self.ids else self.request.prompt_ids[-1]


@dataclass(frozen=True)
class _New:
    """A request to admit, and the slot that holds the first `held` tokens of its prompt."""

    request: GenerationRequest
    slot: int
    held: int


class TransformersEngine:
    """Serves decoder-only models with full attention, such as Qwen2 and Llama."""

    def __init__(self, model: PreTrainedModel, slots: int, cache_bytes: int) -> None:
        config = model.config
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            raise ConfigError(
                f"model layers {sorted(kinds)}: engine=transformers supports only full attention."
                " Choose engine=vllm, or another model."
            )
        self._model = model.eval()
        self._device = model.device
        self.vocabulary: int = cast(torch.nn.Embedding, model.get_input_embeddings()).num_embeddings
        self.context_tokens: int = config.max_position_embeddings
        self.seeds_positions = True
        self.kernels: Mapping[str, str] = {
            "processor": processor(model.device),
            "attention": str(config._attn_implementation),
        }
        tokens = cache_bytes // _bytes_per_token(model)
        self._cache = SlotCache(config.num_hidden_layers, slots, tokens, model.device)
        self._arrived: list[GenerationRequest] = []  # since the last step
        self._waiting: list[GenerationRequest] = []  # a stack
        self._rows: list[_Row] = []  # row i owns slot i

    def add(self, request: GenerationRequest) -> None:
        refuse_unservable(request, self.vocabulary, self.context_tokens)
        self._arrived.append(request)

    @property
    def is_idle(self) -> bool:
        return not (self._arrived or self._waiting or self._rows)

    def close(self) -> None:
        """Do nothing: the process holds all resources."""

    @torch.inference_mode()
    def step(self) -> list[Delta]:
        self._admit()
        if not self._rows:
            return []
        tokens = self._choose(self._decode())
        deltas = [row.write([token]) for row, token in zip(self._rows, tokens, strict=True)]
        self._remove([index for index, delta in enumerate(deltas) if delta and delta.end])
        return [delta for delta in deltas if delta]

    def _admit(self) -> None:
        """Give free slots to waiting requests and prefill their prompts, similar lengths together.

        Last in, first out, and within a step the longest prompt first: so a request that continues a text just finished
        still finds it in a slot, and requests that continue a shorter part of it find the prefix there too.
        """
        self._waiting += sorted(self._arrived, key=lambda request: len(request.prompt_ids))
        self._arrived.clear()
        admitted = self._take_waiting()
        if not admitted:
            return
        self._cache.reserve(max(map(_most_tokens, admitted)))
        new = sorted(map(self._with_prefix, admitted), key=_uncached, reverse=True)
        first = len(self._rows)
        self._cache.fill(first, [(each.slot, each.held) for each in new])
        self._rows.extend(_Row(each.request, cached_tokens=each.held) for each in new)
        while new and _uncached(new[0]):
            count = max(1, PREFILL_TOKENS // _uncached(new[0]))
            self._prefill(first, new[:count])
            first, new = first + count, new[count:]

    def _take_waiting(self) -> list[GenerationRequest]:
        """Pop as many requests as there are slots for, counting each at its maximum length."""
        taken: list[GenerationRequest] = []
        longest = 0
        while self._waiting:
            longest = max(longest, _most_tokens(self._waiting[-1]))
            busy = len(self._rows) + len(taken)
            if busy and busy >= self._cache.slots_for(longest):
                break
            taken.append(self._waiting.pop())
        return taken

    def _with_prefix(self, request: GenerationRequest) -> _New:
        return _New(request, *self._cache.longest_prefix(request.prompt_ids[:-1]))

    def _prefill(self, first: int, batch: Sequence[_New]) -> None:
        """Prefill the uncached part of prompts. Shorter ones are padded by rewriting their last token in place."""
        queries = range(_uncached(batch[0]))
        places = [[min(each.held + query, len(each.request.prompt_ids) - 1) for query in queries] for each in batch]
        prompts = [tuple(each.request.prompt_ids) for each in batch]
        ids = [[prompt[place] for place in row] for prompt, row in zip(prompts, places, strict=True)]
        self._forward(first, torch.tensor(ids, device=self._device), torch.tensor(places, device=self._device))

    def _decode(self) -> torch.Tensor:
        """Compute logits [rows, vocabulary] of the next token of every open request."""
        lasts = torch.tensor([[row.last] for row in self._rows], device=self._device)
        return self._forward(0, lasts, torch.tensor([[row.position - 1] for row in self._rows], device=self._device))

    def _forward(self, first: int, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Run `ids` [rows, queries] through the slots from `first` on.

        Returns logits [rows, vocabulary] of the last query.
        """
        visible = int(positions.max()) + 1
        self._cache.aim(first, ids, positions, visible)
        hidden = torch.arange(visible, device=self._device) > positions[:, None, :, None]  # [rows, 1, queries, visible]
        mask = torch.zeros(hidden.shape, dtype=self._model.dtype, device=self._device)
        output = self._model(
            input_ids=ids,
            attention_mask=mask.masked_fill_(hidden, torch.finfo(mask.dtype).min),
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()

    def _choose(self, logits: torch.Tensor) -> list[int]:
        """Choose the next token of each row from logits [rows, vocabulary]."""
        for index, row in enumerate(self._rows):
            if row.request.forbid_stop_first and not row.ids:
                logits[index, list(row.request.forbidden_first)] = -torch.inf
        tokens = logits.argmax(-1)
        drawn = [index for index, row in enumerate(self._rows) if row.request.sampling.temperature > 0]
        if drawn:
            tokens[drawn] = draw(logits[drawn], [self._rows[index] for index in drawn])
        return tokens.tolist()

    def _remove(self, finished: Sequence[int]) -> None:
        """Move the last rows into the gaps of finished ones, so that active rows stay contiguous."""
        if not finished:
            return
        kept = len(self._rows) - len(finished)
        gone = set(finished)
        holes = [index for index in finished if index < kept]
        movers = [index for index in range(kept, len(self._rows)) if index not in gone]
        for hole, mover in zip(holes, movers, strict=True):
            self._rows[hole] = self._rows[mover]
        del self._rows[kept:]
        if holes:
            self._cache.swap(holes, movers)


def _cache_bytes(cache_gib: float | None, device: torch.device) -> int:
    """The configured size, or most of the GPU memory left by the weights; the rest is for activations."""
    if cache_gib is not None:
        return int(cache_gib * 2**30)
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return int(FREE_SHARE * free_bytes)


def _most_tokens(request: GenerationRequest) -> int:
    return len(request.prompt_ids) + request.max_tokens


def _bytes_per_token(model: PreTrainedModel) -> int:
    """Bytes of the keys and values of one token in all layers."""
    config = model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * config.num_key_value_heads * size * model.dtype.itemsize


def _uncached(new: _New) -> int:
    """Prompt tokens to prefill before decoding starts with the last one."""
    return len(new.request.prompt_ids) - 1 - new.held


def draw(logits: torch.Tensor, rows: Sequence[_Row]) -> torch.Tensor:
    """Draw one token per row from the smallest set of most likely tokens whose total probability reaches top_p."""
    samplings = [row.request.sampling for row in rows]
    per_row = {"dtype": torch.float64, "device": logits.device}
    temperature = torch.tensor([[each.temperature] for each in samplings], **per_row)
    top_p = torch.tensor([[each.top_p] for each in samplings], **per_row)
    uniform = torch.tensor([[unit(row.request.seed, row.position)] for row in rows], **per_row)
    probabilities, ids = torch.softmax(logits.double() / temperature, -1).sort(dim=-1, descending=True, stable=True)
    cumulative = probabilities.cumsum(-1)
    allowed = cumulative - probabilities < top_p
    total = torch.where(allowed, probabilities, 0).sum(-1, keepdim=True)
    place = (cumulative <= uniform * total).sum(-1, keepdim=True).clamp_(max=allowed.sum(-1, keepdim=True) - 1)
    return ids.gather(-1, place)[:, 0]


def unit(seed: int, position: int) -> float:
    """The uniform number in [0, 1) that decides the token at a position."""
    return position_bits(seed, position) / 2**64


def processor(device: torch.device) -> str:
    """The kind of processor, whose kernels decide rounding: "NVIDIA H100 80GB HBM3", "CPU AVX2"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else device.type


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ConfigError(f"engine.dtype {name!r}: not a floating-point type. Use float32, bfloat16 or float16.")
    return dtype
