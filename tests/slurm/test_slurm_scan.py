"""The whole scan of the laptop model, by the launcher and by hand, equals the one that ran without a queue.

Here its answers are generated in shards, each an element of an array; there by one worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.core.provenance import PROJECT
from sweep.slurm.submission import submissions
from tests.support.cluster import Cluster
from tests.support.wandb_server import WandbServer, wandb_server

EXPERIMENT = ("+experiment=smoke", "train.steps=100", "machine.checkpoint_every_steps=10")
SIGNS = {  # what a job leaves as soon as it has something to lose
    "checkpoint": "checkpoint/*/scratch/checkpoint-*/complete",
    "traces_shard": "shared/*/continuations/*/*.jsonl",
}
SHARDS = "machine.shards=2"
SETTINGS = ("launch.cpus=16", "launch.memory_gib=8", "launch.signal_seconds=30")


class Scientist:
    """Someone with a store and a results folder of their own, who scans at the command line."""

    def __init__(self, home: Path) -> None:
        self.home, self.store, self.results = home, home / "store", home / "results"

    @property
    def scan(self) -> list[str]:
        return [*EXPERIMENT, f"store={self.store}", f"results={self.results}", "-m"]

    @property
    def table(self) -> Path:
        """Of the one result that there is."""
        (folder,) = self.results.glob("*/latest")
        return folder.resolve() / "table.csv"

    def sweep(self, *words: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "sweep", *words]
        environment = {**os.environ, "COLUMNS": "250"}
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + (done.stderr if status else "")

    def products(self) -> dict[str, object]:
        """The checksums of the files of all products that are made of tokens and numbers, not of seconds."""
        records = [json.loads(path.read_text(encoding="utf-8")) for path in self.store.glob("*/*/record.json")]
        return {
            f"{record['identity']['name']}/{record['key']}/{name}": state["sha256"]
            for record in records
            if record["identity"]["name"] not in ("curve", "report", "traces_shard")
            for name, state in record["files"].items()
        }


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, on_login_node: Cluster) -> Scientist:
    scientist = Scientist(tmp_path_factory.mktemp("local"))
    scientist.sweep(*scientist.scan)
    return scientist


def wait(cluster: Cluster) -> None:
    cluster.wait_until(lambda: "smoke" not in cluster.ask("squeue", "-h", "-o", "%j"), "the scan is over", 300)


@pytest.fixture
def mirrored(tmp_path: Path) -> Iterator[WandbServer]:
    """A W&B server that jobs reach, as `site.sh` says."""
    with wandb_server(tmp_path / "server") as server:
        lines = [f"export {name}={value}" for name, value in {**server.environment, "WANDB_MODE": "online"}.items()]
        lines.append("export OMP_NUM_THREADS=1")  # all jobs share the few cores of this machine
        (tmp_path / "site.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield server


def test_a_scan_through_the_queue_interrupted_twice_equals_an_undisturbed_one(
    local: Scientist, on_login_node: Cluster, tmp_path: Path, mirrored: WandbServer
) -> None:
    there = Scientist(tmp_path)
    settings = (*SETTINGS, "track.wandb=true", f"launch.site={tmp_path}/site.sh")
    said = there.sweep(*there.scan, "launch=slurm", SHARDS, *settings)
    assert "8 jobs, 9 elements" in said
    assert "submitted" in said
    (directory,) = submissions(there.store)
    ids = {name.partition("-")[2]: job_id for name, job_id in directory.ids().items()}
    for job, sign in SIGNS.items():
        on_login_node.wait_until(lambda: list(there.store.glob(sign)), f"{job} has something to lose", 300)  # noqa: B023
        on_login_node.run("scancel", "--signal=USR1", "--batch", ids[job])  # of an array, all elements
    wait(on_login_node)
    assert on_login_node.job(ids["checkpoint"])["Restarts"] == "1"
    told = there.sweep("status", f"store={there.store}")
    assert "9 done" in told, told + there.sweep("logs", f"store={there.store}")
    assert f"published: {there.table.parent}" in told
    assert f"{directory.name}: " in (watched := there.sweep("watch", directory.name, f"store={there.store}"))
    assert "failed" not in watched and "waiting" not in watched
    assert "requeueing job" in there.sweep("logs", "checkpoint", "--lines", "200", f"store={there.store}")
    assert there.products() == local.products()
    assert there.table.read_bytes() == local.table.read_bytes()
    assert len(list(there.store.glob("traces_shard/*/record.json"))) == 2 * len(list(there.store.glob("traces/*")))
    again = there.sweep(*there.scan, "launch=slurm", SHARDS, *SETTINGS)
    assert "0 stages to run" in again
    runs = [run for run in mirrored.state()["runs"].values() if run["name"]]
    assert {run["state"] for run in runs} == {"finished"}
    assert sorted(run["written"]["jobType"] for run in runs) == ["checkpoint", *3 * ["point"], "summary"]
    (training,) = [run for run in runs if run["written"]["jobType"] == "checkpoint"]
    rows = [json.loads(line) for line in training["lines"]["wandb-history.jsonl"]]
    assert [row["train/step"] for row in rows if "train/step" in row] == list(range(1, 101))
    assert training["starts"] > 1  # before and after it was requeued, and when it was finished


def test_a_scan_by_hand_is_three_scripts_and_equals_a_local_one(
    local: Scientist, on_login_node: Cluster, tmp_path: Path
) -> None:
    there = Scientist(tmp_path)
    small = [
        "--nodes=1",
        "--ntasks-per-node=1",
        "--cpus-per-task=16",
        "--mem=8G",
        "--job-name=smoke-by-hand",
    ]
    first: list[str] = []
    for script, array in (("sft", []), ("generate", ["--array=0-1"]), ("cpu", [])):
        log = f"--output={tmp_path}/{script}-{'%a' if array else '0'}.txt"
        command = ["sbatch", "--parsable", f"--chdir={PROJECT}", *small, log, *first, *array, f"slurm/{script}.sbatch"]
        here = ["env", f"--chdir={PROJECT}", f"PYTHON={sys.executable}", "OMP_NUM_THREADS=1"]
        done = on_login_node.ask(*here, *command, *there.scan, SHARDS)
        first = [f"--dependency=afterok:{done}", "--kill-on-invalid-dep=yes"]
    wait(on_login_node)
    said = "".join(path.read_text(encoding="utf-8") for path in sorted(tmp_path.glob("*.txt")))
    assert there.results.exists(), said
    assert there.products() == local.products()
    assert there.table.read_bytes() == local.table.read_bytes()
    assert "1 stages for this sft job" in said


def test_generation_by_hand_before_its_training_is_refused(local: Scientist, tmp_path: Path) -> None:
    there = Scientist(tmp_path)
    said = there.sweep("prepare", "generate", str(tmp_path / "units"), *there.scan, status=1)
    assert "needs slurm/sft.sbatch. Submit that first." in said


def test_publishing_makes_nothing(local: Scientist, tmp_path: Path) -> None:
    there = Scientist(tmp_path)
    said = there.sweep("publish", *there.scan, status=1)
    assert "stages are not finished" in said
    assert not list(tmp_path.glob("store/*/*/stage.json"))
    table = local.table
    before = table.read_bytes()
    table.unlink()
    local.sweep("publish", *local.scan)
    assert local.table.parent.name == f"{table.parent.name}-2"
    assert local.table.read_bytes() == before
    table.write_bytes(before)
