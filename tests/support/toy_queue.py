"""Stages without language models, for the mechanics of a queue.

stamp   notes when it was reached
make    the sum of its inputs and its own number; fails while the file that its settings name is not there
count   to a number, a step at a time, and keeps now and then where it is; told to stop, also then
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sweep.core.interrupt import stop_requests
from sweep.core.launch import Launch
from sweep.core.pipeline import Graph, Workers
from sweep.core.stage import CodePolicy, Interrupted, Resources, Stage, Summary, Work
from sweep.store.directory import read_json, write_json

EVERY = 10  # steps between what `count` keeps unasked


@dataclass(frozen=True)
class Make:
    number: int


@dataclass(frozen=True)
class Count:
    steps: int
    step_s: float = 0.1


def make_stage(name: str, number: int, *inputs: Stage, needs: Path | None = None, pause_s: float = 0.0) -> Stage:
    settings = {"needs": str(needs) if needs else None, "pause_s": pause_s}
    return Stage(
        name,
        1,
        Make(number),
        "tests.support.toy_queue:make",
        {"of": inputs} if inputs else {},
        settings,
        code=CodePolicy.EXPENSIVE,
    )


def elsewhere(stage: Stage) -> Stage:
    """Asking for something else than others do: in a job of its own."""
    return replace(stage, resources=Resources(cpus=8))


def count_stage(steps: int, step_s: float = 0.1) -> Stage:
    return Stage(
        "counted",
        1,
        Count(steps, step_s),
        "tests.support.toy_queue:count",
        resources=Resources("sft"),
        code=CodePolicy.EXPENSIVE,
    )


def graph(product: Stage, launch: Launch, name: str = "toy") -> Graph:
    return Graph(
        name=name,
        artifact=product,
        table=lambda directory: [{"value": (directory / "value.json").read_text(encoding="utf-8")}],
        workers=Workers(2, 1),
        estimates={},
        on_finished=lambda stage, path: None,
        points=1,
        remarks=lambda summaries: [],
        launch=launch,
    )


def stamp(work: Work[Make]) -> Summary:
    """When the stage function was reached, and when the batch script, the parent of this process, began."""
    now = time.time()
    ticks = int(Path(f"/proc/{os.getppid()}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
    booted = now - time.clock_gettime(time.CLOCK_BOOTTIME)
    return {"reached": now, "script_began": booted + ticks / os.sysconf("SC_CLK_TCK")}


def make(work: Work[Make]) -> Summary:
    needs = work.settings["needs"]
    if needs is not None and not Path(str(needs)).exists():
        raise RuntimeError(f"{needs} is not there")
    time.sleep(float(str(work.settings["pause_s"])))
    value = work.config.number + sum(value_of(path) for path in work.inputs.get("of", ()))
    (work.out / "value.json").write_text(json.dumps(value), encoding="utf-8")
    return {"value": value, "began": time.time()}


def value_of(product: Path) -> int:
    return int(json.loads((product / "value.json").read_text(encoding="utf-8")))


def count(work: Work[Count]) -> Summary:
    kept = work.scratch / "at.json"
    first = at = read_json(kept)["at"] if kept.exists() else 0
    with stop_requests() as stop_asked:
        while at < work.config.steps:
            time.sleep(work.config.step_s)
            at += 1
            with (work.scratch.parent / "steps.txt").open("a", encoding="utf-8") as steps:
                steps.write(f"{at} {os.environ.get('SLURMD_NODENAME')} {os.environ.get('SLURM_RESTART_COUNT', '0')}\n")
            work.report(at, work.config.steps, "steps")
            if at % EVERY == 0 or stop_asked():
                write_json(kept, {"at": at})
            if stop_asked():
                raise Interrupted(f"stopped after step {at}, and saved it")
    (work.out / "value.json").write_text(json.dumps(at), encoding="utf-8")
    return {"value": at, "resumed_at": first}


def steps_of(directory: Path) -> Sequence[list[str]]:
    """Every step that was made, with its node and the number of restarts."""
    return [line.split() for line in (directory / "steps.txt").read_text(encoding="utf-8").splitlines()]
