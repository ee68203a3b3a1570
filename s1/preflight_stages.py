"""Plans the preflight: one stage for each kind of node that a plan uses (s1/preflight/stage.py makes it)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from s1.config.resources import JobKind, Machine, filled, resources_of, settings_of
from s1.point import PointConfig
from s1.prefetch import ModelNeed, needs_of
from s1.preflight.config import EngineNeed, Needs, PreflightConfig
from s1.stages import BaseModelConfig
from s1.train.memory import GIB
from sweep.core.stage import CodePolicy, Resources, Stage

VERSION = 1


def preflight_stages(
    points: Sequence[PointConfig], stages: Sequence[Stage], disk_bytes: int, asked_at: str
) -> tuple[Stage, ...]:
    """One stage for each kind of node that `stages` run on, with the resources of their jobs.

    `disk_bytes`: what the stages leave in the store, as far as it is known.
    """
    kinds = dict.fromkeys(_of_node(stage.resources) for stage in stages)
    needs = {kind: replace(_needs(points, stages, kind), disk_gib=disk_bytes / GIB or None) for kind in kinds}
    return tuple(_stage(PreflightConfig(asked_at, needs[kind]), kind) for kind in kinds)


def _of_node(resources: Resources) -> Resources:
    """What tells kinds of nodes apart; CPUs and memory of a job do not."""
    return Resources(resources.script, resources.nodes, devices=resources.devices, processes=resources.processes)


def _stage(config: PreflightConfig, resources: Resources) -> Stage:
    return Stage(
        name="preflight",
        version=VERSION,
        config=config,
        run="s1.preflight.stage:preflight",
        resources=resources,
        label=config.needs.kind,
        code=CodePolicy.EXPENSIVE,
    )


def _needs(points: Sequence[PointConfig], stages: Sequence[Stage], kind: Resources) -> Needs:
    here = [point for point in points if kind in _kinds_of(point)] or list(points)
    first, found = here[0].machine, needs_of(stages)
    return Needs(
        kind=_kind_text(kind),
        device=first.device if kind.devices else "cpu",
        gpus=kind.devices,
        memory_gib=first.memory_gib if kind.devices else None,
        disk_gib=None,
        engine=_engine(here) if kind.script == JobKind.GENERATE.value else None,
        models=[(each.repo, each.revision) for each in found if isinstance(each, ModelNeed)],
        datasets=[(each.repo, each.revision) for each in found if not isinstance(each, ModelNeed)],
    )


def _kinds_of(point: PointConfig) -> Iterable[Resources]:
    machine: Machine = point.machine
    yield _of_node(resources_of(JobKind.GENERATE, machine))
    if point.train is not None:
        yield _of_node(resources_of(JobKind.SFT, filled(machine, point.train.batch_size)))


def _engine(points: Sequence[PointConfig]) -> EngineNeed:
    """The engine of the point with the largest model."""
    largest = max(points, key=lambda point: point.model.shape.parameters if point.model.shape else 0)
    model, resources = largest.model, resources_of(JobKind.GENERATE, largest.machine)
    return EngineNeed(
        engine=largest.engine,
        settings=settings_of(largest.machine, largest.cost, resources),
        context_tokens=model.context_tokens,
        model=BaseModelConfig(
            model.kind, model.repo, model.revision, model.file, model.architecture, model.dial, model.seed
        ),
        model_name=model.name,
    )


def _kind_text(kind: Resources) -> str:
    nodes = f"{kind.nodes} node{'s' * (kind.nodes > 1)}"
    what = f"{kind.devices} GPU{'s' * (kind.devices > 1)}" if kind.devices else "no GPU"
    return f"{kind.script}, {nodes} x {what}"
