"""Merge the graphs of all points into one plan: reuse finished stages and order the rest. Does no I/O.

needed   unfinished targets and their unfinished dependencies, down to the first finished stage on each path
reused   finished stages that a target depends on
units    work of one process: a single stage, or all needed stages of one batch and worker
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from sweep.core.identity import Identity
from sweep.core.stage import Stage
from sweep.errors import SweepError
from sweep.plain_values import is_table


class PlanError(SweepError, ValueError):
    """A graph that cannot be ordered."""


@dataclass(frozen=True)
class Unit:
    """Stages made by one process."""

    stages: tuple[Stage, ...]

    @property
    def name(self) -> str:
        return self.stages[0].name

    @property
    def waits_for(self) -> frozenset[str]:
        """Addresses of stages that must finish first."""
        return frozenset(each.address for stage in self.stages for each in stage.dependencies())


@dataclass(frozen=True)
class Plan:
    needed: tuple[Stage, ...]  # each one after its inputs
    reused: tuple[Stage, ...]
    units: tuple[Unit, ...]


def plan(targets: Iterable[Stage], is_done: Callable[[Stage], bool]) -> Plan:
    """Deduplicate stages by key, skip finished ones, order the rest, and group batches."""
    needed: dict[str, Stage] = {}
    reused: dict[str, Stage] = {}
    for target in targets:
        _visit(target, is_done, needed, reused)
    return Plan(tuple(needed.values()), tuple(reused.values()), _units(needed.values()))


def _visit(stage: Stage, is_done: Callable[[Stage], bool], needed: dict[str, Stage], reused: dict[str, Stage]) -> None:
    """Visit stages depth first, inputs before the stage itself."""
    if stage.address in needed or stage.address in reused:
        return
    if is_done(stage):
        reused[stage.address] = stage
        return
    for each in stage.dependencies():
        _visit(each, is_done, needed, reused)
    needed[stage.address] = stage


def _units(stages: Iterable[Stage]) -> tuple[Unit, ...]:
    groups: dict[str, list[Stage]] = {}
    for stage in stages:
        together = f"{stage.run} {stage.batch} {stage.worker}" if stage.batch else stage.address
        groups.setdefault(together, []).append(stage)
    units = tuple(Unit(tuple(group)) for group in groups.values())
    _refuse_cycles(units)
    return units


def _refuse_cycles(units: Sequence[Unit]) -> None:
    """Raises PlanError if units wait for each other."""
    made_in = {stage.address: index for index, unit in enumerate(units) for stage in unit.stages}
    waits = {
        index: {made_in[address] for address in unit.waits_for if address in made_in}
        for index, unit in enumerate(units)
    }
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        cycle: list[int] = error.args[1]
        batch = units[min(cycle)].stages[0].batch
        raise PlanError(
            f"batch {batch!r}: its stages need each other. Use different batches for stages at different depths."
        ) from None


@dataclass(frozen=True)
class ConfigChange:
    """Differences between a stage and the most similar finished one."""

    nearest_key: str
    fields: Mapping[str, tuple[object, object]]  # by path: (finished stage, this stage)


def explain(identity: Identity, made: Mapping[str, Identity]) -> ConfigChange | None:
    """Compare with the finished stage (identity by key) that differs in the fewest fields; None if there is none."""
    here = flatten(identity)
    best: ConfigChange | None = None
    for key, other in made.items():
        there = flatten(other)
        names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
        if best is None or len(names) < len(best.fields):
            best = ConfigChange(key, {name: (there.get(name), here.get(name)) for name in names})
    return best


def flatten(value: object, prefix: str = "") -> dict[str, object]:
    """Flatten nested JSON to dotted names."""
    if is_table(value) and value:
        return {
            name: leaf for field, inner in value.items() for name, leaf in flatten(inner, f"{prefix}{field}.").items()
        }
    return {prefix.removesuffix("."): value}
