"""Model replicas end with their parent process, whatever they are doing when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s1.generate.engine import Engine, GenerationRequest, Sampling
from s1.generate.replicas import Replicas
from s1.generate.scripted import ScriptedEngine
from sweep.core.provenance import PROJECT

PATIENCE_S = 120  # for a machine that does much else


def note() -> None:
    Path(os.environ["PIDS"], str(os.getpid())).touch()


def sleeps_while_it_loads() -> Engine:
    note()
    time.sleep(1e6)
    raise AssertionError


def computes_while_it_loads() -> Engine:
    """One call into C that never lets another thread run."""
    note()
    sum(range(10**15))
    raise AssertionError


def loaded() -> Engine:
    note()
    return ScriptedEngine(lambda ids, request, forbidden: 1, 100, 100)


def computes_in_a_step() -> Engine:
    return ScriptedEngine(lambda ids, request, forbidden: note() or sum(range(10**15)), 100, 100)


def parent(load: str) -> None:
    """Run in a process of its own: opens two copies, asks each something if they ever load, and waits."""
    replicas = Replicas(globals()[load], ["", ""])
    for seed in (0, 1):
        replicas.add(GenerationRequest((5,), 3, (), False, Sampling(0.0), seed))
    while not replicas.is_idle:
        replicas.step()
    time.sleep(1e6)


def started(load: str, pids: Path) -> subprocess.Popen[bytes]:
    pids.mkdir()
    code = f"from tests.integration.test_replicas import parent; parent({load!r})"
    environment = {**os.environ, "PIDS": str(pids), "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)


def wait_until(holds, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


def is_running(process: int) -> bool:
    """A zombie has given everything back."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to tell a zombie from a process")
@pytest.mark.parametrize(
    "load", [each.__name__ for each in (sleeps_while_it_loads, computes_while_it_loads, loaded, computes_in_a_step)]
)
def test_replicas_end_with_a_killed_parent(tmp_path: Path, load: str) -> None:
    process = started(load, tmp_path / "pids")
    try:
        wait_until(lambda: len(list((tmp_path / "pids").iterdir())) == 2, "both replicas run")
    finally:
        process.kill()
        process.wait()
    replicas = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    wait_until(lambda: not any(map(is_running, replicas)), "both replicas are gone")


def test_an_interrupted_parent_does_not_wait_for_replicas_that_load(tmp_path: Path) -> None:
    process = started("sleeps_while_it_loads", tmp_path / "pids")
    wait_until(lambda: len(list((tmp_path / "pids").iterdir())) == 2, "both replicas run")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) != 0
    replicas = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    wait_until(lambda: not any(map(is_running, replicas)), "both replicas are gone")
