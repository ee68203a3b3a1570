"""Wall-clock time of a plan: its units on a number of workers, in the order in which they become ready. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from sweep.core.pipeline import CostEstimate
from sweep.plan.graph import Plan, Unit


@dataclass(frozen=True)
class WallTime:
    seconds: float  # from the start of the first unit to the end of the last one, without time in a queue
    is_complete: bool  # whether the time of every unit is known; if not, `seconds` is a lower bound


def wall_time(plan: Plan, estimates: Mapping[str, CostEstimate], workers: int | None) -> WallTime:
    """Simulate the plan: a unit starts when its inputs are finished and a worker is free. `workers` None: no limit."""
    count = min(workers or len(plan.units), len(plan.units))
    made_in = {stage.address: index for index, unit in enumerate(plan.units) for stage in unit.stages}
    waits = [{made_in[each] for each in unit.waits_for if each in made_in} - {i} for i, unit in enumerate(plan.units)]
    followers: list[list[int]] = [[] for _ in plan.units]
    for index, inputs in enumerate(waits):
        for each in inputs:
            followers[each].append(index)
    times = [_seconds(unit, estimates) for unit in plan.units]
    ready = [index for index, inputs in enumerate(waits) if not inputs]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < count:
            index = heapq.heappop(ready)
            heapq.heappush(running, (now + (times[index] or 0.0), index))
        now, done = heapq.heappop(running)
        for index in followers[done]:
            waits[index].discard(done)
            if not waits[index]:
                heapq.heappush(ready, index)
    return WallTime(now, None not in times)


def _seconds(unit: Unit, estimates: Mapping[str, CostEstimate]) -> float | None:
    """Time of one process that makes the stages of the unit one after the other; None: unknown."""
    seconds = [estimates[stage.address].wall_seconds for stage in unit.stages if stage.address in estimates]
    return None if None in seconds else sum(each or 0.0 for each in seconds)
