"""Estimate the cost of a plan from the rates in `cost`, and report what generation took once it has run. Does no I/O.

training:    examples x epochs x tokens per example / training rate, or by FLOPs (s1/train/flops.py)
generation:  thinking + answer tokens / generation rate, where
             thinking = questions x samples x what the method expects (budget forcing: min(budget, natural length x
             (1 + waits)))
endpoints:   questions x (prompt tokens + reply tokens), each at the endpoint's price
Points that share a continuation store also share their thinking: the longest is charged, the others add only answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s1.config.data import Endpoint
from s1.config.resources import Cost, filled
from s1.config.schema import ComputeRequest, ConfigError, Model, Train
from s1.generate.methods.registry import method_of
from s1.point import PointConfig
from s1.train.flops import device_seconds, training_flops, training_tokens
from s1.train.memory import Memory, memory
from sweep.core.pipeline import CostEstimate, Usage
from sweep.core.stage import Summary

ENDPOINT = "replies_without_usage"  # a key that only summaries of endpoint stages have


@dataclass(frozen=True)
class GeneratedTokens:
    thinking: int
    answer: int


def training_estimate(point: PointConfig) -> CostEstimate:
    """Fine-tuning of one checkpoint."""
    if point.train is None or point.data.pool is None:
        return CostEstimate()
    return _trained(point, point.train, point.data.selection.examples or point.data.pool.expected_rows)


def pretraining(point: PointConfig) -> CostEstimate:
    """Pretraining of a fresh model, if it has one."""
    config = point.model.pretraining
    return CostEstimate() if config is None else _trained(point, config.train, config.examples)


def reward_training(point: PointConfig) -> CostEstimate:
    """Training of the point's reward model, if it trains one."""
    training = point.reward.training if point.reward else None
    if training is None:
        return CostEstimate()
    row = min(point.cost.tokens_per_example, training.train.block_size)
    tokens = training_tokens(training.train, training.examples, row)
    seconds = _training_seconds(point, training.train, tokens, row, training.model)
    return _priced(tokens, seconds, point.cost)


def training_memory(point: PointConfig) -> Memory | None:
    """Memory of fine-tuning on each device; None if nothing is trained or the shape of the model is unknown."""
    if point.train is None or point.data.pool is None or point.model.shape is None:
        return None
    return memory(point.model.shape, point.train, filled(point.machine, point.train.batch_size))


def does_not_fit(point: PointConfig) -> list[str]:
    """Why fine-tuning cannot fit this machine at any row length, and what to change: at most one line."""
    need = training_memory(point)
    if need is None or point.train is None or not need.fits_no_row:
        return []
    devices = filled(point.machine, point.train.batch_size).devices
    return [
        f"machine.memory_gib {point.machine.memory_gib:g}: weights, gradients and optimiser of {point.model.name}"
        f" alone take {need.resident_gib:.0f} GiB on each of {devices}. Choose train=lora or train=qlora, or more GPUs."
    ]


def solver_generation(point: PointConfig) -> CostEstimate:
    """One solver answers every question of the pool."""
    if point.data.pool is None:
        return CostEstimate()
    tokens = point.data.pool.expected_rows * (point.cost.natural_thinking_tokens + point.cost.natural_answer_tokens)
    return _priced(tokens, tokens / point.cost.generate_tokens_per_second, point.cost)


def chat_requests(endpoint: Endpoint, questions: int, prompt_tokens: int, reply_tokens: int) -> CostEstimate:
    """One request per row to a model behind an endpoint; uses no device of ours, but has a price."""
    tokens = questions * reply_tokens
    return CostEstimate(tokens, 0.0, endpoint.usd(questions * prompt_tokens, tokens))


def generation(points: Sequence[PointConfig], questions: int) -> list[CostEstimate]:
    """One estimate per point; `points` share a continuation store unless they say otherwise."""
    charged = 0
    estimates = []
    for point in points:
        need = generated_tokens(point.request, point.cost, questions * point.generate.samples)
        thinking = max(0, need.thinking - charged) if point.generate.share else need.thinking
        charged = max(charged, need.thinking)
        tokens = thinking + need.answer
        estimates.append(_priced(tokens, tokens / point.cost.generate_tokens_per_second, point.cost))
    return estimates


