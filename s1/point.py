"""PointConfig, one point of an experiment composed from all config groups, and its validation.

Validation happens at composition, for every point before anything runs. A value that no run could honour raises
ConfigError with one line: `<field> <value>: <what is wrong>. <what to do>.`
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

from s1.config.data import Data, PoolKind, PoolSource, Selection
from s1.config.paper import Paper
from s1.config.resources import Cost, Machine, Track, filled
from s1.config.reward import Reward, RewardKind
from s1.config.schema import (
    Architecture,
    Budget,
    Compare,
    ComputeRequest,
    ConfigError,
    Dial,
    EngineConfig,
    EngineKind,
    Generate,
    Model,
    ModelKind,
    Statistics,
    Task,
    ThinkingFormat,
    Train,
)
from s1.config.vllm_fields import check_vllm_fields
from s1.dial import Family
from s1.generate.methods.registry import Aggregator, inserts_warning, method_of
from s1.own_model import described
from s1.reward_points import check_reward, described_reward
from s1.train.order import accumulation_steps
from s1.train.validation import check_recipe
from sweep.core.launch import Launch
from sweep.core.pipeline import check_name
from sweep.core.ranges import FreeText, Seed, Text

HELD_OUT_QUESTIONS_PER_PROBLEM = 8
NOT_FOR_TEMPLATES = (  # parameters of `apply_chat_template` itself
    *("conversation", "messages", "chat_template", "template", "tokenize", "add_generation_prompt", "padding"),
    *("continue_final_message", "truncation", "max_length", "return_tensors", "return_dict", "tokenizer_kwargs"),
    *("return_assistant_tokens_mask", "tools", "documents"),
)
REPO = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
REVISION = re.compile(r"[\w./+-]+", re.ASCII)  # a commit, a branch or a tag


def check_model(field: str, model: Model) -> None:
    """Check that a model can be found and loaded; `field` is its place in the configuration."""
    if model.kind is ModelKind.HUB:
        check_hub(field, model.repo, model.revision)
    if model.kind is ModelKind.DIRECTORY and model.architecture is not None:
        raise ConfigError(
            f"{field}.kind directory: {field}={model.name} creates its own weights and cannot load a directory."
            f" Choose {field}=own {field}.repo=DIR thinking_format@{field}.thinking_format=NAME."
        )
    if model.kind is ModelKind.FRESH and model.architecture is None:
        raise ConfigError(f"{field}.architecture null: a fresh model needs one. Copy it from conf/model/laptop.yaml.")
    if model.kind is not ModelKind.FRESH and not model.repo:
        raise ConfigError(f"{field}.repo null: nothing to load. Name a hub repository, a package or a directory.")
    if model.architecture is not None:
        _check_heads(f"{field}.architecture", model.architecture)
    if model.kind is ModelKind.FRESH and model.dial is None:
        raise ConfigError(f"{field}.dial null: a fresh model needs words for its tokenizer. Set it to ${{dial}}.")
    check_thinking_format(f"{field}.thinking_format", model.thinking_format)


def _check_heads(field: str, architecture: Architecture) -> None:
    """Each head needs an even number of dimensions, because rotary positions rotate them in pairs."""
    hidden, heads = architecture.hidden_size, architecture.heads
    if hidden % (2 * heads):
        raise ConfigError(
            f"{field}.hidden_size {hidden}: not a multiple of 2 x {heads} heads. Give a multiple of {2 * heads}."
        )


def check_thinking_format(field: str, thinking_format: ThinkingFormat) -> None:
    """Check what holds for every tokenizer. Whether a model's tokenizer knows the delimiters is checked on loading."""
    if thinking_format.prompt is not None and "{question}" not in thinking_format.prompt:
        raise ConfigError(
            f"{field}.prompt {thinking_format.prompt!r}: no {{question}} in it. Write {{question}} where it belongs."
        )
    if thinking_format.prompt is not None and thinking_format.system is not None:
        raise ConfigError(
            f"{field}.system {thinking_format.system!r}: only a chat template uses it. Write it into prompt."
        )
    if thinking_format.template_arguments is not None:
        _check_template_arguments(f"{field}.template_arguments", thinking_format)
    if not thinking_format.answer_stops:
        raise ConfigError(f"{field}.answer_stops []: no answer would end. Give the model's end-of-turn token.")
    for name in ("thinking_stops", "forced_stops", "answer_stops"):
        if "" in getattr(thinking_format, name):
            raise ConfigError(f"{field}.{name} '': an empty text stops everywhere. Remove it.")
    _check_warning(field, thinking_format)
    if thinking_format.thinking_stops and not thinking_format.thinking_end:
        raise ConfigError(
            f"{field}.thinking_end '': nothing would separate thinking from answer. Give the text that the model"
            " writes there."
        )


