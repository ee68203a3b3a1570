"""Names of the hub and their commits: what is unpinned in a command's points, and what `pins.lock` makes of it.

A point gets its commits before its stages are made, so that a stage's key is that of the commit, whether this stands in
the configuration or in pins.lock. A name without a commit can be planned, under a key of its own, and cannot be run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from s1.config.data import Data, PoolKind
from s1.config.schema import ConfigError, Hub, Model, ModelKind, Task
from s1.hub.files import resolve
from s1.hub.pins import HubName, Pin, Pins, RepoKind, add_pin, name_of, read_pins
from s1.point import PointConfig
from s1.prefetch import ModelNeed, needs_of
from sweep.core.pipeline import SweepRequest
from sweep.core.stage import Stage

COMMAND = "python -m sweep "


def pinning_of(points: Sequence[PointConfig], request: SweepRequest) -> Pinning:
    """What is to be resolved for these points, and what pins.lock says of it. Raises ConfigError for a broken file."""
    fields: dict[HubName, str] = {}
    for field, name, revision in (place for x in points for place in _places(x)):
        if not name.is_pinned:
            fields.setdefault(name, f"{field}.revision {'null' if revision is None else repr(revision)}")
    pins = read_pins(request.pins) if fields else {}
    return Pinning(fields, pins, request.pins, request.command.replace(COMMAND, f"{COMMAND}pin ", 1))


@dataclass(frozen=True)
class Pinning:
    """The names of one command's points, and the pins that hold for them."""

    fields: Mapping[HubName, str]  # of each name that is no commit its place and value: "model.revision null"
    pins: Pins
    path: Path  # pins.lock
    command: str  # what resolves them

    def pinned(self, x: PointConfig) -> PointConfig:
        """The point at its commits, as far as there are pins; the same object if nothing changes."""
        model, data, task = _model_at(x.model, self.pins), _data_at(x.data, self.pins), _task_at(x.task, self.pins)
        if model is x.model and data is x.data and task is x.task:
            return x
        return replace(x, model=model, data=data, task=task)

    def unpinned(self, stages: Sequence[Stage]) -> list[str]:
        """A line for each name that these stages would read and that is no commit."""
        return [
            f"{self.fields[name]}: {name.repo} is unpinned. Run `{self.command}` where there is a network."
            for name in _names_of(stages)
            if not name.is_pinned
        ]

    def pin(self, stages: Sequence[Stage], refresh: bool) -> Iterator[str]:
        """Resolve the names that these stages read and write pins.lock, a line each.

        Raises ConfigError for those that could not be resolved, once all others are written.
        """
        faults = []
        wanted = _names_of(stages)
        for name in sorted(self.fields, key=str):
            held = self.pins.get(name)
            if name not in wanted and (held is None or replace(name, revision=held.commit) not in wanted):
                continue  # of another part of the configuration, which this command does not read
            if held is not None and not refresh:
                yield f"kept    {name} = {held.commit}, resolved {held.resolved_at}"
                continue
            try:
                yield self._resolved(name, held)
            except ConfigError as error:
                faults.append(str(error))
        if faults:
            raise ConfigError("\n".join(faults))

    def _resolved(self, name: HubName, held: Pin | None) -> str:
        commit = resolve(self.fields[name].partition(" ")[0], name)
        if held is not None and held.commit == commit:
            return f"kept    {name} = {commit}, still what it stands for"
        add_pin(self.path, name, Pin(commit, datetime.now(UTC).isoformat(timespec="seconds")))
        return f"pinned  {name} = {commit}" if held is None else f"moved   {name}: {held.commit} -> {commit}"


def _names_of(stages: Sequence[Stage]) -> dict[HubName, None]:
    """What stages read from the hub, each once, in their order."""
    needs = needs_of(stages)
    kinds = ((RepoKind.MODEL if isinstance(each, ModelNeed) else RepoKind.DATASET, each) for each in needs)
    return {name_of(kind, each.repo, each.revision): None for kind, each in kinds}


def _places(x: PointConfig) -> Iterator[tuple[str, HubName, str | None]]:
    """Everywhere in a point that a repository of the hub is named."""
    solvers = x.data.difficulty.solvers if x.data.difficulty else {}
    models = {"model": x.model, **{f"data.difficulty.solvers.{name}": each for name, each in solvers.items()}}
    for field, model in models.items():
        if model.kind is ModelKind.HUB and model.repo:
            yield field, name_of(RepoKind.MODEL, model.repo, model.revision), model.revision
    hubs = {"data.pool.hub": x.data.pool.hub if x.data.pool and x.data.pool.kind is PoolKind.HUB else None}
    tasks = {"task": x.task, **{f"data.evaluations.{name}": each for name, each in x.data.evaluations.items()}}
    hubs |= {f"{field}.hub": task.hub for field, task in tasks.items()}
    for field, hub in hubs.items():
        if hub is not None:
            yield field, name_of(RepoKind.DATASET, hub.repo, hub.revision), hub.revision


def _model_at(model: Model, pins: Pins) -> Model:
    if model.kind is not ModelKind.HUB or not model.repo:
        return model
    pin = pins.get(name_of(RepoKind.MODEL, model.repo, model.revision))
    return replace(model, revision=pin.commit) if pin else model


def _hub_at(hub: Hub | None, pins: Pins) -> Hub | None:
    pin = pins.get(name_of(RepoKind.DATASET, hub.repo, hub.revision)) if hub else None
    return replace(hub, revision=pin.commit) if hub and pin else hub


def _task_at(task: Task, pins: Pins) -> Task:
    hub = _hub_at(task.hub, pins)
    return task if hub is task.hub else replace(task, hub=hub)


def _data_at(data: Data, pins: Pins) -> Data:
    hub = _hub_at(data.pool.hub, pins) if data.pool else None
    if data.pool and hub is not data.pool.hub:
        data = replace(data, pool=replace(data.pool, hub=hub))
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
