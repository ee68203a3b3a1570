"""Engines for tests: tiny random models on disk, and functions that run requests through any engine."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from s1.generate.engine import Completion, Delta, Engine, GenerationRequest, Sampling, completion

VOCABULARY = 96
CONTEXT_TOKENS = 512
SETTINGS = {
    "context_tokens": CONTEXT_TOKENS,
    "slots": 8,
    "cache_gib": 0.25,
    "prefix_caching": True,
    "data_parallel": 1,
}


def save_tiny_llama(directory: Path) -> Path:
    """Random weights that write varied text; heads of 32, the smallest that vLLM serves on a CPU."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT_TOKENS,
        initializer_range=0.4,
        attention_bias=True,
        eos_token_id=None,
        bos_token_id=None,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


def requests(count: int, seed: int = 0, **fields: object) -> list[GenerationRequest]:
    """Prompts of 1 to 40 ids and up to 30 tokens each, greedy and without stops unless `fields` say otherwise."""
    rng = random.Random(seed)
    given = {"stop_ids": (), "forbid_stop_first": False, "sampling": Sampling(0.0), **fields}
    return [
        GenerationRequest(
            tuple(rng.randrange(VOCABULARY) for _ in range(rng.randint(1, 40))),
            rng.randint(1, 30),
            **{"seed": i, **given},
        )
        for i in range(count)
    ]


def deltas_of(engine: Engine, wanted: list[GenerationRequest], per_step: int = 1000) -> list[list[Delta]]:
    """What is deltas of each request, of which `per_step` are added before each step."""
    waiting, deltas = list(wanted), {id(request): [] for request in wanted}
    while waiting or not engine.is_idle:
        for request in waiting[:per_step]:
            engine.add(request)
        waiting = waiting[per_step:]
        for delta in engine.step():
            deltas[id(delta.request)].append(delta)
    return [deltas[id(request)] for request in wanted]


def finish(engine: Engine, wanted: list[GenerationRequest], per_step: int = 1000) -> list[Completion]:
    """Completions in the order of the requests."""
    return [completion(deltas) for deltas in deltas_of(engine, wanted, per_step)]
