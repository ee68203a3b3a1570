"""A site as a user meets it first: what it would refuse, scripts by hand, paths with percent signs."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest

from sweep.cli.run import sweep
from sweep.config.compose import compose
from sweep.console import Console
from sweep.core.provenance import PROJECT
from tests.slurm.conftest import User
from tests.support.cluster import Cluster
from tests.support.toy_queue import make_stage

SMOKE = ("+experiment=smoke", "launch=slurm", "launch.site_check=true", "track=off", "-m")


def checked(home: Path, *settings: str) -> tuple[int, str]:
    said = Console(file=io.StringIO(), width=200)
    places = (f"store={home}/store", f"results={home}/results")
    status = sweep(compose([*SMOKE, *places, *settings]), said)
    assert not (home / "store" / "submissions").exists() and not (home / "results").exists()
    text = said.file.getvalue()  # type: ignore[attr-defined]
    return status, text[text.index("site check") :]


def test_a_site_that_accepts_the_plan_says_so(on_login_node: Cluster, tmp_path: Path) -> None:
    status, said = checked(tmp_path)
    assert status == 0, said
    assert "2 partitions, 4 nodes, no accounting" in said and "no setting was refused" in said


def test_settings_that_the_cluster_refuses_are_named_and_nothing_is_sent(
    on_login_node: Cluster, tmp_path: Path
) -> None:
    before = on_login_node.ask("squeue", "-h", "--states=all", "-o", "%i %j")
    status, said = checked(tmp_path, "launch.cpu.partition=gpu", "launch.sft.cpus=500", "launch.max_array_size=5000")
    assert status == 1
    assert "launch.cpu.partition gpu: no such partition. There are: main, low." in said
    assert "launch.sft.cpus: 500 CPUs of a node, but no node of partition main has more than 64." in said
    assert "launch.max_array_size 5000: above MaxArraySize of the cluster, 80." in said
    assert "sbatch says: " in said and "nvalid partition" in said
    assert "site-check" not in on_login_node.ask("squeue", "-h", "--states=all", "-o", "%j")
    assert {*before.splitlines()} <= {*on_login_node.ask("squeue", "-h", "--states=all", "-o", "%i %j").splitlines()}


def test_an_option_that_is_left_out_is_not_refused(on_login_node: Cluster, tmp_path: Path) -> None:
    status, said = checked(tmp_path, "launch.sft.cpus=500", 'launch.sft.without=["--cpus-per-task"]')
    assert status == 0, said


def test_a_partition_that_is_down_is_named(on_login_node: Cluster, tmp_path: Path) -> None:
    on_login_node.ask("scontrol", "update", "PartitionName=low", "State=DOWN")
    try:
        status, said = checked(tmp_path, "launch.partition=low")
    finally:
        on_login_node.ask("scontrol", "update", "PartitionName=low", "State=UP")
    assert status == 1 and "launch.defaults.partition low: low is DOWN, so these jobs would not start." in said, said


@pytest.mark.parametrize("script", ["cpu", "generate", "sft"])
def test_a_script_by_hand_from_another_directory_fails_at_once(
    on_login_node: Cluster, tmp_path: Path, script: str
) -> None:
    log = tmp_path / "log.txt"
    small = ["--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=1G", f"--output={log}"]
    command = ["sbatch", "--parsable", "--wait", f"--chdir={PROJECT}/slurm", *small, f"{PROJECT}/slurm/{script}.sbatch"]
    done = on_login_node.run(*command, "+experiment=smoke")
    said = log.read_text(encoding="utf-8")
    assert done.returncode == 2, said
    assert f"slurm/job.sh: not in {PROJECT}/slurm. Submit from the project's directory: sbatch slurm/{script}." in said


def test_a_store_whose_path_has_percent_signs_is_used_as_it_is(on_login_node: Cluster, tmp_path: Path) -> None:
    user = User(on_login_node, tmp_path / "100%j 50%%a %")
    directory = user.send(make_stage("total", 1))
    user.wait(directory)
    (log,) = directory.logs.iterdir()
    assert log.name == "01-total_0.txt" and "job " in log.read_text(encoding="utf-8")
    assert (user.store.directory(make_stage("total", 1)).path / "log.txt").exists()


def test_threads_follow_the_cpus_of_a_job(on_login_node: Cluster, tmp_path: Path) -> None:
    """At most those that this machine has: the nodes only pretend to have 64."""
    shutil.copytree(PROJECT / "slurm", tmp_path / "slurm")
    for name, gpus, wanted in (("cpu", [], str(min(2, os.cpu_count() or 1))), ("generate", ["--gres=gpu:1"], "unset")):
        script, log = tmp_path / f"{name}.sbatch", tmp_path / f"{name}.txt"
        script.write_text(
            f"#!/bin/bash\nsource slurm/job.sh\ntouch units\nunits {name} units\necho ${{OMP_NUM_THREADS-unset}}\n"
        )
        small = ["--cpus-per-task=2", "--mem=1G", f"--output={log}", f"--chdir={tmp_path}", *gpus]
        site = "probe() { :; }; follow() { :; }"
        (tmp_path / "slurm" / "job.sh").write_text(
            (PROJECT / "slurm" / "job.sh").read_text(encoding="utf-8") + f"\n{site}\n", encoding="utf-8"
        )
        on_login_node.run("env", "-u", "OMP_NUM_THREADS", "sbatch", "--wait", *small, str(script))
        assert log.read_text(encoding="utf-8").splitlines()[-1] == wanted, log.read_text(encoding="utf-8")
