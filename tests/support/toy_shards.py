"""Squares of numbers, made in shards: a minimal batch stage with a joining stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sweep.core.stage import CodePolicy, Finished, Resources, Stage, Summary, Work

GPUS = Resources("generate", devices=2)
PRICE = {"usd_per_hour": 3600.0}


@dataclass(frozen=True)
class Squares:
    """Of 0, 1, ... up to `below`; a shard makes every `count`-th from `index` on."""

    below: int
    index: int = 0
    count: int = 1


def squares(works: Sequence[Work[Squares]]) -> Iterator[Finished]:
    for work in works:
        config = work.config
        made = [number * number for number in range(config.index, config.below, config.count)]
        (work.out / "squares.json").write_text(json.dumps(made), encoding="utf-8")
        (work.shared / f"worker-{config.index}").touch()
        yield Finished(work.key, {"made": len(made)})


def join(works: Sequence[Work[Squares]]) -> Iterator[Finished]:
    for work in works:
        made = sorted(each for shard in work.shards for each in squares_in(shard.out))
        (work.out / "squares.json").write_text(json.dumps(made), encoding="utf-8")
        yield Finished(work.key, {"made": sum(int(shard.summary["made"] or 0) for shard in work.shards)})


def total(work: Work[Squares]) -> Summary:
    return {"total": sum(each for path in work.inputs["squares"] for each in squares_in(path))}


def squares_in(product: Path) -> list[int]:
    return json.loads((product / "squares.json").read_text(encoding="utf-8"))


def squares_stage(below: int, shards: int = 1) -> Stage:
    whole = Stage(
        "squares",
        1,
        Squares(below),
        "tests.support.toy_shards:squares",
        settings=PRICE,
        batch="gpu",
        resources=GPUS,
        code=CodePolicy.EXPENSIVE,
    )
    if shards == 1:
        return whole
    found = (
        replace(whole, name="squares_shard", config=Squares(below, index, shards), worker=index)
        for index in range(shards)
    )
    return replace(whole, run="tests.support.toy_shards:join", shards=tuple(found), settings={}, resources=Resources())


def total_stage(shards: int) -> Stage:
    inputs = tuple(squares_stage(below, shards) for below in (5, 7))
    return Stage(
        "total", 1, Squares(0), "tests.support.toy_shards:total", {"squares": inputs}, code=CodePolicy.EXPENSIVE
    )
