"""Our engine against `model.generate` in static batches, same model, same requests, same tokens, one run.

    python benchmarks/engine.py [--model laptop|smollm2] [--requests 300] [--slots 128] [--threads 1]

Requests have prompts of 20-60 tokens and lengths like a budget scan: most are short, a few ten times as long. A static
batch runs until its longest request is done; ours fills the place of each that ends. Then every text is continued by 8
more tokens, like a forced answer after a thinking prefix, once by an engine that has to read the text and once by the
one that wrote it and still holds the last of them in its slots.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from s1.generate.engine import Delta, GenerationRequest, Sampling, completion
from s1.generate.transformers_engine import TransformersEngine

GREEDY = Sampling(temperature=0.0)
CACHE_BYTES = 4 * 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["laptop", "smollm2"], default="laptop")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--slots", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = laptop() if arguments.model == "laptop" else smollm2()
    requests = mixed_requests(arguments.requests, model.config.vocab_size)
    engine = TransformersEngine(model, arguments.slots, CACHE_BYTES)

    table = Table(
        "what", "sampled", "prompt", "seconds", "sampled/s", title=f"{arguments.model}, {arguments.slots} rows"
    )
    static, seconds = timed(lambda: static_batches(model, requests, arguments.slots))
    table.add_row(*row("model.generate, static batches", requests, static, seconds))
    ours, seconds = timed(lambda: continuous(engine, requests))
    table.add_row(*row("engine", requests, ours, seconds))
    again = [
        GenerationRequest((*each.prompt_ids, *ids), 8, (), False, GREEDY, 0)
        for each, ids in zip(requests, ours, strict=True)
    ]
    answers, seconds = timed(lambda: continuous(TransformersEngine(model, arguments.slots, CACHE_BYTES), again))
    table.add_row(*row("8 more tokens, texts to be read", again, answers, seconds))
    answers, seconds = timed(lambda: continuous(engine, again))
    table.add_row(*row("8 more tokens, some still held", again, answers, seconds))
    Console().print(table)
    same = sum(one == other for one, other in zip(static, ours, strict=True))
    print(f"equal completions: {same} of {len(requests)}")


def laptop() -> PreTrainedModel:
    """The size of conf/model/laptop.yaml, random weights."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    config = Qwen2Config(
        vocab_size=320, num_key_value_heads=4, max_position_embeddings=1024, eos_token_id=None, **sizes
    )
    return Qwen2ForCausalLM(config).eval()


def smollm2() -> PreTrainedModel:
    """The size of SmolLM2-135M, random weights."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
    }
    config = LlamaConfig(
        vocab_size=49152, num_key_value_heads=3, tie_word_embeddings=True, eos_token_id=None, pad_token_id=0, **sizes
    )
    return LlamaForCausalLM(config).eval()


def mixed_requests(count: int, vocabulary: int) -> list[GenerationRequest]:
    """Lengths from an exponential distribution of mean 60, between 8 and 400."""
    rng = random.Random(0)
    return [
        GenerationRequest(
            prompt_ids=tuple(rng.randrange(1, vocabulary) for _ in range(rng.randint(20, 60))),
            max_tokens=min(400, 8 + int(rng.expovariate(1 / 60))),
            stop_ids=(),
            forbid_stop_first=False,
            sampling=GREEDY,
            seed=0,
        )
        for _ in range(count)
    ]


def static_batches(model: PreTrainedModel, requests: list[GenerationRequest], rows: int) -> list[tuple[int, ...]]:
    """Left-padded batches in order of arrival, each as long as its longest request."""
    generate: Any = model.generate  # its own type is that of a module's attribute
    texts: list[tuple[int, ...]] = []
    for start in range(0, len(requests), rows):
        batch = requests[start : start + rows]
        longest = max(len(each.prompt_ids) for each in batch)
        padded = torch.tensor([[0] * (longest - len(each.prompt_ids)) + [*each.prompt_ids] for each in batch])
        mask = torch.tensor([[0] * (longest - len(each.prompt_ids)) + [1] * len(each.prompt_ids) for each in batch])
        most = max(each.max_tokens for each in batch)
        output = generate(padded, attention_mask=mask, max_new_tokens=most, do_sample=False)[:, longest:]
        texts += [tuple(line[: each.max_tokens]) for line, each in zip(output.tolist(), batch, strict=True)]
    return texts


def continuous(engine: TransformersEngine, requests: list[GenerationRequest]) -> list[tuple[int, ...]]:
    deltas: dict[int, list[Delta]] = {id(request): [] for request in requests}
    for request in requests:
        engine.add(request)
    while not engine.is_idle:
        for delta in engine.step():
            deltas[id(delta.request)].append(delta)
    return [tuple(completion(deltas[id(request)]).ids) for request in requests]


def timed(work: Callable[[], list[tuple[int, ...]]]) -> tuple[list[tuple[int, ...]], float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def row(what: str, requests: list[GenerationRequest], texts: list[tuple[int, ...]], seconds: float) -> list[str]:
    sampled = sum(map(len, texts))
    prompt = sum(len(each.prompt_ids) for each in requests)
    return [what, f"{sampled:,}", f"{prompt:,}", f"{seconds:.2f}", f"{sampled / seconds:,.0f}"]


if __name__ == "__main__":
    main()
