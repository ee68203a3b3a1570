"""Stages with an hourly price, for the limits on the cost: each works until it is done, or until a limit stops it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweep.core.pipeline import CostEstimate, Graph, Workers
from sweep.core.spending import Limits
from sweep.core.stage import CodePolicy, Finished, Interrupted, Stage, Summary, Work

USD_PER_HOUR = 3_600_000.0  # a millisecond costs a dollar
STEP_S = 0.01


@dataclass(frozen=True)
class Spend:
    number: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Sum:
    name: str = "spenders"


def spent_stage(number: int, seconds: float = 0.0) -> Stage:
    """A priced stage, alone in its process."""
    settings = {"usd_per_hour": USD_PER_HOUR}
    return Stage(
        "spent", 1, Spend(number, seconds), "tests.support.spenders:spend", settings=settings, code=CodePolicy.EXPENSIVE
    )


def graph(stages: Sequence[Stage], limits: Limits, usd: float = 1.0) -> Graph:
    """The stages and a free one that waits for all of them; each is estimated at `usd`."""
    total = Stage("total", 1, Sum(), "tests.support.spenders:add", {"of": tuple(stages)}, code=CodePolicy.FINAL)
    return Graph(
        name="spenders",
        artifact=total,
        table=lambda directory: [{"total": (directory / "total.txt").read_text(encoding="utf-8")}],
        workers=Workers(1, 1),
        estimates={each.address: CostEstimate(1, 0.001 * usd, usd) for each in stages},
        on_finished=lambda stage, path: None,
        points=len(stages),
        remarks=lambda summaries: [],
        limits=limits,
    )


def spend(work: Work[Spend]) -> Summary:
    began = time.monotonic()
    steps = work.scratch / "steps"
    done = int(steps.read_text(encoding="utf-8")) if steps.exists() else 0
    while done * STEP_S < work.config.seconds:
        if work.is_over_limit():
            raise Interrupted(f"stopped after {done} steps")
        time.sleep(STEP_S)
        done += 1
        steps.write_text(str(done), encoding="utf-8")
    return {"seconds": time.monotonic() - began}


def pay(works: Sequence[Work[Spend]]) -> Iterator[Finished]:
    """Pay others a dollar for each number, unless a limit is reached."""
    for work in works:
        for _ in range(work.config.number):
            if work.is_over_limit():
                raise Interrupted("stopped")
            work.charge(1.0)
        yield Finished(work.key, {})


def add(work: Work[Sum]) -> Summary:
    (work.out / "total.txt").write_text(str(len(work.inputs["of"])), encoding="utf-8")
    return {}
