"""Replace branches and tags of hub repositories with the commits in `pins.lock`, and write that file.

Points are pinned before their stages are planned, so a stage has the same key whether the configuration or pins.lock
names its commit. A name without a commit can be planned, under a key that no run uses, but not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from s1.config.data import Data, Pool, PoolKind
from s1.config.reward import Reward, RewardKind
from s1.config.schema import ConfigError, Hub, Model, ModelKind, Task
from s1.hub.files import resolve
from s1.hub.pins import HubName, Pin, Pins, RepoKind, add_pin, name_of, read_pins
from s1.point import PointConfig
from s1.prefetch import ModelNeed, needs_of
from sweep.core.pipeline import SweepRequest
from sweep.core.stage import Stage

COMMAND = "python -m sweep "


def pinning_of(points: Sequence[PointConfig], request: SweepRequest) -> Pinning:
    """Collect the unpinned names of these points and read pins.lock. Raises ConfigError if the file is broken."""
    fields: dict[HubName, str] = {}
    for field, name, revision in (place for point in points for place in _places(point)):
        if not name.is_pinned:
            fields.setdefault(name, f"{field}.revision {'null' if revision is None else repr(revision)}")
    pins = read_pins(request.pins) if fields else {}
    return Pinning(fields, pins, request.pins, request.command.replace(COMMAND, f"{COMMAND}pin ", 1))


@dataclass(frozen=True)
class Pinning:
    """The unpinned hub names of a command, and the pins known for them."""

    fields: Mapping[HubName, str]  # field and value of each unpinned name, such as "model.revision null"
    pins: Pins
    path: Path  # pins.lock
    command: str  # the command that resolves them

    def pinned(self, point: PointConfig) -> PointConfig:
        """Replace names by commits where a pin exists. Returns the same object if nothing changes."""
        model, data, task, reward = (
            _model_at(point.model, self.pins),
            _data_at(point.data, self.pins),
            _task_at(point.task, self.pins),
            _reward_at(point.reward, self.pins),
        )
        if model is point.model and data is point.data and task is point.task and reward is point.reward:
            return point
        return replace(point, model=model, data=data, task=task, reward=reward)

    def unpinned(self, stages: Sequence[Stage]) -> list[str]:
        """One line for each unpinned name that these stages read."""
        return [
            f"{self.fields[name]}: {name.repo} is unpinned. Run `{self.command}` on a machine with network access."
            for name in _names_of(stages)
            if not name.is_pinned
        ]

    def pin(self, stages: Sequence[Stage], refresh: bool) -> Iterator[str]:
        """Resolve the names that these stages read and write pins.lock, yielding one line each.

        Raises ConfigError for names that cannot be resolved, after writing all others.
        """
        errors = []
        wanted = _names_of(stages)
        for name in sorted(self.fields, key=str):
            held = self.pins.get(name)
            if name not in wanted and (held is None or replace(name, revision=held.commit) not in wanted):
                continue  # no stage of this command reads it
            if held is not None and not refresh:
                yield f"kept    {name} = {held.commit}, resolved {held.resolved_at}"
                continue
            try:
                yield self._resolved(name, held)
            except ConfigError as error:
                errors.append(str(error))
        if errors:
            raise ConfigError("\n".join(errors))

    def _resolved(self, name: HubName, held: Pin | None) -> str:
        commit = resolve(self.fields[name].partition(" ")[0], name)
        if held is not None and held.commit == commit:
            return f"kept    {name} = {commit}, still what it stands for"
        add_pin(self.path, name, Pin(commit, datetime.now(UTC).isoformat(timespec="seconds")))
        return f"pinned  {name} = {commit}" if held is None else f"moved   {name}: {held.commit} -> {commit}"


def _names_of(stages: Sequence[Stage]) -> dict[HubName, None]:
    """Hub names that stages read, without duplicates, in the order of the stages."""
    needs = needs_of(stages)
    kinds = ((RepoKind.MODEL if isinstance(each, ModelNeed) else RepoKind.DATASET, each) for each in needs)
    return {name_of(kind, each.repo, each.revision): None for kind, each in kinds}


def _places(point: PointConfig) -> Iterator[tuple[str, HubName, str | None]]:
    """Yield every hub repository in a point as (field, name, revision as written)."""
    solvers = point.data.difficulty.solvers if point.data.difficulty else {}
    models = {"model": point.model, **{f"data.difficulty.solvers.{name}": each for name, each in solvers.items()}}
    for field, model in models.items():
        if model.kind is ModelKind.HUB and model.repo:
            yield field, name_of(RepoKind.MODEL, model.repo, model.revision), model.revision
    if point.reward is not None and point.reward.kind is RewardKind.HUB and point.reward.repo:
        yield "reward", name_of(RepoKind.MODEL, point.reward.repo, point.reward.revision), point.reward.revision
    pools = point.data.pool.places if point.data.pool else {}
    hubs = {f"{field}.hub": pool.hub if pool.kind is PoolKind.HUB else None for field, pool in pools.items()}
    tasks = {"task": point.task, **{f"data.evaluations.{name}": each for name, each in point.data.evaluations.items()}}
    hubs |= {f"{field}.hub": task.hub for field, task in tasks.items()}
    for field, hub in hubs.items():
        if hub is not None:
            yield field, name_of(RepoKind.DATASET, hub.repo, hub.revision), hub.revision


def _model_at(model: Model, pins: Pins) -> Model:
    if model.kind is not ModelKind.HUB or not model.repo:
        return model
    pin = pins.get(name_of(RepoKind.MODEL, model.repo, model.revision))
    return replace(model, revision=pin.commit) if pin else model


def _reward_at(reward: Reward | None, pins: Pins) -> Reward | None:
    if reward is None or reward.kind is not RewardKind.HUB or not reward.repo:
        return reward
    pin = pins.get(name_of(RepoKind.MODEL, reward.repo, reward.revision))
    return replace(reward, revision=pin.commit) if pin else reward


def _hub_at(hub: Hub | None, pins: Pins) -> Hub | None:
    pin = pins.get(name_of(RepoKind.DATASET, hub.repo, hub.revision)) if hub else None
    return replace(hub, revision=pin.commit) if hub and pin else hub


def _task_at(task: Task, pins: Pins) -> Task:
    hub = _hub_at(task.hub, pins)
    return task if hub is task.hub else replace(task, hub=hub)


def _pool_at(pool: Pool, pins: Pins) -> Pool:
    hub = _hub_at(pool.hub, pins)
    hubs = {name: _hub_at(source.pool.hub, pins) for name, source in pool.sources.items()}
    if hub is pool.hub and all(hubs[name] is source.pool.hub for name, source in pool.sources.items()):
        return pool
    sources = {
        name: replace(source, pool=replace(source.pool, hub=hubs[name])) for name, source in pool.sources.items()
    }
    return replace(pool, hub=hub, sources=sources)


def _data_at(data: Data, pins: Pins) -> Data:
    if data.pool and (pool := _pool_at(data.pool, pins)) is not data.pool:
        data = replace(data, pool=pool)
    evaluations = {name: _task_at(task, pins) for name, task in data.evaluations.items()}
    if any(evaluations[name] is not task for name, task in data.evaluations.items()):
        data = replace(data, evaluations=evaluations)
    difficulty = data.difficulty
    if difficulty is None:
        return data
    solvers = {name: _model_at(solver, pins) for name, solver in difficulty.solvers.items()}
    if any(solvers[name] is not solver for name, solver in difficulty.solvers.items()):
        data = replace(data, difficulty=replace(difficulty, solvers=solvers))
    return data
