"""Two real processes under torchrun (FSDP2 over gloo) have the losses of one, also when stopped, killed and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from s1.config.schema import ConfigError, Train, TrainMethod
from s1.records import write_rows
from s1.stages import CheckpointConfig
from s1.train.sft import train
from sweep.core.interrupt import EXIT_REQUEUE
from sweep.core.provenance import PROJECT
from sweep.core.stage import CodePolicy, Resources, Stage
from sweep.store.attempt import begin
from sweep.store.directory import StageDirectory, Store, read_json, write_json
from tests.support.known import known
from tests.support.records import record_with
from tests.support.sharded import STEPS
from tests.support.training import (
    LORA,
    RECIPE,
    SETTINGS,
    START,
    losses,
    metrics,
    rows,
    start_model,
    training_inputs,
    work,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The product of one process."""
    place = tmp_path_factory.mktemp("alone")
    train(work(training_inputs(place / "inputs"), place, micro_batch=2))
    return place / "out"


def prepared(
    store: Store, recipe: Train = RECIPE, run: str = "tests.support.sharded:train", **settings: object
) -> StageDirectory:
    """A training stage of two processes, whose inputs are in the store."""
    start, data = (
        Stage("base_model", 1, START, "nobody:makes", code=CodePolicy.EXPENSIVE),
        Stage("rendered", 1, START, "nobody:makes", code=CodePolicy.EXPENSIVE),
    )
    for stage, make in ((start, start_model), (data, lambda out: write_rows(out / "rows.jsonl", rows()))):
        directory = store.prepare(stage)
        attempt = begin(directory)
        make(attempt.out)
        attempt.publish(record_with())
    given = {**SETTINGS, "micro_batch": 1, **settings}
    inputs = {"model": (start,), "data": (data,)}
    return store.prepare(
        Stage(
            "checkpoint",
            1,
            CheckpointConfig(recipe),
            run,
            inputs,
            given,
            resources=Resources(processes=2),
            code=CodePolicy.EXPENSIVE,
        )
    )


def command(directory: StageDirectory) -> list[str]:
    return [sys.executable, "-m", "sweep.worker.run", str(directory.path)]


def environment() -> dict[str, str]:
    paths = [str(PROJECT), *sys.path]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}


def run(directory: StageDirectory) -> int:
    with directory.log_file.open("ab") as log:
        return subprocess.run(
            command(directory), cwd=PROJECT, env=environment(), stdout=log, stderr=log, check=False
        ).returncode


def logits(directory: Path):
    import torch
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(directory)(torch.tensor([rows()[0].input_ids])).logits


def steps_made(directory: StageDirectory) -> list[int]:
    return [int(line) for line in (directory.scratch / STEPS).read_text(encoding="ascii").splitlines()]


def said(directory: StageDirectory) -> str:
    return directory.log_file.read_text()[-3000:]


def test_two_processes_that_share_weights_and_batch_learn_what_one_learns(alone, tmp_path):
    directory = prepared(Store(tmp_path))
    assert run(directory) == 0, said(directory)
    two, one = metrics(directory.out), metrics(alone)
    for measure in ("loss", "grad_norm", "tokens", "learning_rate"):
        assert [row[measure] for row in two] == pytest.approx([row[measure] for row in one], rel=1e-4), measure
    assert {path.name for path in directory.out.iterdir()} == {path.name for path in alone.iterdir()}
    assert (logits(directory.out) - logits(alone)).abs().max() < 1e-3
    assert directory.read_record()["summary"]["steps"] == 6
    token = directory.out.name.removeprefix("out-")
    assert sorted(path.name for path in directory.path.iterdir()) == [
        *("hashed.json", "lock", "log.txt"),
        *("out", f"out-{token}", f"record-{token}.json", "record.json", "stage.json"),
    ]


def test_a_run_stopped_by_one_then_by_the_other_then_killed_ends_as_one_that_was_left_alone(alone, tmp_path):
    """And with another number of processes: half of a run on one machine, half on another."""
    strikes = [(1, "SIGUSR1", 0), (3, "SIGUSR1", 1), (5, "SIGKILL", 1)]
    directory = prepared(Store(tmp_path), strikes=strikes)
    for step, *_ in strikes[:2]:  # whichever is asked, all save after the same step, and go on there
        assert run(directory) == EXIT_REQUEUE, said(directory)
        stopped = f"training stopped after step {step} of 6 and saved a checkpoint"
        assert read_json(directory.interrupted_file)["message"] == stopped
        assert not directory.failed_file.exists()
    assert run(directory) == 1
    assert steps_made(directory)[:5] == [1, 2, 3, 4, 5]  # none was lost between the processes, none made twice
    assert read_json(directory.failed_file)["message"]
    assert not directory.interrupted_file.exists()
    stage = directory.read_stage()
    write_json(directory.stage_file, {**stage, "resources": {**known(stage.get("resources")), "processes": 4}})
    assert run(directory) == 0, said(directory)
    assert directory.read_record()["summary"]["resumed_at_step"] == 4  # the last that was saved unasked
    assert losses(directory.out) == pytest.approx(losses(alone), rel=1e-4)
    assert not directory.failed_file.exists()


@pytest.mark.parametrize(
    ("recipe", "settings", "tolerance"),
    [
        (replace(RECIPE, method=TrainMethod.LORA, lora=LORA), {}, 1e-4),
        (replace(RECIPE, dtype="bfloat16"), {}, 2e-2),
        (RECIPE, {"micro_batch": 2, "padding_free": True, "gradient_checkpointing": True}, 1e-4),
    ],
    ids=["adapters", "bfloat16", "recomputed"],
)
def test_methods_and_savings_of_memory_work_sharded_too(tmp_path, recipe, settings, tolerance):
    train(work(training_inputs(tmp_path / "inputs"), tmp_path / "alone", recipe))
    directory = prepared(Store(tmp_path / "store"), recipe, **settings)
    assert run(directory) == 0, said(directory)
    one = tmp_path / "alone" / "out"
    assert losses(directory.out) == pytest.approx(losses(one), rel=tolerance)
    assert (logits(directory.out) - logits(one)).abs().max() < 100 * tolerance


def test_processes_that_would_not_shard_are_refused(tmp_path):
    """accelerate knows no FSDP for CPUs and says nothing: each process would hold and train the whole model."""
    directory = prepared(Store(tmp_path), run="s1.train.sft:train")
    assert run(directory) == 1
    assert "each of 2 processes would hold the whole model" in read_json(directory.failed_file)["message"]


def test_processes_that_do_not_divide_the_batch_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # refused before the others are met
    with pytest.raises(
        ConfigError, match=r"^train.batch_size 3: not a multiple of machine.micro_batch 1 x 2 processes\."
    ):
        train(work(training_inputs(tmp_path / "inputs"), tmp_path, replace(RECIPE, batch_size=3), micro_batch=1))
