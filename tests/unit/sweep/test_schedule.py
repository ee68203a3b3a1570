"""Wall-clock time of a plan on a number of workers."""

from __future__ import annotations

from dataclasses import dataclass

from sweep.core.costs import Quantity, amount
from sweep.core.pipeline import CostEstimate
from sweep.core.stage import CodePolicy, Stage
from sweep.plan.graph import plan
from sweep.plan.schedule import wall_time


@dataclass(frozen=True)
class Numbered:
    number: int


def stage(number: int, *inputs: Stage) -> Stage:
    before = {"before": inputs} if inputs else {}
    return Stage("step", 1, Numbered(number), "tests.support.toy:number", before, code=CodePolicy.UPSTREAM)


def test_units_run_beside_each_other_as_far_as_inputs_and_workers_allow() -> None:
    parts = [stage(number) for number in range(4)]
    last = stage(9, *parts)
    work = plan([last], lambda stage: False)
    estimates = {each.address: CostEstimate(wall_seconds=10.0) for each in (*parts, last)}
    assert [wall_time(work, estimates, workers).seconds for workers in (1, 2, 4, None)] == [50, 30, 20, 20]


def test_an_unknown_time_makes_the_sum_a_lower_bound() -> None:
    first = stage(1)
    work = plan([stage(2, first)], lambda stage: False)
    found = wall_time(work, {first.address: CostEstimate(wall_seconds=None)}, 1)
    assert (found.seconds, found.is_complete) == (0.0, False)


def test_sums_keep_what_is_known_and_count_what_is_not() -> None:
    estimates = [CostEstimate(100, tokens_low=0.5, tokens_high=2.0), CostEstimate(None), CostEstimate(10)]
    total = amount(estimates, Quantity.TOKENS)
    assert (total.known, total.low, total.high, total.unknown) == (110, 60, 210, 1)
