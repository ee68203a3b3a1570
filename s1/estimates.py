"""Estimated cost of the stages of a plan, by stage address, and notes on the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from s1 import cost
from s1.config.data import Endpoint
from s1.config.schema import ModelKind, Task
from s1.cost import Generated
from s1.earlier_runs import EarlierRun, EarlierRuns
from s1.evaluate.task_files import TASKS, read_task, remarks, task_file
from s1.evaluation_stages import EvaluationStages
from s1.parallelism import idle_copies
from s1.point import Goal, PointConfig
from s1.stages import ChatConfig, LabelledConfig, RewardModelConfig
from s1.training_stages import TrainingStages
from sweep.core.identity import key_of
from sweep.core.pipeline import CostEstimate
from sweep.core.stage import Stage
from sweep.core.typed import typed
from sweep.places import expanded

QUESTION_TOKENS = 200  # of a long question
LABEL_PROMPT_TOKENS = 900  # the list of classes and a question
LABEL_TOKENS = 100  # a sentence or two and the code of a class
NOTED_MEMORY_GIB = 4  # every device has less than this
LAPTOP_TRACE_TOKENS = 64  # the laptop model's traces have about 30 tokens, so budgets up to this suit only it
LARGEST_BUDGET_TOKENS = 16_000  # in the suggested command; a shorter context lowers it
TRAINING_BYTES_PER_PARAMETER = 18  # weights, gradients and optimiser in mixed precision
SMALL_SHARE = 0.01  # of one device's memory


class PlannedPoint(Protocol):
    """The stages of one point."""

    @property
    def training(self) -> TrainingStages: ...
    @property
    def evaluation(self) -> EvaluationStages: ...


def estimates_of(
    points: Sequence[PointConfig], planned: Sequence[PlannedPoint], earlier: EarlierRuns | None = None
) -> dict[str, CostEstimate]:
    """Estimates of training, generation and API calls; other stages cost next to nothing.

    Lengths and speed come from `earlier` runs of the same model and task, or else from the rates in `cost`.
    Points that share a continuation store pay for their common thinking once (s1/cost.py). What points on different
    machines share, such as a solver, is made on the machine of the first of them, as planning does.
    """
    estimates: dict[str, CostEstimate] = {}
    starts = Starts(earlier.store.is_done if earlier else lambda stage: False)
    batches: dict[str, dict[str, tuple[PointConfig, EvaluationStages]]] = {}
    for point, stages in zip(points, planned, strict=True):
        training, evaluation = stages.training, stages.evaluation
        if training.curated is not None and point.goal is not Goal.DATA:
            estimates.setdefault(training.checkpoint.address, cost.training_estimate(point))
        if training.base is not None:
            estimates.setdefault(training.base.address, cost.pretraining(point))
        solvers = sorted(point.data.difficulty.solvers.items()) if point.data.difficulty else []
        for (_, model), solver in zip(solvers, training.solvers, strict=False):  # none where nothing is trained
            generated = cost.solver_generation(point, model)
            estimates = {**_by_shard(solver.traces, generated, point, starts), **estimates}
        estimates |= _endpoints(point, training)
        if evaluation.rewards is not None:
            estimates |= _rewards(point, evaluation.rewards)
        traces, questions = evaluation.traces, evaluation.questions
        thinking_format = replace(point.model.thinking_format, forced_end="")  # points that only end it differently
        shared = key_of([traces.batch, questions.key, point.generate, thinking_format])
        # Points of the same traces, such as several numbers of votes, pay for them once.
        batches.setdefault(shared, {}).setdefault(traces.address, (point, evaluation))
    for of_traces in batches.values():
        members = list(of_traces.values())
        sharing = [point for point, _ in members]
        runs = earlier.of(members[0][1].traces) if earlier else ()
        generated = cost.generation(sharing, question_count(sharing[0].task), runs)
        for (point, evaluation), each in zip(members, generated, strict=True):
            estimates |= _by_shard(evaluation.traces, each, point, starts)
    return estimates


class Starts:
    """Tells which stage starts its worker: the first one of a batch that is not finished (sweep/plan/graph.py)."""

    def __init__(self, is_done: Callable[[Stage], bool]) -> None:
        self._is_done = is_done
        self._first: dict[tuple[str, str, int], str] = {}

    def includes(self, stage: Stage) -> bool:
        if not stage.batch:
            return True
        worker = (stage.run, stage.batch, stage.worker)
        if worker not in self._first and not self._is_done(stage):  # read from the store only until it is found
            self._first[worker] = stage.address
        return self._first.get(worker) == stage.address


def _by_shard(traces: Stage, generated: Generated, point: PointConfig, starts: Starts) -> dict[str, CostEstimate]:
    """The estimate of a traces stage, or of each of its shards if it has any."""
    if not traces.shards:
        return {traces.address: cost.generation_estimate(generated, point, starts.includes(traces))}
    count = len(traces.shards)
    return {
        shard.address: cost.generation_estimate(generated.part(index, count), point, starts.includes(shard))
        for index, shard in enumerate(traces.shards)
    }


def _rewards(point: PointConfig, rewards: Stage) -> dict[str, CostEstimate]:
    """Training of the reward model, and its start: reading traces takes little beside writing them."""
    estimates = {rewards.address: cost.overhead(point.cost)}
    trained = (each for each in rewards.dependencies() if isinstance(each.config, RewardModelConfig))
    return estimates | {each.address: cost.reward_training(point) for each in trained}


def _endpoints(point: PointConfig, training: TrainingStages) -> dict[str, CostEstimate]:
    """API calls: a teacher writes traces as long as training examples; a label is short.

    The examples that rates of particular models (cost.models) were measured on say nothing about a teacher.
    """
    if training.curated is None or point.data.pool is None:
        return {}
    estimates: dict[str, CostEstimate] = {}
    for stage in _upstream(training.curated):
        if isinstance(stage.config, ChatConfig):
            tokens = (QUESTION_TOKENS, None if point.cost.models else point.cost.tokens_per_example)
        elif isinstance(stage.config, LabelledConfig):
            tokens = (LABEL_PROMPT_TOKENS, LABEL_TOKENS)
        else:
            continue
        estimates[stage.address] = cost.chat_requests(
            typed(Endpoint, stage.settings), point.data.pool.expected_rows, *tokens
        )
    return estimates


def _upstream(stage: Stage) -> Iterator[Stage]:
    """All stages that a stage depends on."""
    for each in stage.dependencies():
        yield each
        yield from _upstream(each)


def memory_notes(points: Sequence[PointConfig]) -> list[str]:
    """Memory of fine-tuning on each device, one line per model of known shape that needs more than every device has."""
    needs = [(point.model.name, cost.training_memory(point)) for point in points]
    large = [(name, need) for name, need in needs if need and need.parts.gib > NOTED_MEMORY_GIB]
    return list(dict.fromkeys(f"memory of fine-tuning {name}: {need.remark()}" for name, need in large))


def checkpoint_notes(points: Sequence[PointConfig]) -> list[str]:
    """What large trainings save while they run, one line each."""
    return [line for line in dict.fromkeys(map(cost.checkpoints_line, points)) if line is not None]


def forecast_notes(points: Sequence[PointConfig], planned: Sequence[PlannedPoint], earlier: EarlierRuns) -> list[str]:
    """Where the lengths and the speed of the estimate come from, one line per model and task."""
    groups: dict[tuple[str, str], list[tuple[PointConfig, Stage]]] = {}
    tasks: dict[tuple[str, str], list[str]] = {}  # by model and what is known
    for point, stages in zip(points, planned, strict=True):
        groups.setdefault((point.model.name, point.task.name), []).append((point, stages.evaluation.traces))
    for (model, task), members in groups.items():
        runs = earlier.of(members[0][1])
        lengths = next((run for run in runs if all(run.lengths.reaches(point.request) for point, _ in members)), None)
        tasks.setdefault((model, _source(members[0][0], lengths, any(run.speed for run in runs))), []).append(task)
    return [f"estimate of {model} on {', '.join(names)}: {source}" for (model, source), names in tasks.items()]


def _source(point: PointConfig, lengths: EarlierRun | None, has_speed: bool) -> str:
    """What the tokens and the time of generation are estimated from."""
    price = point.cost
    is_configured = price.holds_for(point.model.name)
    if lengths is not None:
        found = lengths.source
    elif is_configured:
        found = f"lengths: {price.natural_thinking_tokens:,} thinking tokens, not measured here ({price.source})"
    else:
        found = "lengths: unknown"
    if has_speed:
        speed = "speed: measured here"
    elif is_configured:
        together = f" with {price.generate_together} traces at once" if price.generate_together else ""
        speed = f"speed: {price.generate_tokens_per_second:,.0f} tokens/s of one copy{together}, as in cost"
    else:
        speed = "speed: unknown"
    is_unknown = not is_configured and (lengths is None or not has_speed)
    advice = ". Probe it: sweep plan --probe 20, with the same fields" if is_unknown else ""
    return f"{found}; {speed}{advice}"


def generation_notes(points: Sequence[PointConfig]) -> list[str]:
    """Memory of generation on each device of GPU machines, and copies that too few traces leave idle."""
    lines: list[str] = []
    for point in points:
        need, machine, shape = cost.memory_of_generation(point), point.machine, point.model.shape
        name = f"memory of generating with {point.model.name}"
        if machine.memory_gib is None:
            continue
        if need is None or shape is None:
            why = "model.shape is null" if shape is None else f"engine.dtype is {point.engine.dtype}"
            lines.append(f"{name}: unknown, as {why}")
            continue
        lines.append(f"{name}: {need.remark(point.model.context_tokens)}")
        traces = question_count(point.task) * point.generate.samples // shards_of(point)
        if line := idle_copies(cost.occupancy(machine, traces), shape.kv_heads):
            lines.append(f"{point.task.name}: {line}")
    return list(dict.fromkeys(lines))


def contamination_notes(points: Sequence[PointConfig]) -> list[str]:
    """Tasks that the training examples were not decontaminated against, one line each."""
    lines = [
        f"task {point.task.name}: data {point.data.name} was not decontaminated against it."
        f" Add it: +task@data.evaluations.{point.task.name}={point.task.name}"
        for point in points
        if point.data.filters and point.goal is Goal.CURVE and point.task.name not in point.data.evaluations
    ]
    return list(dict.fromkeys(lines))


def task_notes(points: Sequence[PointConfig]) -> list[str]:
    """Settings in the YAML of user tasks that have no effect, one line each."""
    files = {point.task.name: task_file(point.task.name) for point in points}
    own = [read_task(name, path) for name, path in files.items() if path.parent != TASKS]
    return [line for task in own for line in remarks(task)]


def budget_notes(points: Sequence[PointConfig]) -> list[str]:
    """Large models with budgets that suit only the laptop model, one line each."""
    lines = []
    for point in {each.model.name: each for each in points}.values():
        budgets = [each.budget.max_thinking_tokens for each in points if each.model.name == point.model.name]
        finite = [each for each in budgets if each is not None]
        if point.model.kind is ModelKind.FRESH or point.goal is not Goal.CURVE or not finite:
            continue
        if max(finite) > LAPTOP_TRACE_TOKENS:
            continue
        lines.append(
            f"budget.max_thinking_tokens {min(finite)} to {max(finite)}: such budgets suit the laptop model, but"
            f" {point.model.name} thinks in hundreds or thousands of tokens. Choose +experiment=s1_scan, with budgets"
            " of 512 to 16,384 tokens."
        )
    return lines


def machine_notes(points: Sequence[PointConfig]) -> list[str]:
    """Models that are far too small for their machine, one line each."""
    lines = []
    for point in {each.model.name: each for each in points}.values():
        if point.model.shape is None or point.machine.memory_gib is None:
            continue
        gib = point.model.shape.parameters * TRAINING_BYTES_PER_PARAMETER / 2**30
        if gib > SMALL_SHARE * point.machine.memory_gib:
            continue
        devices = point.machine.devices
        lines.append(
            f"machine: {devices} device{'s' * (devices > 1)} of {point.machine.memory_gib:g} GiB, but"
            f" {point.model.name} trains"
            f" in {gib:.2g} GiB. Choose machine=cpu, or a larger model for these devices."
        )
    return lines


def shards_of(point: PointConfig) -> int:
    """How many shards to divide the questions into: `machine.shards`, but at most one per question."""
    return 1 if point.machine.shards == 1 else max(1, min(point.machine.shards, question_count(point.task)))


def question_count(task: Task) -> int:
    """The expected number of questions of a task."""
    if task.data_file is not None:
        with expanded("task.data_file", task.data_file).open("rb") as file:
            count = sum(1 for line in file if line.strip())
    else:
        count = task.problems
    return min(count, task.limit) if task.limit else count
