"""A probe: a few questions at the largest point of a plan, answered to learn what the plan will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from s1.config.schema import Forcing
from s1.point import Goal, PointConfig
from s1.stages import ProbeConfig
from sweep.core.stage import Summary, Work


def probe_points(points: Sequence[PointConfig], config: ProbeConfig) -> list[PointConfig]:
    """For each model and task, a point with the largest budget and the most Waits, on a few questions drawn by seed."""
    groups: dict[tuple[str, str, str], list[PointConfig]] = {}
    for point in points:
        if point.goal is Goal.CURVE and point.budget.forcing is Forcing.BUDGET:
            groups.setdefault((point.model.name, point.data.name, point.task.name), []).append(point)
    return [_probed(_largest(members), config) for members in groups.values()]


def _largest(points: Sequence[PointConfig]) -> PointConfig:
    """The point with the most Waits, with the largest budget and the longest answers of all points."""
    most = max(points, key=lambda point: (point.budget.waits, _size(point.budget.max_thinking_tokens)))
    thinking = max((each.budget.max_thinking_tokens for each in points), key=_size)
    answer = max((each.budget.answer_tokens for each in points), key=_size)
    return replace(most, budget=replace(most.budget, max_thinking_tokens=thinking, answer_tokens=answer))


def _size(tokens: int | None) -> float:
    return float("inf") if tokens is None else tokens


def _probed(point: PointConfig, config: ProbeConfig) -> PointConfig:
    limit = config.questions if point.task.limit is None else min(point.task.limit, config.questions)
    task = replace(point.task, limit=limit, draw_seed=config.draw_seed)
    return replace(point, task=task, machine=replace(point.machine, shards=1))


def probe(work: Work[ProbeConfig]) -> Summary:
    """Write the places of the traces, one a line: estimates read the traces themselves (s1/earlier_runs.py)."""
    places = [f"{path.parent.parent.name}/{path.parent.name}" for path in work.inputs["traces"]]
    (work.out / "traces.txt").write_text("".join(f"{each}\n" for each in places), encoding="utf-8")
    return {"questions": work.config.questions, "stages": len(places)}
