"""Estimate the cost of a plan from the rates in `cost`, and report what generation took once it has run. Does no I/O.

training:    examples x epochs x tokens per example / training rate, or by FLOPs (s1/train/flops.py)
generation:  thinking + answer tokens (s1/lengths.py), measured in earlier runs or from the natural length in `cost`;
             wall-clock time = start + tokens / (copies x speed of one copy with so many traces), s1/parallelism.py,
             where a worker starts once for all its stages, and no more traces decode together than its memory holds;
             device time = wall-clock time x devices that the worker occupies
endpoints:   questions x (prompt tokens + reply tokens), each at the endpoint's price
disk:        weights of a checkpoint, and what training saves while it runs (s1/train/checkpoint_size.py); traces
             (s1/trace_size.py)
Points that share a continuation store also share their thinking: the longest is charged, the others add only answers.
What nothing was measured for, and what the rates in `cost` do not hold for (cost.models), is unknown: None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from s1.config.data import Data, Endpoint, Pool
from s1.config.resources import Cost, JobKind, Machine, filled, resources_of
from s1.config.schema import ConfigError, Model, Train
from s1.earlier_runs import EarlierRun, Speed
from s1.generation_memory import GenerationMemory, generation_memory
from s1.lengths import Spread, TokensOfQuestion, of_measured, of_published, spread
from s1.parallelism import Occupancy, speed_at
from s1.point import PointConfig
from s1.trace_size import BYTES_PER_TOKEN, stored_bytes
from s1.train.checkpoint_size import checkpoint_bytes, most_checkpoints
from s1.train.flops import device_seconds, training_flops, training_tokens
from s1.train.memory import BYTES, GIB, Memory, memory
from s1.train.order import total_steps
from sweep.core.pipeline import CostEstimate, Usage
from sweep.core.stage import Summary

ENDPOINT = "replies_without_usage"  # a key that only summaries of endpoint stages have

UNKNOWN = CostEstimate(None, None, None, None, None)


@dataclass(frozen=True)
class Generated:
    """Tokens of one traces stage, after what it shares with others. None: unknown."""

    tokens: float | None
    traces: int
    trace_tokens: float | None  # of the traces, what they share included
    spread: Spread
    bytes_per_token: float  # of traces.jsonl, ids and text
    speed: Speed | None  # of one copy; None: unknown
    fitting_traces: int | None = None  # that the memory of one copy holds at the same time; None: unknown

    def part(self, index: int, count: int) -> Generated:
        """One of `count` shards."""
        tokens = None if self.tokens is None else (int(self.tokens) + index) // count
        whole = None if self.trace_tokens is None else self.trace_tokens / count
        return replace(self, tokens=tokens, traces=max(1, self.traces // count), trace_tokens=whole)


def training_estimate(point: PointConfig) -> CostEstimate:
    """Fine-tuning of one checkpoint."""
    if point.train is None or point.data.pool is None:
        return CostEstimate()
    return _trained(point, point.train, _examples(point.data, point.data.pool))


def pretraining(point: PointConfig) -> CostEstimate:
    """Pretraining of a fresh model, if it has one."""
    config = point.model.pretraining
    return CostEstimate() if config is None else _trained(point, config.train, config.examples)


def reward_training(point: PointConfig) -> CostEstimate:
    """Training of the point's reward model, if it trains one."""
    training = point.reward.training if point.reward else None
    if training is None:
        return CostEstimate()
    if not point.cost.holds_for(training.model.name):
        return UNKNOWN
    row = min(point.cost.tokens_per_example, training.train.block_size)
    tokens = training_tokens(training.train, training.examples, row)
    seconds = _training_seconds(point, training.train, tokens, row, training.model)
    return _priced(tokens, seconds, point.cost)


def training_memory(point: PointConfig) -> Memory | None:
    """Memory of fine-tuning on each device; None if nothing is trained or the shape of the model is unknown."""
    if point.train is None or point.data.pool is None or point.model.shape is None:
        return None
    machine = filled(point.machine, point.train.batch_size)
    return memory(point.model.shape, point.train, machine, point.data.pool.longest_tokens)


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


def memory_of_generation(point: PointConfig) -> GenerationMemory | None:
    """Memory of one copy of the point's model on each device; None if its shape or the size of its dtype is unknown."""
    shape = point.model.shape
    return None if shape is None else generation_memory(shape, point.engine, point.machine)


