"""What makes a model, a task, a data recipe or a training impossible, told by field, value and mend."""

from __future__ import annotations

import re

from s1.config import ConfigError, Dialect, Model, ModelKind, Task, Train
from s1.recipe import Data, PoolKind, Selection
from s1.resources import Machine, filled
from s1.train.limits import check_recipe
from s1.train.order import accumulation_steps

REPO = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
REVISION = re.compile(r"[\w./+-]+", re.ASCII)  # a commit, a branch or a tag


def check_model(field: str, model: Model) -> None:
    """A model that can be found and loaded; `field` is its place in the configuration."""
    if model.kind is ModelKind.HUB:
        check_hub(field, model.repo, model.revision)
    if model.kind is ModelKind.FRESH and model.architecture is None:
        raise ConfigError(f"{field}.architecture null: a fresh model needs one. Copy it from conf/model/laptop.yaml.")
    if model.kind is not ModelKind.FRESH and not model.repo:
        raise ConfigError(f"{field}.repo null: nothing to load. Name a hub repository, a package or a directory.")
    if model.kind is ModelKind.FRESH and model.dial is None:
        raise ConfigError(f"{field}.dial null: a fresh model needs words. Set it to ${{dial}}.")
    check_dialect(f"{field}.dialect", model.dialect)


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
    if not dialect.answer_stops:
        raise ConfigError(f"{field}.answer_stops []: no answer would end. Name the model's end of turn.")
    for name in ("thinking_stops", "answer_stops"):
        if "" in getattr(dialect, name):
            raise ConfigError(f"{field}.{name} '': an empty text stops everywhere. Leave it out.")
    if dialect.thinking_stops and not dialect.thinking_end:
        raise ConfigError(
            f"{field}.thinking_end '': nothing would part thinking and answer. Write what the model writes there."
        )


def check_task(field: str, task: Task) -> None:
    """A task whose rows are pinned; whether it has any, its YAML may say (s1/asking.py)."""
    if task.limit is not None:
        require_positive(f"{field}.limit", task.limit)
    if task.data_file is not None or task.dial is not None or task.hub is None:
        return
    check_hub(f"{field}.hub", task.hub.repo, task.hub.revision)


def check_data(data: Data) -> None:
    """A pool that has traces, solvers and evaluations that are pinned, and a selection that the pool allows."""
    pool = data.pool
    if pool is None:
        return
    require_positive("data.pool.rows", pool.rows)
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
    if selection.examples is not None:
        require_positive("data.selection.examples", selection.examples)
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


def require_positive(field: str, value: float) -> None:
    if value <= 0:
        raise ConfigError(f"{field} {value}: not positive. Give at least 1.")


def check_hub(field: str, repo: str | None, revision: str | None) -> None:
    """A repository of the hub, at a commit or at a name that can be resolved to one (s1/pinning.py)."""
    if repo is not None and not REPO.fullmatch(repo):
        raise ConfigError(f"{field}.repo {repo!r}: no name of a repository of the hub. Write OWNER/NAME.")
    if revision is not None and not REVISION.fullmatch(revision):
        raise ConfigError(
            f"{field}.revision {revision!r}: no commit, branch or tag. Give a 40-hex commit, or null and run"
            " `python -m sweep pin` with the same overrides."
        )
