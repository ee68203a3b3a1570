"""What makes a model, a task, a data recipe or a training impossible, told by field, value and mend."""

from __future__ import annotations

import re

from s1.config import Architecture, ConfigError, Dial, Dialect, Model, ModelKind, Task, Train
from s1.data.dial import Family
from s1.recipe import Data, PoolKind, Selection
from s1.resources import Machine, filled
from s1.train.limits import check_recipe
from s1.train.order import accumulation_steps

HELD_OUT_QUESTIONS_PER_PROBLEM = 8
NOT_FOR_TEMPLATES = (  # parameters of `apply_chat_template` itself
    *("conversation", "messages", "chat_template", "template", "tokenize", "add_generation_prompt", "padding"),
    *("continue_final_message", "truncation", "max_length", "return_tensors", "return_dict", "tokenizer_kwargs"),
    *("return_assistant_tokens_mask", "tools", "documents"),
)
REPO = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
REVISION = re.compile(r"[\w./+-]+", re.ASCII)  # a commit, a branch or a tag


def check_model(field: str, model: Model) -> None:
    """A model that can be found and loaded; `field` is its place in the configuration."""
    if model.kind is ModelKind.HUB:
        check_hub(field, model.repo, model.revision)
    if model.kind is ModelKind.DIRECTORY and model.architecture is not None:
        raise ConfigError(
            f"{field}.kind directory: {field}={model.name} is made here, and a directory holds another. Choose"
            f" {field}=own {field}.repo=DIR dialect@{field}.dialect=NAME."
        )
    if model.kind is ModelKind.FRESH and model.architecture is None:
        raise ConfigError(f"{field}.architecture null: a fresh model needs one. Copy it from conf/model/laptop.yaml.")
    if model.kind is not ModelKind.FRESH and not model.repo:
        raise ConfigError(f"{field}.repo null: nothing to load. Name a hub repository, a package or a directory.")
    if model.architecture is not None:
        _check_heads(f"{field}.architecture", model.architecture)
    if model.kind is ModelKind.FRESH and model.dial is None:
        raise ConfigError(f"{field}.dial null: a fresh model needs words. Set it to ${{dial}}.")
    check_dialect(f"{field}.dialect", model.dialect)


def _check_heads(field: str, architecture: Architecture) -> None:
    """Each head has an even number of dimensions, which rotary positions turn in pairs."""
    hidden, heads = architecture.hidden_size, architecture.heads
    if hidden % (2 * heads):
        raise ConfigError(
            f"{field}.hidden_size {hidden}: not {heads} heads of an even size. Give a multiple of {2 * heads}."
        )


def check_dialect(field: str, dialect: Dialect) -> None:
    """What no tokenizer could mend; whether a model's tokenizer knows the delimiters is asked when it is loaded."""
    if dialect.prompt is not None and "{question}" not in dialect.prompt:
        raise ConfigError(
            f"{field}.prompt {dialect.prompt!r}: no {{question}} in it. Write {{question}} where it belongs."
        )
    if dialect.prompt is not None and dialect.system is not None:
        raise ConfigError(
            f"{field}.system {dialect.system!r}: only a chat template has a place for it. Write it into prompt."
        )
    if dialect.template_arguments is not None:
        _check_template_arguments(f"{field}.template_arguments", dialect)
    if not dialect.answer_stops:
        raise ConfigError(f"{field}.answer_stops []: no answer would end. Name the model's end of turn.")
    for name in ("thinking_stops", "answer_stops"):
        if "" in getattr(dialect, name):
            raise ConfigError(f"{field}.{name} '': an empty text stops everywhere. Leave it out.")
    if dialect.thinking_stops and not dialect.thinking_end:
        raise ConfigError(
            f"{field}.thinking_end '': nothing would part thinking and answer. Write what the model writes there."
        )


def _check_template_arguments(field: str, dialect: Dialect) -> None:
    """Whether a model's template uses them is asked when it is loaded."""
    for name in dialect.template_arguments or {}:
        if dialect.prompt is not None:
            raise ConfigError(f"{field}.{name}: only a chat template takes it. Set {field}=null, or prompt to null.")
        if name in NOT_FOR_TEMPLATES:
            raise ConfigError(f"{field}.{name}: decided by the sweep. Leave it out.")


