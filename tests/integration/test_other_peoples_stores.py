"""Stores of other users and on read-only file systems: refusals and their messages."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.claims.holder import this_process
from sweep.core.provenance import PROJECT
from sweep.store.directory import Store, read_json
from sweep.worker.run import main as run_stage
from tests.support import toy
from tests.support.holders import write

NOBODY = 65534


COMMAND = (
    "from pathlib import Path; import sweep.cli.run as command; from sweep.__main__ import main;"
    "from sweep.config.compose import compose;"
    "command.compose = lambda argv: compose(argv, Path('tests/support/toy_conf').resolve());"
    "raise SystemExit(main())"
)


WITHOUT_POWER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")  # root as anybody else


def as_stranger(*words: str) -> tuple[int, str, str]:
    """A process of this user that has no more rights than its user and group give it."""
    environment = {**os.environ, "COLUMNS": "300", "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*WITHOUT_POWER, sys.executable, *words]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stdout, done.stderr


def command(home: Path, *words: str) -> tuple[int, str]:
    """The real entry with the configuration of the toys."""
    places = (f"store={home / 'store'}", f"results={home / 'results'}", "pipeline=tests.support.toy")
    status, out, err = as_stranger("-c", COMMAND, *words, *places)
    return status, out + err


def give_to_nobody(path: Path) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, NOBODY, NOBODY, follow_symlinks=False)


@pytest.fixture(scope="module")
def as_root() -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("not root, or no setpriv here: stores of other users are NOT tested")


def test_the_command_refuses_what_is_held_where_it_cannot_ask_and_takes_it_with_yes(
    as_root: None, tmp_path: Path
) -> None:
    store, x = Store(tmp_path / "store"), toy.Point("toy", toy.Shape(3))
    directory = store.directory(toy.number_of(x))
    directory.path.mkdir(parents=True)
    write(directory.path, dataclasses.replace(this_process(), host="node7", boot="b", machine="m", pid=41))
    status, said = command(tmp_path, "shape.number=3", "-m")
    assert status == 1
    assert f"error {directory.address}: held by node7 pid 41 of " in said and "--yes" in said
    assert not directory.is_done
    status, said = command(tmp_path, "shape.number=3", "yes=true", "-m")
    assert status == 0 and directory.is_done


@pytest.fixture(scope="module")
def finished(as_root: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("finished")
    status, said = command(home, "shape.number=1,2", "-m")
    assert status == 0, said
    return home


@pytest.fixture
def theirs(finished: Path, tmp_path: Path) -> Path:
    """A finished sweep of somebody else."""
    home = tmp_path / "home"
    shutil.copytree(finished, home, symlinks=True)
    home.chmod(0o755)
    give_to_nobody(home)
    return home


READING = [("store",), ("store", "check"), ("status",), ("shape.number=1,2,3", "plan=true", "-m")]


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_store_of_somebody_else_can_be_listed_and_checked(theirs: Path, words: tuple[str, ...]) -> None:
    status, said = command(theirs, *words)
    assert "Traceback" not in said and "Permission" not in said
    assert status == (1 if words == ("status",) else 0), said  # there are no submissions, and it says so


def test_what_may_not_be_written_is_said_in_one_line_with_owner_and_fix(theirs: Path) -> None:
    status, said = command(theirs, "shape.number=1,2,3", "-m")
    assert status == 1 and "Traceback" not in said
    (error,) = [line for line in said.splitlines() if line.startswith("error")]
    line = r"cannot be written by root\. .* is drwxr-xr-x nobody:\S+\. .*umask 002.*chmod g\+rwxs.*store=\."
    assert re.search(line, error)


def test_what_may_not_be_read_is_said_in_one_line_too(theirs: Path) -> None:
    theirs.chmod(0o700)
    status, said = command(theirs, "store")
    assert status == 1 and "Traceback" not in said
    assert f"cannot be read by root. {theirs} is drwx------ nobody:" in said


def test_a_colleagues_unfinished_stage_is_named_by_driver_and_worker(as_root: None, tmp_path: Path) -> None:
    """The store may be written, one stage in it may not."""
    store, x = Store(tmp_path / "store"), toy.Point("toy", toy.Shape(3))
    theirs = store.prepare(toy.number_of(x))
    give_to_nobody(theirs.path)
    status, said = command(tmp_path, "shape.number=1,3", "-m")
    assert status == 1 and "Traceback" not in said
    assert f"{theirs.path} is drwxr-xr-x nobody:" in said
    status, _, err = as_stranger("-m", "sweep.worker.run", str(theirs.path))
    assert status == os.EX_IOERR
    assert err.count("\n") == 1 and f"{theirs.path} is drwxr-xr-x nobody:" in err


def test_a_refusal_met_by_a_worker_is_written_down_without_a_traceback(as_root: None, tmp_path: Path) -> None:
    """The stage may be written, what its batch shares may not: failed.json and the log say whose that is."""
    store, x = Store(tmp_path / "store"), toy.Point("toy", toy.Shape(3))
    run_stage([str(store.prepare(toy.number_of(x)).path)])
    directory, calls = store.prepare(toy.doubled_of(x)), store.shared("toys") / "calls.txt"
    calls.parent.mkdir(parents=True)
    calls.touch()
    give_to_nobody(calls.parent)
    status, _, err = as_stranger("-m", "sweep.worker.run", str(directory.path))
    assert status == 1 and "Traceback" not in err
    message = read_json(directory.failed_file)["message"]
    assert message.startswith(f"{calls}: cannot be written by root. {calls} is -rw-r--r-- nobody:")
    assert message in err


@pytest.fixture
def read_only(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A finished store on a file system that is mounted for reading."""
    target = tmp_path / "mounted"
    target.mkdir()
    for each in (["--bind", finished, target], ["-o", "remount,bind,ro", target]):
        if subprocess.run(["mount", *each], check=False, capture_output=True).returncode:
            pytest.skip("nothing can be mounted here: read-only file systems are NOT tested")
    yield target
    subprocess.run(["umount", target], check=True)


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_store_on_a_read_only_file_system_can_be_listed_and_checked(read_only: Path, words: tuple[str, ...]) -> None:
    status, said = command(read_only, *words)
    assert "Traceback" not in said and "Errno" not in said
    assert status == (1 if words == ("status",) else 0), said


def test_writing_on_a_read_only_file_system_is_refused_in_one_line(read_only: Path) -> None:
    status, said = command(read_only, "shape.number=1,2,3", "-m")
    assert status == 1 and "Traceback" not in said
    assert "is read-only. Mount it writable, or choose another store=." in said
