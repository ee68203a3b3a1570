"""Fine-tuning on two nodes: torchrun under srun, FSDP2 over gloo, as slurm/sft.sbatch starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from s1.records import write_rows
from s1.stages import CheckpointConfig
from s1.train.sft import train
from sweep.core.stage import CodePolicy, Resources, Stage
from sweep.store.attempt import begin
from sweep.store.directory import StageDirectory
from tests.slurm.conftest import User
from tests.support import toy_group
from tests.support.records import record_with
from tests.support.training import RECIPE, SETTINGS, START, losses, rows, start_model, training_inputs, work

TWO_NODES = Resources("sft", nodes=2, devices=8)  # of the fake H100


def made(user: User, stage: Stage, make: object) -> StageDirectory:
    """A stage whose product is there."""
    directory = user.store.prepare(stage)
    attempt = begin(directory)
    make(attempt.out)  # type: ignore[operator]
    attempt.publish(record_with())
    return directory


def test_two_nodes_learn_what_one_process_learns(user: User, tmp_path: Path) -> None:
    train(work(training_inputs(tmp_path / "inputs"), tmp_path / "alone", micro_batch=2))
    start, data = (
        Stage("start", 1, START, "nobody:makes", code=CodePolicy.EXPENSIVE),
        Stage("rendered", 1, START, "nobody:makes", code=CodePolicy.EXPENSIVE),
    )
    made(user, start, start_model)
    made(user, data, lambda out: write_rows(out / "rows.jsonl", rows()))
    checkpoint = Stage(
        "checkpoint",
        1,
        CheckpointConfig(RECIPE),
        "tests.support.sharded:train",
        {"model": (start,), "data": (data,)},
        {**SETTINGS, "micro_batch": 1},
        resources=TWO_NODES,
        code=CodePolicy.EXPENSIVE,
    )
    directory = user.send(checkpoint)
    user.wait(directory)
    assert user.states(directory) == {"checkpoint": ["done"]}, user.log(checkpoint)[-3000:]
    assert losses(user.directory(checkpoint).out) == pytest.approx(losses(tmp_path / "alone" / "out"), rel=1e-4)
    assert user.directory(checkpoint).read_record()["summary"]["steps"] == 6


def test_all_processes_of_two_nodes_are_told_to_stop_and_have_time_to_save(user: User) -> None:
    """Longer than SLURM gives what it ends (KillWait, 5 seconds here): they are told before, not by their end."""
    song = Stage(
        "song",
        1,
        toy_group.Choir(pause_s=9.0),
        "tests.support.toy_group:sing_until_asked",
        resources=TWO_NODES,
        code=CodePolicy.EXPENSIVE,
    )
    directory = user.send(song)
    job_id = directory.ids()["01-song"]
    scratch = user.directory(song).scratch
    user.cluster.wait_until(lambda: len(list(scratch.glob("singing-*"))) == 2, "both sing")
    user.cluster.ask("scancel", "--signal=USR1", "--batch", job_id)
    user.wait(directory)
    assert user.states(directory) == {"song": ["done"]}, user.log(song)[-3000:]
    assert user.cluster.job(job_id)["Restarts"] == "1"
    assert "requeueing job" in user.log(song)


def test_two_ranks_of_one_node_are_started_by_the_worker_itself(user: User) -> None:
    song = Stage(
        "song",
        1,
        toy_group.Choir(),
        "tests.support.toy_group:sing",
        resources=Resources("sft", processes=2),
        code=CodePolicy.EXPENSIVE,
    )
    (user.store.root / "shared").mkdir(parents=True)
    directory = user.send(song)
    user.wait(directory)
    assert user.states(directory) == {"song": ["done"]}, user.log(song)[-3000:]
