"""Runs are followed on W&B while their stages are made, and continued by whoever comes after a kill -9."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s1.generate.progress import GenerationProgress
from s1.track.runs import run_id
from sweep.cli.run import graph_of
from sweep.config.compose import compose
from sweep.core.provenance import PROJECT
from sweep.plan.graph import plan
from sweep.store.directory import StageDirectory, Store
from tests.support.smoke import User, environment
from tests.support.wandb_server import WandbServer

STEPS, CHECKPOINT_EVERY = 500, 20
TRAINING = ("goal=checkpoint", f"train.steps={STEPS}", f"machine.checkpoint_every_steps={CHECKPOINT_EVERY}")
LONGEST_WAIT_S = 120


class Scientist(User):
    """Someone with the base model and the rows of a finished scan, who is logged in to the server."""

    def __init__(self, home: Path, finished: Path, server: WandbServer) -> None:
        super().__init__(home)
        shutil.copytree(finished / "store", self.store, symlinks=True)
        self.server = server
        self.environment = {**environment(), **server.environment, "WANDB_MODE": "online"}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in the background; one that mirrors has track.wandb=true among its words."""
        place = [f"store={self.store}", f"results={self.results}", f"track.project={self.store.parent.name}"]
        command = [sys.executable, "-m", "sweep", words[0], "+experiment=smoke", *words[1:], *place, "-m"]
        return subprocess.Popen(command, cwd=PROJECT, env=self.environment, stderr=subprocess.PIPE, text=True)

    def watch(self, *fields: str) -> subprocess.Popen[str]:
        return self.start("sync", *fields, "track.wandb=true", "--watch", "--every", "0.5")

    def stage(self, name: str) -> StageDirectory:
        """The one unfinished stage of a name."""
        (found,) = [each for each in (self.store / name).glob("*") if not (each / "record.json").exists()]
        return StageDirectory(found)

    def run(self, stage: StageDirectory) -> dict[str, Any]:  # type: ignore[override]
        """What the server has of the run of a stage; nothing yet: no history."""
        name = run_id(Store(self.store).id, stage.path.name, 0)
        return self.server.state()["runs"].get(name, {"lines": {}, "state": "", "starts": 0})


def history(run: dict[str, Any], key: str) -> list[float]:
    rows = [json.loads(line) for line in run["lines"].get("wandb-history.jsonl", [])]
    return [row[key] for row in rows if key in row]


def wait_for(what: str, holds: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
    until = time.monotonic() + LONGEST_WAIT_S
    while not holds():
        for each in processes:
            assert each.poll() is None, f"{what}: a process ended before\n{each.stderr and each.stderr.read()}"
        assert time.monotonic() < until, f"not within {LONGEST_WAIT_S} s: {what}"
        time.sleep(0.2)


@pytest.fixture
def scientist(tmp_path: Path, smoke_scan: Path, wandb_service: WandbServer) -> Iterator[Scientist]:
    yield Scientist(tmp_path, smoke_scan, wandb_service)


def test_training_is_followed_and_continued_after_kill_9_of_watcher_and_worker(scientist: Scientist) -> None:
    watcher, sweep = scientist.watch(*TRAINING), scientist.start("run", *TRAINING)
    wait_for("the checkpoint is planned", lambda: len(list((scientist.store / "checkpoint").glob("*"))) == 2, sweep)
    stage = scientist.stage("checkpoint")
    wait_for(
        "steps arrive beyond a checkpoint",
        lambda: max(history(scientist.run(stage), "train/step"), default=0) > 2 * CHECKPOINT_EVERY,
        *(watcher, sweep),
    )
    assert not stage.is_done
    assert scientist.run(stage)["state"] == "running"
    os.kill(watcher.pid, signal.SIGKILL)
    os.kill(json.loads((stage.path / "worker.json").read_text(encoding="utf-8"))["pid"], signal.SIGKILL)
    watcher.wait()
    assert sweep.wait() == 1

    watcher, sweep = scientist.watch(*TRAINING), scientist.start("run", *TRAINING)
    assert sweep.wait() == 0
    assert watcher.wait(LONGEST_WAIT_S) == 0, watcher.stderr and watcher.stderr.read()
    run = scientist.run(stage)
    assert history(run, "train/step") == list(range(1, STEPS + 1))
    metrics = [json.loads(line) for line in (stage.out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert history(run, "train/loss") == [row["loss"] for row in metrics]
    assert int(stage.read_record()["summary"]["resumed_at_step"] or 0) > 0
    assert run["state"] == "finished"


GENERATING = ("budget.max_thinking_tokens=6", "also=[]")
WORKER = """
import sys
from pathlib import Path
from tests.wandb.test_live import generate_slowly
generate_slowly(Path(sys.argv[1]))
"""


class Opened:
    """A stage of traces that are closed one by one."""

    def __init__(self) -> None:
        self.closed: dict[tuple[int, int], object] = {}
        self.total = 10_000


def generate_slowly(path: Path) -> None:
    """Hold a stage of traces and write what a worker writes, thirty times as fast, until this process is killed."""
    stage, opened, now = StageDirectory(path), Opened(), 0.0
    sampled = {path.name: 0}
    with stage.locked():
        stage.scratch.mkdir(exist_ok=True)
        progress = GenerationProgress(sampled, clock=lambda: now)
        progress.follow(path.name, opened, stage.scratch)
        for step in range(1, opened.total):
            now, sampled[path.name] = 6.0 * step, 1000 * step
            opened.closed[(step, 0)] = None
            progress.step()
            time.sleep(0.2)


def test_generation_is_followed_on_the_run_of_its_point_by_whichever_watcher_is_there(scientist: Scientist) -> None:
    places = [f"store={scientist.store}", f"results={scientist.results}", "track.wandb=true", "-m"]
    graph = graph_of(compose(["+experiment=smoke", *GENERATING, *places]))
    stages = {stage.name: stage for stage in plan([graph.artifact], lambda _: False).needed}
    store = Store(scientist.store)
    traces, scores = store.prepare(stages["traces"]), store.directory(stages["scores"])
    command = [sys.executable, "-c", WORKER, str(traces.path)]
    worker = subprocess.Popen(command, cwd=PROJECT, env=environment(), text=True)
    first, second = scientist.watch(*GENERATING), scientist.watch(*GENERATING)
    try:
        wait_for("rows arrive", lambda: len(history(scientist.run(scores), "generate/traces")) > 3, first, second)
        assert scientist.run(scores)["state"] == "running"
        worker.kill()
        worker.wait()
        claim = scientist.store / "wandb" / "live" / run_id(store.id, scores.path.name, 0) / "worker.json"
        sender = json.loads(claim.read_text(encoding="utf-8"))["pid"]
        (sending,) = [each for each in (first, second) if each.pid == sender]
        sending.kill()
        worker = subprocess.Popen(command, cwd=PROJECT, env=environment(), text=True)
        sent = len(history(scientist.run(scores), "generate/traces"))
        other = second if sending is first else first
        wait_for("more rows", lambda: len(history(scientist.run(scores), "generate/traces")) > sent + 3, other)
        other.terminate()
        assert other.wait(LONGEST_WAIT_S) == 0
    finally:
        for each in (worker, first, second):
            each.kill()
            each.wait()
    seconds = history(scientist.run(scores), "generate/seconds")
    assert seconds == sorted(set(seconds))
    tokens = history(scientist.run(scores), "generate/tokens")
    assert tokens == sorted(set(tokens))
    assert scientist.run(scores)["state"] != "running"
