"""A sweep with more points than the longest array: few sbatch calls, and every point finishes."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from sweep.results.publish import publish
from sweep.store.directory import read_json
from tests.slurm.conftest import MAX_ARRAY_SIZE, User, requesting
from tests.support import toy_queue
from tests.support.cluster import PATH, Cluster
from tests.support.toy_queue import make_stage

POINTS = 200


@pytest.fixture
def calls(on_login_node: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that gets a line for every call of sbatch; the call goes on to the real one."""
    counted, wrapper = tmp_path / "calls.txt", tmp_path / "bin" / "sbatch"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho "$*" >>{counted}\nexec {shutil.which("sbatch", path=PATH)} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    return counted


def test_two_hundred_points_are_three_throttled_arrays_and_one_result(
    user: User, cluster: Cluster, calls: Path
) -> None:
    launch = dataclasses.replace(requesting(cpus=4), throttle=4)
    total = make_stage("total", 0, *(make_stage("points", n) for n in range(POINTS)))
    directory = user.send(total, launch)
    assert [len(job.elements) for job in directory.read().jobs] == [MAX_ARRAY_SIZE, MAX_ARRAY_SIZE, 40, 1]
    ids = directory.ids()
    assert list(ids) == ["01-points", "02-points", "03-points", "04-total"]
    assert len(calls.read_text(encoding="utf-8").splitlines()) == len(ids)
    assert {cluster.job(job_id).get("ArrayTaskThrottle") for job_id in list(ids.values())[:-1]} == {"4"}
    queue = ("squeue", "-h", f"--jobs={','.join(ids.values())}")
    cluster.wait_until(lambda: not cluster.ask(*queue), "the queue is empty", 300)  # cheaper than to look at all stages
    assert user.states(directory) == {"points": ["done"] * POINTS, "total": ["done"]}
    assert user.value(total) == sum(range(POINTS))
    graph = toy_queue.graph(total, launch)
    publish(graph, user.store, user.results)
    result = user.results / graph.name / "latest"
    assert (result / "value.json").read_text(encoding="utf-8") == str(sum(range(POINTS)))
    assert len(read_json(result / "manifest.json")["stages"]) == POINTS + 1