def _check_warning(field: str, thinking_format: ThinkingFormat) -> None:
    warning, share = thinking_format.warning, thinking_format.warning_share
    if warning is not None and share is None:
        raise ConfigError(
            f"{field}.warning_share null: no place for the warning. Give a share of the maximum, such as 0.8."
        )
    if warning is None and share is not None:
        raise ConfigError(f"{field}.warning_share {share}: there is no warning. Write one, or set it to null.")
    _check_is_thinking(f"{field}.warning", warning or "", thinking_format)


def _check_is_thinking(field: str, text: str, thinking_format: ThinkingFormat) -> None:
    """Raises ConfigError for a text that is forced into the thinking and would end it, or has a mistyped new line."""
    for typed, meant in (("\\n", "a new line"), ("\\t", "a tab")):
        if typed in text:
            raise ConfigError(
                f"{field} {text!r}: contains a backslash and {typed[1]!r}. If you mean {meant},"
                f" write {typed} in double quotes, such as '{field}=\"{typed}Wait\"'; if you mean the two"
                " characters, choose other words."
            )
    markers = (
        thinking_format.thinking_start,
        *thinking_format.thinking_stops,
        *thinking_format.forced_stops,
        thinking_format.thinking_end,
        *thinking_format.answer_stops,
    )
    for marker in filter(None, (each.strip() for each in markers)):
        if marker in text:
            raise ConfigError(
                f"{field} {text!r}: contains the delimiter {marker!r}, which is not thinking. Choose other words."
            )


def _check_template_arguments(field: str, thinking_format: ThinkingFormat) -> None:
    """Check the names alone. Whether a model's template uses them is checked on loading."""
    for name in thinking_format.template_arguments or {}:
        if thinking_format.prompt is not None:
            raise ConfigError(
                f"{field}.{name}: only a chat template takes it. Set {field}=null, or set prompt to null."
            )
        if name in NOT_FOR_TEMPLATES:
            raise ConfigError(f"{field}.{name}: set by the sweep. Remove it.")


def check_task(field: str, task: Task) -> None:
    """Check the rows of a task. A task with none here may have them in its YAML (s1/evaluation_stages.py)."""
    if task.data_file is None and task.dial is not None:
        _check_dial_task(field, task.problems, task.dial)
    if task.data_file is not None or task.dial is not None or task.hub is None:
        return
    check_hub(f"{field}.hub", task.hub.repo, task.hub.revision)


def check_data(data: Data) -> None:
    """Check pool, evaluations and solvers, and that the pool has the columns that the selection needs."""
    pool = data.pool
    if pool is None:
        return
    if pool.expected_rows < 1:
        raise ConfigError(f"data.pool.rows {pool.rows}: below 1. Raise it.")
    for field, source in pool.places.items():
        _check_source(field, source, data)
    for name, task in data.evaluations.items():
        check_task(f"data.evaluations.{name}", task)
    for name, solver in data.difficulty.solvers.items() if data.difficulty else ():
        check_model(f"data.difficulty.solvers.{name}", solver)
    _check_selection(data, data.selection)


def _check_source(field: str, pool: PoolSource, data: Data) -> None:
    if pool.kind is PoolKind.HUB and pool.hub is not None:
        check_hub(f"{field}.hub", pool.hub.repo, pool.hub.revision)
    if pool.columns.thinking is None and data.teacher is None and pool.conversation is None:
        raise ConfigError(
            f"{field}.columns.thinking null: no traces to learn from. Name the column, or set data.teacher."
        )


def _check_selection(data: Data, selection: Selection) -> None:
    """Check before the solvers spend hours on the pool that it has the sources and domains to select by."""
    if data.pool is None:
        return
    several = data.pool.kind is PoolKind.MIXTURE
    for field, pool in data.pool.places.items():
        if pool.kind is not PoolKind.DIAL:
            _check_selection_from(field, pool, data, selection, several)