def cannot_generate(point: PointConfig) -> list[str]:
    """Why the weights cannot be loaded on this machine, and what to change: at most one line."""
    need = memory_of_generation(point)
    if need is None or need.usable_gib is None or not need.surely_too_large:
        return []
    machine, dtype, weights = point.machine, point.engine.dtype, f"{need.weights_gib:.1f} GiB"
    if machine.cache_gib is not None and need.weights_gib <= need.usable_gib:
        return [
            f"machine.cache_gib {machine.cache_gib:g}: the weights of {point.model.name} in {dtype} take {weights} of"
            f" {machine.memory_gib:g} on each of {machine.tensor_parallel}. Lower it, or raise machine.tensor_parallel."
        ]
    return [
        f"machine.memory_gib {machine.memory_gib:g}: the weights of {point.model.name} in {dtype} alone take {weights}"
        f" on each of {machine.tensor_parallel}, where {need.usable_gib:g} may be used. Raise machine.tensor_parallel,"
        " or choose a smaller engine.dtype."
    ]


def solver_generation(point: PointConfig, solver: Model) -> Generated:
    """One solver answers every question of the pool."""
    cost, rows = point.cost, 0 if point.data.pool is None else point.data.pool.expected_rows
    whole = rows * (cost.natural_thinking_tokens + cost.natural_answer_tokens)
    tokens = whole if cost.holds_for(solver.name) else None
    return Generated(
        tokens,
        rows,
        tokens,
        Spread(1.0, 1.0),
        BYTES_PER_TOKEN,
        _configured_speed(cost, solver),
    )


def chat_requests(endpoint: Endpoint, questions: int, prompt_tokens: int, reply_tokens: int | None) -> CostEstimate:
    """One request per row to a model behind an endpoint; uses no device of ours, but has a price.

    `reply_tokens` None: unknown, so tokens, price and time are. The time of known requests is unknown too.
    """
    if reply_tokens is None:
        return CostEstimate(None, 0.0, None, None)
    tokens = questions * reply_tokens
    return CostEstimate(tokens, 0.0, endpoint.usd(questions * prompt_tokens, tokens), None)


def generation(points: Sequence[PointConfig], questions: int, runs: Sequence[EarlierRun]) -> list[Generated]:
    """Tokens of each point; `points` share a continuation store unless they say otherwise.

    `runs`: earlier runs of the same model and task, the most informative first.
    """
    measured = next((run for run in runs if all(run.lengths.reaches(point.request) for point in points)), None)
    first = points[0]
    if measured is not None:
        per_point = [of_measured(each.request, measured.lengths, each.model.context_tokens) for each in points]
    elif first.cost.holds_for(first.model.name):
        per_point = [[_published(each)] for each in points]
    else:
        per_point = [[] for _ in points]
    charged = _charged(points, per_point)
    of_group = [sum(each) for each in zip(*charged, strict=True)]
    is_greedy = all(point.generate.temperature == 0 for point in points)
    most = sum(sum(each) for each in _charged(points, [[_longest(each)] for each in points]))
    ends = spread(of_group, questions, is_greedy, most) if measured is not None else Spread(1.0, 1.0)
    speed = next((run.speed for run in runs if run.speed), None) or _configured_speed(first.cost, first.model)
    bytes_per_token = next((run.bytes_per_token for run in runs), BYTES_PER_TOKEN)
    return [
        Generated(
            _total(each, point, questions),
            questions * point.generate.samples,
            _total([tokens.thinking + tokens.answer for tokens in whole], point, questions),
            ends,
            bytes_per_token,
            speed,
            _fitting_traces(point, whole),
        )
        for point, each, whole in zip(points, charged, per_point, strict=True)
    ]


def _fitting_traces(point: PointConfig, whole: Sequence[TokensOfQuestion]) -> int | None:
    """Traces of mean length that the memory of one copy holds at the same time, at least one; None: unknown."""
    memory = memory_of_generation(point)
    tokens = sum(each.thinking + each.answer for each in whole) / len(whole) if whole else 0.0
    found = memory.traces_at_once(tokens) if memory is not None and tokens else None
    return None if found is None else max(1, found)


def _total(per_trace: Sequence[float], point: PointConfig, questions: int) -> float | None:
    """Tokens of all traces of a point, from those per trace of some questions; None if there are none."""
    return sum(per_trace) / len(per_trace) * questions * point.generate.samples if per_trace else None


def _charged(points: Sequence[PointConfig], per_point: Sequence[Sequence[TokensOfQuestion]]) -> list[list[float]]:
    """Tokens per trace that each point adds, by question, where a longer trace continues a shorter one."""
    longest = [0.0] * len(per_point[0])
    charged: list[list[float]] = []
    for point, questions in zip(points, per_point, strict=True):
        shares = point.generate.share
        charged.append(
            [max(0.0, each.thinking - had * shares) + each.answer for each, had in zip(questions, longest, strict=True)]
        )
        longest = [max(each.thinking, had) for each, had in zip(questions, longest, strict=True)]
    return charged