def shard_estimates(whole: CostEstimate, count: int, cost: Cost) -> list[CostEstimate]:
    """Divide generation among `count` workers, each with its own start-up time."""
    seconds = max(0.0, whole.device_seconds - cost.seconds_per_stage) / count
    return [_priced((whole.tokens + index) // count, seconds, cost) for index in range(count)]


def generated_tokens(request: ComputeRequest, cost: Cost, traces: int) -> GeneratedTokens:
    """Tokens of one point that shares nothing, for this many traces."""
    thinking = method_of(request).expected_thinking_tokens(request, cost.natural_thinking_tokens)
    answer, cap = cost.natural_answer_tokens, request.budget.answer_tokens
    return GeneratedTokens(thinking * traces, (answer if cap is None else min(cap, answer)) * traces)


def overhead(cost: Cost) -> CostEstimate:
    """The start-up of a worker, for a stage that generates nothing."""
    return CostEstimate(0, cost.seconds_per_stage, cost.seconds_per_stage * cost.usd_per_device_hour / 3600)


def usage(summary: Summary) -> Usage:
    """Tokens that a stage trained on, sampled or paid for, counted as in its estimate; and what an endpoint charged."""
    if ENDPOINT in summary:
        return Usage(int(summary["completion_tokens"] or 0), float(summary["usd"] or 0.0))
    tokens = summary.get("engine_tokens", summary["tokens"] if "train_loss" in summary else None)
    return Usage(None if tokens is None else int(tokens))


def usage_lines(summaries: Mapping[str, Summary]) -> list[str]:
    """Tokens that generation sampled and what endpoints charged, from the summaries of all stages."""
    return [*_generated(summaries), *(_paid(address, each) for address, each in summaries.items() if ENDPOINT in each)]


def _paid(address: str, summary: Summary) -> str:
    """Tokens and price; also counts replies without usage data, which were not free either."""
    unknown = f", and {summary[ENDPOINT]} replies of unknown usage" if summary[ENDPOINT] else ""
    return f"{address}: {summary['completion_tokens'] or 0:,} tokens for {summary['usd'] or 0:.2f} USD{unknown}"


def _generated(summaries: Mapping[str, Summary]) -> list[str]:
    """Tokens saved by sharing continuations, and by the prompt cache of the engine."""
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


def _trained(point: PointConfig, train: Train, examples: int) -> CostEstimate:
    row = min(point.cost.tokens_per_example, train.block_size)
    tokens = training_tokens(train, examples, row)
    return _priced(
        tokens,
        _training_seconds(point, train, tokens, row, point.model),
        point.cost,
        filled(point.machine, train.batch_size).devices,
    )


def _training_seconds(point: PointConfig, train: Train, tokens: int, row_tokens: int, model: Model) -> float:
    """Seconds that one device would take for all tokens."""
    cost, shape = point.cost, model.shape
    if cost.train_tokens_per_second is not None:
        return tokens / cost.train_tokens_per_second
    if shape is None:
        raise ConfigError(
            f"model.shape null: training of {model.name} is estimated by FLOPs. Give its sizes, or"
            " cost.train_tokens_per_second in place of cost.mfu."
        )
    flops = training_flops(shape, train.method, point.machine.gradient_checkpointing, tokens, row_tokens)
    return device_seconds(flops, cost.peak_tflops or 0.0, cost.mfu or 0.0)


def _priced(tokens: int, seconds: float, cost: Cost, devices: int = 1) -> CostEstimate:
    """The estimate for `seconds` summed over devices, plus the start-up of each device."""
    seconds = (seconds + devices * cost.seconds_per_stage) if tokens else 0.0
    return CostEstimate(tokens, seconds, seconds * cost.usd_per_device_hour / 3600)
