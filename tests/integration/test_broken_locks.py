"""Stores with missing or ineffective locks: claim tokens alone keep two workers apart."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.claims.holder import this_process
from sweep.claims.lock import LockMode
from sweep.core.provenance import PROJECT
from sweep.store.directory import Store
from sweep.worker.run import main as run_stage
from tests.support import toy

ROUNDS = os.environ.get("S1_ROUNDS", "6")  # 200 before a release


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that stands before flock."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here, so locks that do not lock are NOT tested. Install cc.")
    path = tmp_path_factory.mktemp("shim") / "flock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, PROJECT / "tests/support/flock_shim.c"], check=True)
    return path


def python(*words: str, shim: Path, how: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LD_PRELOAD": str(shim), "FLOCK_SHIM": how, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("how", ["noop", str(errno.ENOLCK)])
def test_two_workers_at_one_stage_make_it_once_and_one_says_so(shim: Path, tmp_path: Path, how: str) -> None:
    done = python("-m", "tests.support.rounds", "workers", str(tmp_path), ROUNDS, "2", shim=shim, how=how)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{ROUNDS} of {ROUNDS} rounds of 2 workers at once were good" in done.stdout


def test_one_of_many_breaks_a_dead_token(shim: Path, tmp_path: Path) -> None:
    done = python("-m", "tests.support.rounds", "breakers", str(tmp_path), ROUNDS, "6", shim=shim, how="noop")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_one_line_says_so_and_work_goes_on(shim: Path, tmp_path: Path, number: int) -> None:
    store, x = Store(tmp_path), toy.Point("toy", toy.Shape(3))
    directory = store.prepare(toy.number_of(x))
    done = python("-m", "sweep.worker.run", str(directory.path), shim=shim, how=str(number))
    assert done.returncode == 0 and directory.is_done
    lines = [line for line in done.stderr.splitlines() if "no locks here" in line]
    assert len(lines) == 1 and "Traceback" not in done.stderr
    assert f"{directory.lock_file}: no locks here ({os.strerror(number)}, " in lines[0]
    assert "choose another store=." in lines[0]


def test_a_store_whose_locks_do_not_lock_is_not_pruned_under_a_sweep(shim: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with store.held(LockMode.SHARED):
        words = ("-m", "sweep", "store", "prune", "yes=true", f"store={store.root}", f"results={tmp_path / 'results'}")
        done = python(*words, "pipeline=tests.support.toy", shim=shim, how="noop")
    assert done.returncode == 1
    assert f"a prune or a repair. Run the command again when that has ended. Held by {this_process().host}" in (
        " ".join(done.stderr.split())
    )
    assert not list(store.root.glob(".*.json"))


def test_pruning_leaves_what_a_live_token_holds_and_takes_what_a_dead_one_held(shim: Path, tmp_path: Path) -> None:
    store, x = Store(tmp_path / "store"), toy.Point("toy", toy.Shape(3))
    directory = store.prepare(toy.number_of(x))
    assert run_stage([str(directory.path)]) == 0
    words = ("-m", "sweep", "store", "prune", "yes=true", f"store={store.root}", f"results={tmp_path / 'results'}")
    with directory.locked():
        assert python(*words, "pipeline=tests.support.toy", shim=shim, how="noop").returncode == 0
        assert directory.is_done
    assert python(*words, "pipeline=tests.support.toy", shim=shim, how="noop").returncode == 0
    assert not directory.path.exists()
