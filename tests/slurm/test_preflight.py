"""The preflight on a real SLURM: two nodes, gloo and the transformers engine; a failed check blocks the other jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sweep.core.provenance import PROJECT
from sweep.preflight.check import CHECKS_FILE, NodeChecks, Outcome, read_checks
from sweep.slurm.submission import submissions
from tests.support.cluster import Cluster

LAUNCH = ("launch=slurm", "launch.cpus=16", "launch.memory_gib=8", "launch.signal_seconds=30")


def sweep(home: Path, *words: str, status: int) -> str:
    command = [sys.executable, "-m", "sweep", *words, f"store={home / 'store'}", f"results={home / 'results'}"]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def found(home: Path) -> dict[str, NodeChecks]:
    checks = (read_checks(path) for path in (home / "store").glob(f"preflight/*/{CHECKS_FILE}"))
    return {each.kind.partition(",")[0]: each for each in checks}


def outcomes(of: NodeChecks) -> dict[str, Outcome]:
    return {each.name: each.outcome for each in of.checks}


def test_two_nodes_and_an_engine_pass(on_login_node: Cluster, tmp_path: Path) -> None:
    said = sweep(tmp_path, "preflight", "+experiment=smoke", "machine.nodes=2", *LAUNCH, "--wait", status=0)
    assert "preflight of sft, 2 nodes x no GPU, on 127.0.0." in said
    training = found(tmp_path)["sft"]
    assert len(training.hosts) == 2
    assert {name for name, outcome in outcomes(training).items() if outcome is Outcome.PASSED} == {
        *("devices", "store: publishing", "disk", "all-reduce", "store: between nodes", "clocks")
    }
    assert outcomes(found(tmp_path)["generate"])["engine (transformers)"] is Outcome.PASSED


def test_a_failed_check_blocks_all_other_jobs_and_status_says_what_to_do(
    on_login_node: Cluster, tmp_path: Path
) -> None:
    """The cluster has devices of no kind that torch finds."""
    scan = ("+experiment=smoke", "machine=h100", "engine=transformers", "launch.preflight_above_usd=0")
    said = sweep(tmp_path, "run", *scan, *LAUNCH, "-m", status=0)
    assert "00-preflight-1" in said
    (directory,) = submissions(tmp_path / "store")
    on_login_node.wait_until(
        lambda: "smoke" not in on_login_node.ask("squeue", "-h", "-o", "%j"), "all jobs ended or were cancelled", 240
    )
    assert not list((tmp_path / "store").glob("[!p]*/*/record.json"))
    assert outcomes(found(tmp_path)["generate"])["devices"] is Outcome.FAILED
    status = sweep(tmp_path, "status", directory.name, status=4)
    assert "devices: 0 GPUs visible, 1 expected on each node. Check launch.gpu_type" in status