def _longest(point: PointConfig) -> TokensOfQuestion:
    """The most tokens that a trace can have."""
    context, cap = point.model.context_tokens, point.budget.answer_tokens
    return TokensOfQuestion(of_published(point.request, context, context), context if cap is None else cap)


def _published(point: PointConfig) -> TokensOfQuestion:
    """Tokens of a trace by the natural lengths in `cost`."""
    cost, cap = point.cost, point.budget.answer_tokens
    thinking = of_published(point.request, cost.natural_thinking_tokens, point.model.context_tokens)
    answer = cost.natural_answer_tokens
    return TokensOfQuestion(thinking, answer if cap is None else min(cap, answer))


def _configured_speed(cost: Cost, model: Model) -> Speed | None:
    if not cost.holds_for(model.name):
        return None
    return Speed(cost.generate_tokens_per_second, cost.generate_together, cost.seconds_per_stage)


def generation_estimate(generated: Generated, point: PointConfig, is_first: bool) -> CostEstimate:
    """Cost of a traces stage, or of a shard, on the copies of the point's machine; the first of a worker starts it."""
    tokens, speed, machine = generated.tokens, generated.speed, point.machine
    if tokens is None:
        return UNKNOWN
    disk = stored_bytes(generated.traces, generated.trace_tokens or 0.0, tokens, generated.bytes_per_token)
    if not tokens:
        return CostEstimate()
    if speed is None:
        low, high = generated.spread.low, generated.spread.high
        return replace(UNKNOWN, tokens=round(tokens), disk_bytes=disk, tokens_low=low, tokens_high=high)
    copies = min(machine.data_parallel, max(1, generated.traces))
    slots = occupancy(machine, generated.traces).together
    together = min(slots, generated.fitting_traces or slots)
    rate = speed_at(speed.tokens_per_second, speed.traces_together or together, together)
    start = speed.start_seconds if is_first else 0.0
    wall = start + tokens / (rate.middle * copies)
    seconds = wall * max(1, resources_of(JobKind.GENERATE, machine).devices)
    low, high = (
        (start + tokens * end / (each * copies)) / wall
        for end, each in ((generated.spread.low, rate.high), (generated.spread.high, rate.low))
    )
    return CostEstimate(
        tokens=round(tokens),
        device_seconds=seconds,
        usd=seconds * point.cost.usd_per_device_hour / 3600,
        wall_seconds=wall,
        disk_bytes=disk,
        tokens_low=generated.spread.low,
        tokens_high=generated.spread.high,
        time_low=low,
        time_high=high,
    )


def occupancy(machine: Machine, traces: int) -> Occupancy:
    """How many traces decode together on this machine."""
    return Occupancy(traces, machine.data_parallel, machine.slots, machine.tensor_parallel)


def overhead(cost: Cost) -> CostEstimate:
    """The start-up of a worker, for a stage that generates nothing."""
    seconds = cost.seconds_per_stage
    return CostEstimate(0, seconds, seconds * cost.usd_per_device_hour / 3600, seconds)


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
    if not point.cost.holds_for(point.model.name):
        return UNKNOWN
    row = min(point.cost.tokens_per_example, train.block_size)
    tokens = training_tokens(train, examples, row)
    seconds = _training_seconds(point, train, tokens, row, point.model)
    estimate = _priced(tokens, seconds, point.cost, filled(point.machine, train.batch_size).devices)
    shape = point.model.shape
    if shape is None:
        return replace(estimate, disk_bytes=None)
    kept = saved_checkpoints(point.machine, train, examples) * checkpoint_bytes(shape, train)
    return replace(estimate, disk_bytes=round(BYTES[train.dtype] * shape.parameters) + kept)


def saved_checkpoints(machine: Machine, train: Train, examples: int) -> int:
    """Checkpoints that lie on disk at the same time, at most, while `examples` are trained on."""
    steps = total_steps(examples, train)
    return most_checkpoints(steps, machine.checkpoint_every_steps, machine.checkpoint_every_minutes, machine.save_total)


def _examples(data: Data, pool: Pool) -> int:
    """How many examples a point trains on."""
    return data.selection.examples or pool.expected_rows


def checkpoints_line(point: PointConfig) -> str | None:
    """What training saves while it runs; None where that is less than a GiB or unknown."""
    if point.train is None or point.data.pool is None or point.model.shape is None:
        return None
    count = saved_checkpoints(point.machine, point.train, _examples(point.data, point.data.pool))
    size = checkpoint_bytes(point.model.shape, point.train)
    if count * size < GIB:
        return None
    return (
        f"checkpoints while {point.model.name} trains: at most {count} at a time, {size / GIB:,.0f} GiB each"
        f" (machine.save_total={point.machine.save_total})"
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
    return CostEstimate(tokens, seconds, seconds * cost.usd_per_device_hour / 3600, seconds / devices)
