"""A pipeline without language models, for the machinery's own tests: number -> doubled -> total."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.core.pipeline import CostEstimate, Graph, SharedReport, SweepRequest, Workers
from sweep.core.stage import CodePolicy, Finished, Stage, Summary, Work


@dataclass(frozen=True)
class Shape:
    number: int
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"shape.number {self.number}: negative. Use 0 or more.")


@dataclass(frozen=True)
class Point:
    name: str
    shape: Shape
    fail_at: int | None = None


@dataclass(frozen=True)
class Double:
    number: int
    fail: bool = False
    pause_s: float = 0.0


@dataclass(frozen=True)
class Total:
    of: str


def number_of(x: Point) -> Stage:
    return Stage("number", 1, Double(x.shape.number), "tests.support.toy:number", code=CodePolicy.UPSTREAM)


def doubled_of(x: Point) -> Stage:
    config = Double(x.shape.number, fail=x.shape.number == x.fail_at, pause_s=x.shape.pause_s)
    return Stage(
        "doubled",
        1,
        config,
        "tests.support.toy:double",
        {"number": (number_of(x),)},
        batch="toys",
        label=f"2 x {x.shape.number}",
        code=CodePolicy.EXPENSIVE,
    )


def graph(points: Sequence[Point], request: SweepRequest) -> Graph:
    total = Stage(
        "total",
        1,
        Total(points[0].name),
        "tests.support.toy:total",
        {"doubled": tuple(map(doubled_of, points))},
        code=CodePolicy.FINAL,
    )
    return Graph(
        name=points[0].name,
        artifact=total,
        table=lambda directory: [{"total": (directory / "total.txt").read_text(encoding="utf-8")}],
        workers=Workers(2, 1),
        estimates={total.address: CostEstimate(10, 3600.0, 1.5)},
        on_finished=lambda stage, path: (path / "seen").touch(),
        points=len(points),
        remarks=lambda summaries: [f"{len(summaries)} stages said something"],
    )


def shared(directory: Path) -> SharedReport:
    calls = (directory / "calls.txt").read_text(encoding="utf-8").splitlines()
    torn = tuple(f"calls.txt: line {at} torn" for at, line in enumerate(calls, start=1) if len(line.split()) != 2)
    return SharedReport((f"{len(calls)} calls",), torn)


def repair_shared(directory: Path) -> None:
    calls = (directory / "calls.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (directory / "calls.txt").write_text("".join(line for line in calls if len(line.split()) == 2), encoding="utf-8")


def number(work: Work[Double]) -> Summary:
    (work.out / "number.json").write_text(json.dumps(work.config.number), encoding="utf-8")
    return {"number": work.config.number}


def double(works: Sequence[Work[Double]]) -> Iterator[Finished]:
    for index, work in enumerate(works):
        with (work.shared / "calls.txt").open("a", encoding="utf-8") as calls:
            calls.write(f"{work.key} {os.getpid()}\n")
        work.report(index, len(works), "numbers")
        if work.config.fail:
            raise RuntimeError("doubling went wrong")
        time.sleep(work.config.pause_s)
        value = 2 * json.loads((work.one("number") / "number.json").read_text(encoding="utf-8"))
        (work.out / "doubled.json").write_text(json.dumps(value), encoding="utf-8")
        yield Finished(work.key, {"doubled": value})


def total(work: Work[Total]) -> Summary:
    value = sum(json.loads((path / "doubled.json").read_text(encoding="utf-8")) for path in work.inputs["doubled"])
    (work.out / "total.txt").write_text(str(value), encoding="utf-8")
    return {"total": value}