def _check_selection_from(field: str, pool: PoolSource, data: Data, selection: Selection, several: bool) -> None:
    """`several`: other sources stand beside this one, so that selecting by source makes sense."""
    one_source = not several and (pool.conversation is not None or pool.columns.source is None)
    for name in ("seed_set", "tail"):
        if one_source and getattr(selection, name) is not None:
            raise ConfigError(
                f"data.selection.{name}: selects by source, and {field}.columns.source is null."
                f" Name that column, or set data.selection.{name}=null."
            )
    has_domains = data.labels is not None or (pool.conversation is None and pool.columns.domain is not None)
    if selection.tail is not None and not has_domains:
        raise ConfigError(
            f"data.selection.tail: weighs domains, and {pool.name} has none besides its sources."
            f" Add +teacher@data.labels.teacher=NAME or {field}.columns.domain=NAME, or set it to null."
        )


def check_training(train: Train, machine: Machine, thinking_format: ThinkingFormat) -> None:
    """Check that the machine can run the recipe and that the thinking format marks the thinking."""
    check_recipe(train, machine.device)
    if not thinking_format.thinking_start:
        raise ConfigError(
            "model.thinking_format.thinking_start '': the model would learn trace and answer as one text."
            " Choose thinking_format@model.thinking_format=s1, or another that opens the thinking."
        )
    devices = filled(machine, train.batch_size).devices
    accumulation_steps(train.batch_size, max(1, min(machine.micro_batch, train.batch_size // devices)), devices)


def _check_dial_task(field: str, problems: int, dial: Dial) -> None:
    """Raises ConfigError for more problems than half of the held-out quarter of the family."""
    most = Family(dial).questions // HELD_OUT_QUESTIONS_PER_PROBLEM
    if not 1 <= problems <= most:
        raise ConfigError(
            f"{field}.problems {problems}: not from 1 to {most}, an eighth of the family's questions. Lower it, or"
            " raise dial.turns_max."
        )


def check_hub(field: str, repo: str | None, revision: str | None) -> None:
    """Check the spelling of a hub repository and its revision; s1/pinning.py resolves a branch or tag to a commit."""
    if repo is not None and not REPO.fullmatch(repo):
        raise ConfigError(f"{field}.repo {repo!r}: not a repository name. Write OWNER/NAME.")
    if revision is not None and not REVISION.fullmatch(revision):
        raise ConfigError(
            f"{field}.revision {revision!r}: not a commit, branch or tag. Give a 40-hex commit, or null and run"
            " `python -m sweep pin` with the same overrides."
        )


LEAST_TEMPERATURE = 0.01  # vLLM raises lower values to this


class Goal(Enum):
    """Where a command ends."""

    CURVE = "curve"  # evaluate models and report their scores
    DATA = "data"  # choose training examples and report the choice
    CHECKPOINT = "checkpoint"  # train models and report the training


@dataclass(frozen=True)
class PointConfig:
    """One point of an experiment, composed from all config groups."""

    name: Text  # names results/NAME/KEY and the W&B group
    goal: Goal  # which results the command makes
    claim: FreeText  # one sentence that the report compares with the numbers; empty: none
    seed: Seed  # seed of model, training, sampling and task, unless a group sets its own
    # an axis and a reference value: points along the axis are compared in pairs; null: none
    compare: Compare | None
    paper: Paper | None  # published numbers to show beside ours; null: none
    dial: Dial  # the laptop's family of problems
    model: Model  # the model that is trained or evaluated
    data: Data  # the training examples
    train: Train | None  # the fine-tuning recipe; null: none
    budget: Budget  # how much the model may or must think
    task: Task  # the questions of the evaluation
    engine: EngineConfig  # what generates tokens
    generate: Generate  # how tokens are sampled
    statistics: Statistics  # intervals and comparisons
    cost: Cost  # rates for estimates and prices; does not affect what is computed
    track: Track  # the mirror on W&B; does not affect what is computed
    machine: Machine  # the hardware; does not affect what is computed
    launch: Launch  # who runs the stages; does not affect what is computed
    reward: Reward | None = None  # the model that scores answers or steps; null: none

    @property
    def request(self) -> ComputeRequest:
        """The test-time compute that this point requests."""
        return ComputeRequest(self.budget, self.task.instruction)

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "model", described("model", self.model))
        object.__setattr__(self, "data", _with_described_solvers(self.data))
        object.__setattr__(self, "reward", described_reward(self.reward))
        for check in (
            _check_model,
            _check_data,
            _check_budget,
            _check_task,
            _check_generate,
            _check_engine,
            _check_reward,
        ):
            check(self)


def _with_described_solvers(data: Data) -> Data:
    if data.difficulty is None:
        return data
    solvers = {
        name: described(f"data.difficulty.solvers.{name}", solver) for name, solver in data.difficulty.solvers.items()
    }
    return replace(data, difficulty=replace(data.difficulty, solvers=solvers))


def _check_model(point: PointConfig) -> None:
    check_model("model", point.model)
    if point.model.kind is ModelKind.FRESH and point.data.pool is None and point.model.pretraining is None:
        raise ConfigError(
            "data none: a fresh model knows nothing before training. Choose data=dial_1k or another model."
        )
    _check_is_thinking("budget.continuation", point.budget.continuation, point.model.thinking_format)


def _check_data(point: PointConfig) -> None:
    check_data(point.data)
    if point.data.pool is None or point.goal is Goal.DATA:
        return
    if point.train is None:
        raise ConfigError(f"train null: data={point.data.name} needs a recipe. Choose train=laptop, or data=none.")
    check_training(point.train, point.machine, point.model.thinking_format)


def _check_budget(point: PointConfig) -> None:
    method_of(point.request).check(point.request, point.model.context_tokens)
    warning, maximum = point.model.thinking_format.warning, point.budget.max_thinking_tokens
    if warning is not None and maximum is not None and not inserts_warning(point.budget):
        name = method_of(ComputeRequest(point.budget)).name
        raise ConfigError(
            f"model.thinking_format.warning {warning!r}: the method {name} never"
            " inserts it. Choose a thinking format without a warning, or budget=max with budget.compat=corrected."
        )


def _check_task(point: PointConfig) -> None:
    check_task("task", point.task)


def _check_generate(point: PointConfig) -> None:
    if 0 < point.generate.temperature < LEAST_TEMPERATURE:
        raise ConfigError(
            f"generate.temperature {point.generate.temperature}: below {LEAST_TEMPERATURE}, where engines differ."
            " Use 0 for greedy decoding."
        )
    if point.generate.samples > 1 and point.generate.temperature == 0:
        raise ConfigError(
            f"generate.samples {point.generate.samples}: greedy samples are all equal. Set generate.temperature"
            " above 0."
        )
    method_of(point.request).check_samples(point.request, point.generate)


def _check_reward(point: PointConfig) -> None:
    method = method_of(point.request)
    if isinstance(method, Aggregator) and method.needs_rewards and point.reward is None:
        raise ConfigError(
            f"reward none: budget.aggregation={point.budget.aggregation.value} compares the rewards of answers."
            " Choose reward=laptop_prm, or another reward model."
        )
    wanted = method.reward_form(point.request)
    if wanted and (point.reward is None or point.reward.form is not wanted):
        given = "none" if point.reward is None else point.reward.name
        raise ConfigError(
            f"reward {given}: budget.forcing={point.budget.forcing.value} asks a reward model of form {wanted.value}."
            " Choose reward=laptop_prm, or another of that form."
        )
    if point.reward is None:
        return
    check_reward(point.reward, point.machine.device)
    if point.reward.kind is RewardKind.HUB:
        check_hub("reward", point.reward.repo, point.reward.revision)
    if point.reward.training is not None:
        check_model("reward.training.model", point.reward.training.model)


def _check_engine(point: PointConfig) -> None:
    machine, engine = point.machine, point.engine
    if machine.cache_gib is None and engine.device == "cpu":
        raise ConfigError(
            "machine.cache_gib null: on a CPU the memory for the cache is unknown. Give a number of GiB, such as 4."
        )
    if engine.kind is EngineKind.TRANSFORMERS and engine.tensor_parallel > 1:
        raise ConfigError(
            f"machine.tensor_parallel {engine.tensor_parallel}: engine=transformers keeps a model on one device."
            " Choose engine=vllm, or machine.tensor_parallel=1."
        )
    check_vllm_fields(machine, engine)
    devices = engine.tensor_parallel * machine.data_parallel
    if engine.device == "cuda" and devices > machine.gpus:
        raise ConfigError(
            f"machine.gpus {machine.gpus}: tensor_parallel {engine.tensor_parallel} x data_parallel"
            f" {machine.data_parallel} need {devices}. Lower one of them."
        )
