"""A pipeline that leaks a secret of its environment wherever a stage can: in errors and output."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from sweep.core.pipeline import Graph, SweepRequest, Workers
from sweep.core.stage import CodePolicy, Stage, Summary, Work


@dataclass(frozen=True)
class Point:
    name: str


@dataclass(frozen=True)
class Leak:
    name: str


def graph(points: Sequence[Point], request: SweepRequest) -> Graph:
    leak = Stage("leak", 1, Leak(points[0].name), "tests.support.toy_leaky:leak", code=CodePolicy.FINAL)
    return Graph(
        name=points[0].name,
        artifact=leak,
        table=lambda directory: [{"total": "1"}],
        workers=Workers(1, 1),
        estimates={},
        on_finished=lambda stage, path: None,
        points=len(points),
        remarks=lambda summaries: [],
    )


def leak(work: Work[Leak]) -> Summary:
    if work.config.name == "sound":
        (work.out / "sound.txt").write_text("sound", encoding="utf-8")
        return {}
    raise RuntimeError(f"the server refused the key {os.environ['WANDB_API_KEY']}")