def check_task(field: str, task: Task) -> None:
    """A task whose rows are pinned; whether it has any, its YAML may say (s1/asking.py)."""
    if task.data_file is None and task.dial is not None:
        _check_dial_task(field, task.problems, task.dial)
    if task.data_file is not None or task.dial is not None or task.hub is None:
        return
    check_hub(f"{field}.hub", task.hub.repo, task.hub.revision)


def check_data(data: Data) -> None:
    """A pool that has traces, solvers and evaluations that are pinned, and a selection that the pool allows."""
    pool = data.pool
    if pool is None:
        return
    if pool.rows < 1:
        raise ConfigError(f"data.pool.rows {pool.rows}: below 1. Raise it.")
    if pool.kind is PoolKind.HUB and pool.hub is not None:
        check_hub("data.pool.hub", pool.hub.repo, pool.hub.revision)
    if pool.columns.thinking is None and data.teacher is None and pool.conversation is None:
        raise ConfigError("data.pool.columns.thinking null: nothing to learn from. Name the column, or a data.teacher.")
    for name, task in data.evaluations.items():
        check_task(f"data.evaluations.{name}", task)
    for name, solver in data.difficulty.solvers.items() if data.difficulty else ():
        check_model(f"data.difficulty.solvers.{name}", solver)
    _check_selection(data, data.selection)


def _check_selection(data: Data, selection: Selection) -> None:
    """Asked now, and not when the solvers have answered the whole pool."""
    pool = data.pool
    if pool is None or pool.kind is PoolKind.DIAL:
        return
    one_source = pool.conversation is not None or pool.columns.source is None
    for name in ("seed_set", "tail"):
        if one_source and getattr(selection, name) is not None:
            raise ConfigError(
                f"data.selection.{name}: speaks of sources, and data.pool.columns.source is null."
                f" Name that column, or set data.selection.{name}=null."
            )
    has_domains = data.labels is not None or (pool.conversation is None and pool.columns.domain is not None)
    if selection.tail is not None and not has_domains:
        raise ConfigError(
            "data.selection.tail: weighs domains, and the only domains here are the sources themselves."
            " Add +teacher@data.labels.teacher=NAME or data.pool.columns.domain=NAME, or set it to null."
        )


def check_training(train: Train, machine: Machine, dialect: Dialect) -> None:
    """A recipe that the machine can keep to, and a dialect whose thinking can be learned."""
    check_recipe(train, machine.device)
    if not dialect.thinking_start:
        raise ConfigError(
            "model.dialect.thinking_start '': trace and answer would be learned as one text."
            " Choose dialect@model.dialect=s1, or another that opens the thinking."
        )
    devices = filled(machine, train.batch_size).devices
    accumulation_steps(train.batch_size, max(1, min(machine.micro_batch, train.batch_size // devices)), devices)


def _check_dial_task(field: str, problems: int, dial: Dial) -> None:
    """Of the quarter of a family's questions that training never sees, at most half."""
    most = Family(dial).questions // HELD_OUT_QUESTIONS_PER_PROBLEM
    if not 1 <= problems <= most:
        raise ConfigError(
            f"{field}.problems {problems}: not from 1 to {most}, an eighth of the family's questions. Change it, or"
            " widen dial.turns_max."
        )


def check_hub(field: str, repo: str | None, revision: str | None) -> None:
    """A repository of the hub, at a commit or at a name that can be resolved to one (s1/pinning.py)."""
    if repo is not None and not REPO.fullmatch(repo):
        raise ConfigError(f"{field}.repo {repo!r}: no name of a repository of the hub. Write OWNER/NAME.")
    if revision is not None and not REVISION.fullmatch(revision):
        raise ConfigError(
            f"{field}.revision {revision!r}: no commit, branch or tag. Give a 40-hex commit, or null and run"
            " `python -m sweep pin` with the same overrides."
        )
