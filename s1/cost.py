"""What a plan will cost, from stated rates, before anything runs; and what generation took, afterwards. Pure.

training:    examples x epochs x tokens per example / training rate, or by FLOPs (s1/train/flops.py)
generation:  thinking + answer tokens / generation rate, where
             thinking = questions x samples x what the method expects (budget forcing: min(budget, natural length x
             (1 + waits)))
endpoints:   questions x (prompt tokens + reply tokens), each at the endpoint's price
Points that share one continuation store think once: the longest among them is charged, the others add answers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s1.config.data import Endpoint
from s1.config.resources import Cost, filled
from s1.config.schema import ComputeRequest, ConfigError, Train
from s1.generate.methods.registry import method_of
from s1.point import PointConfig
from s1.train.flops import device_seconds, training_flops, training_tokens
from s1.train.memory import Memory, memory
from sweep.core.pipeline import CostEstimate
from sweep.core.stage import Summary

ENDPOINT = "replies_without_usage"  # what only the summary of an asked endpoint has


@dataclass(frozen=True)
class GeneratedTokens:
    thinking: int
    answer: int


def training_estimate(x: PointConfig) -> CostEstimate:
    """Fine-tuning of one checkpoint."""
    if x.train is None or x.data.pool is None:
        return CostEstimate()
    return _trained(x, x.train, x.data.selection.examples or x.data.pool.rows)


def pretraining(x: PointConfig) -> CostEstimate:
    """What a fresh model learns before it is a base model."""
    lesson = x.model.pretraining
    return CostEstimate() if lesson is None else _trained(x, lesson.train, lesson.examples)


def training_memory(x: PointConfig) -> Memory | None:
    """What fine-tuning takes on each device; None: nothing is trained, or nobody says how large the model is."""
    if x.train is None or x.data.pool is None or x.model.shape is None:
        return None
    return memory(x.model.shape, x.train, filled(x.machine, x.train.batch_size))


def does_not_fit(x: PointConfig) -> list[str]:
    """Why fine-tuning cannot run on this machine whatever the rows: at most one line, with the mend."""
    need = training_memory(x)
    if need is None or x.train is None or not need.hopeless:
        return []
    devices = filled(x.machine, x.train.batch_size).devices
    return [
        f"machine.memory_gib {x.machine.memory_gib:g}: weights, gradients and optimiser of {x.model.name} alone take"
        f" {need.resident_gib:.0f} GiB on each of {devices}. Choose train=lora or train=qlora, or more GPUs."
    ]


def solver_generation(x: PointConfig) -> CostEstimate:
    """One solver's answers to a whole pool."""
    if x.data.pool is None:
        return CostEstimate()
    tokens = x.data.pool.rows * (x.cost.natural_thinking_tokens + x.cost.natural_answer_tokens)
    return _priced(tokens, tokens / x.cost.generate_tokens_per_second, x.cost)


def chat_requests(endpoint: Endpoint, questions: int, prompt_tokens: int, reply_tokens: int) -> CostEstimate:
    """A model behind an endpoint, asked once about every row: no device of ours, but a price."""
    tokens = questions * reply_tokens
    return CostEstimate(tokens, 0.0, endpoint.usd(questions * prompt_tokens, tokens))


def generation(points: Sequence[PointConfig], questions: int) -> list[CostEstimate]:
    """One estimate per point; `points` share a continuation store unless they say otherwise."""
    charged = 0
    estimates = []
    for x in points:
        need = generated_tokens(x.request, x.cost, questions * x.generate.samples)
        thinking = max(0, need.thinking - charged) if x.generate.share else need.thinking
        charged = max(charged, need.thinking)
        tokens = thinking + need.answer
        estimates.append(_priced(tokens, tokens / x.cost.generate_tokens_per_second, x.cost))
    return estimates


def shard_estimates(whole: CostEstimate, count: int, cost: Cost) -> list[CostEstimate]:
    """The same generation by so many workers: each has its start-up."""
    seconds = max(0.0, whole.device_seconds - cost.seconds_per_stage) / count
    return [_priced((whole.tokens + index) // count, seconds, cost) for index in range(count)]


def generated_tokens(request: ComputeRequest, cost: Cost, traces: int) -> GeneratedTokens:
    """Tokens of one point from scratch, for so many traces."""
    thinking = method_of(request).expected_thinking_tokens(request, cost.natural_thinking_tokens)
    answer, cap = cost.natural_answer_tokens, request.budget.answer_tokens
    return GeneratedTokens(thinking * traces, (answer if cap is None else min(cap, answer)) * traces)


def overhead(cost: Cost) -> CostEstimate:
    """A worker's start-up, for a stage that generates nothing."""
    return CostEstimate(0, cost.seconds_per_stage, cost.seconds_per_stage * cost.usd_per_device_hour / 3600)


def usage_lines(summaries: Mapping[str, Summary]) -> list[str]:
    """What generation and endpoints took, by the summaries of all stages."""
    return [*_generated(summaries), *(_paid(address, each) for address, each in summaries.items() if ENDPOINT in each)]


def _paid(address: str, summary: Summary) -> str:
    """A reply of unknown usage was not free, so it is named."""
    unknown = f", and {summary[ENDPOINT]} replies of unknown usage" if summary[ENDPOINT] else ""
    return f"{address}: {summary['completion_tokens'] or 0:,} tokens for {summary['usd'] or 0:.2f} USD{unknown}"


def _generated(summaries: Mapping[str, Summary]) -> list[str]:
    """How much was shared, how much the engine's cache had."""
    answers = [summary for address, summary in summaries.items() if address.startswith("traces/")]

    def total(name: str) -> int:
        return sum(int(summary[name] or 0) for summary in answers)

    sampled, wanted, prompt = total("engine_tokens"), total("sampled_tokens"), total("prompt_tokens")
    lines = [f"generation: {sampled:,} tokens sampled, where each point from scratch would take {wanted:,}"]
    if prompt:
        cached = total("cached_tokens")
        lines.append(
            f"prompts: {prompt:,} tokens, {cached:,} of them ({cached / prompt:.0%}) found in the engine's cache"
        )
    return lines if answers else []


def _trained(x: PointConfig, train: Train, examples: int) -> CostEstimate:
    row = min(x.cost.tokens_per_example, train.block_size)
    tokens = training_tokens(train, examples, row)
    return _priced(
        tokens, _training_seconds(x, train, tokens, row), x.cost, filled(x.machine, train.batch_size).devices
    )


def _training_seconds(x: PointConfig, train: Train, tokens: int, row_tokens: int) -> float:
    """Of one device, for all of it."""
    cost, shape = x.cost, x.model.shape
    if cost.train_tokens_per_second is not None:
        return tokens / cost.train_tokens_per_second
    if shape is None:
        raise ConfigError(
            f"model.shape null: training of {x.model.name} is estimated by FLOPs. Give its sizes, or"
            " cost.train_tokens_per_second in place of cost.mfu."
        )
    flops = training_flops(shape, train.method, x.machine.gradient_checkpointing, tokens, row_tokens)
    return device_seconds(flops, cost.peak_tflops or 0.0, cost.mfu or 0.0)


def _priced(tokens: int, seconds: float, cost: Cost, devices: int = 1) -> CostEstimate:
    """Seconds of all devices together; each of them has its start-up."""
    seconds = (seconds + devices * cost.seconds_per_stage) if tokens else 0.0
    return CostEstimate(tokens, seconds, seconds * cost.usd_per_device_hour / 3600)
