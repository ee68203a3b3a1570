"""Plans executed by real worker processes: publishing, reuse, failure, interruption, two at the same time."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweep.claims.claim import holder_of
from sweep.core.pipeline import SweepRequest, Workers
from sweep.core.provenance import PROJECT
from sweep.core.stage import Stage
from sweep.local.workers import JobState, WorkerJob, run_plan
from sweep.plan.graph import plan
from sweep.store.directory import Store, StoreError, read_json, write_json
from sweep.store.logs import new_log, point_to_log
from sweep.worker.run import main as run_stage
from tests.support import toy
from tests.support.known import known


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run_points(store: Store, *points: toy.Point) -> tuple[list[WorkerJob], Stage]:
    graph = toy.graph(points, SweepRequest("", [{} for _ in points], store.root))
    jobs = run_plan(plan([graph.artifact], store.is_done), store, Workers(2, 1), lambda stage: None, lambda jobs: None)
    return jobs, graph.artifact


def calls(store: Store) -> list[list[str]]:
    return [line.split() for line in (store.shared("toys") / "calls.txt").read_text(encoding="utf-8").splitlines()]


def point(number: int, fail_at: int | None = None, pause_s: float = 0.0) -> toy.Point:
    return toy.Point("toy", toy.Shape(number, pause_s), fail_at)


def test_a_plan_runs_to_its_product(store: Store) -> None:
    jobs, product = run_points(store, point(1), point(2))
    assert all(job.state is JobState.DONE for job in jobs)
    directory = store.directory(product)
    assert directory.read_record()["summary"] == {"total": 6}
    token = directory.out.name.removeprefix("out-")
    assert sorted(path.name for path in directory.path.iterdir()) == [
        *("hashed.json", "lock", "log-1.txt", "log.txt"),
        *("out", f"out-{token}", f"record-{token}.json", "record.json", "stage.json"),
    ]


def test_a_batch_is_one_process_and_one_log(store: Store) -> None:
    run_points(store, point(1), point(2), point(3))
    assert len({process for _, process in calls(store)}) == 1
    logs = {store.directory(toy.doubled_of(point(n))).log_file.resolve() for n in (1, 2, 3)}
    assert len(logs) == 1


def test_finished_stages_are_not_run_again(store: Store) -> None:
    run_points(store, point(1), point(2))
    before = len(calls(store))
    run_points(store, point(1), point(2), point(3))
    assert len(calls(store)) == before + 1
    assert run_points(store, point(1), point(2), point(3))[0] == []


def test_a_record_tells_where_the_result_came_from(store: Store) -> None:
    _, product = run_points(store, point(1))
    record = store.directory(product).read_record()
    assert record["identity"]["inputs"] == {"doubled": [toy.doubled_of(point(1)).key]}
    assert set(record) == {
        *("key", "request_key", "generation", "identity", "summary", "seconds", "usd", "shards"),
        *("inputs", "source", "finished_at", "provenance", "files", "out", "checksum"),
    }
    assert known(record.get("files"))["total.txt"]["bytes"] == 1
    assert set(record["provenance"]) == {"argv", "git", "host", "packages", "version"}


def test_a_failure_is_written_down_and_blocks_only_what_rests_on_it(store: Store) -> None:
    jobs, product = run_points(store, point(1), point(7, fail_at=7))
    assert {job.unit.name: job.state for job in jobs} == {
        "number": JobState.DONE,
        "doubled": JobState.FAILED,
        "total": JobState.BLOCKED,
    }
    assert store.is_done(toy.doubled_of(point(1)))  # finished before its batch mate failed
    failed = store.directory(toy.doubled_of(point(7, fail_at=7))).failed_file
    assert read_json(failed)["error"] == "RuntimeError: doubling went wrong"
    assert not store.is_done(product)


def test_a_stage_can_be_made_by_hand_from_its_directory(store: Store) -> None:
    stage = toy.number_of(point(4))
    directory = store.prepare(stage)
    assert run_stage([str(directory.path)]) == 0
    assert json.loads((directory.out / "number.json").read_text(encoding="utf-8")) == 4


def test_a_stage_without_its_inputs_is_refused(store: Store) -> None:
    directory = store.prepare(toy.doubled_of(point(4)))
    assert run_stage([str(directory.path)]) == 1
    assert "not finished" in read_json(directory.failed_file)["message"]


def test_a_failure_that_cannot_be_written_down_is_told_by_the_exit_status(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk."""
    assert run_stage([str(store.prepare(toy.number_of(point(7))).path)]) == 0
    directory = store.prepare(toy.doubled_of(point(7, fail_at=7)))
    with monkeypatch.context() as disk:
        disk.setattr("sweep.worker.run.write_json", full)
        assert run_stage([str(directory.path)]) == os.EX_IOERR
    assert "no space left on the device" in capsys.readouterr().err


def full(path: Path, *_value: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_folders_in_the_place_of_files_make_way_and_are_kept(store: Store) -> None:
    directory = store.prepare(toy.number_of(point(8)))
    for file in (directory.lock_file, directory.failed_file, directory.progress_file):
        (file / "in the way").mkdir(parents=True)
    assert run_stage([str(directory.path)]) == 0
    assert len(list(directory.path.glob("*.damaged-*/in the way"))) == 3


def test_two_processes_at_the_same_stage_make_it_once(store: Store) -> None:
    store.prepare(toy.number_of(point(1)))
    assert run_stage([str(store.directory(toy.number_of(point(1))).path)]) == 0
    directory = store.prepare(toy.doubled_of(point(1, pause_s=0.3)))
    command = [sys.executable, "-m", "sweep.worker.run", str(directory.path)]
    both = [subprocess.Popen(command, cwd=PROJECT) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len(calls(store)) == 1


def test_workers_end_with_a_launcher_that_was_killed_and_the_next_one_goes_on(store: Store, tmp_path: Path) -> None:
    """A kill -9 leaves no orphan at work, and nothing that was finished is done again."""
    script = tmp_path / "launcher.py"
    script.write_text(
        "import sys; from pathlib import Path; from sweep.store.directory import Store\n"
        "from tests.integration.test_launch import *\n"
        "run_points(Store(Path(sys.argv[1])), point(1), point(2, pause_s=60))",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    launcher = subprocess.Popen([sys.executable, str(script), str(store.root)], cwd=PROJECT, env=environment)
    slow = store.directory(toy.doubled_of(point(2, pause_s=60)))
    wait_until(
        lambda: store.is_done(toy.doubled_of(point(1))) and any(slow.path.glob("out-*")) and len(calls(store)) == 2
    )
    worker = int(calls(store)[-1][1])
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    wait_until(lambda: not is_alive(worker))
    _, product = run_points(store, point(1), point(2))
    assert store.is_done(product)
    assert sum(key == toy.doubled_of(point(1)).key for key, _ in calls(store)) == 1


def command(home: Path, *words: str) -> list[str]:
    """The sweep's command with the configuration of the toys."""
    code = (
        "from pathlib import Path; import sweep.cli.run as command; from sweep.__main__ import main;"
        "from sweep.config.compose import compose;"
        "command.compose = lambda argv: compose(argv, Path('tests/support/toy_conf').resolve());"
        "raise SystemExit(main())"
    )
    places = (f"store={home / 'store'}", f"results={home / 'results'}", "pipeline=tests.support.toy")
    return [sys.executable, "-c", code, *words, *places]


def driver(home: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        command(home, *words),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize("count", ["2", "4"])
def test_identical_sweeps_at_once_all_succeed_and_no_log_is_lost(tmp_path: Path, count: str) -> None:
    """More rounds before a release: S1_SWEEP_ROUNDS=200."""
    rounds = os.environ.get("S1_SWEEP_ROUNDS", "1")
    words = [sys.executable, "-m", "tests.support.rounds", "sweeps", str(tmp_path), rounds, count]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_attempt_has_a_log_of_its_own_and_none_is_lost(store: Store) -> None:
    directory = store.directory(toy.doubled_of(point(7, fail_at=7)))
    for _ in range(2):
        run_points(store, point(7, fail_at=7))
    logs = [directory.path / f"log-{number}.txt" for number in (1, 2)]
    assert all("doubling went wrong" in log.read_text(encoding="utf-8") for log in logs)
    assert directory.log_file.resolve() == logs[1]


def test_a_log_of_before_there_were_numbers_is_kept(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("before", encoding="utf-8")
    point_to_log(new_log(tmp_path), tmp_path)
    assert "before" in {path.read_text(encoding="utf-8") for path in tmp_path.glob("log-*.txt")}
    assert (tmp_path / "log.txt").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log-1.txt", "log-2.txt", "log.txt"]


def test_a_waiting_worker_names_the_holder_and_continues_when_it_is_gone(tmp_path: Path) -> None:
    """Another command's worker is stopped, so that it neither ends nor works; its driver is killed."""
    first = driver(tmp_path, "shape.number=1", "shape.pause_s=60", "-m")
    store = Store(tmp_path / "store")
    slow = store.directory(toy.doubled_of(point(1, pause_s=60.0)))
    wait_until(lambda: slow.progress_file.exists())
    holder = holder_of(slow.path)
    assert holder is not None
    second = driver(tmp_path, "shape.number=1", "shape.pause_s=60", "-m")
    said = lines_until(second, "waiting  ")
    assert f"{slow.address}  held by {holder[0]}" in said[-1]
    first.kill()
    first.wait()
    assert "going on" in lines_until(second, "going on")[-1]
    wait_until(lambda: not is_alive(holder[0].pid))
    second.send_signal(signal.SIGINT)
    assert second.wait() == 130


def lines_until(process: subprocess.Popen[str], word: str) -> list[str]:
    """What a process prints, up to a line with this word."""
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line.rstrip())
        if word in line:
            return said
    raise AssertionError("\n".join(said))


def test_a_stopped_worker_ends_with_its_driver_too(tmp_path: Path) -> None:
    first = driver(tmp_path, "shape.number=1", "shape.pause_s=60", "-m")
    slow = Store(tmp_path / "store").directory(toy.doubled_of(point(1, pause_s=60.0)))
    wait_until(lambda: slow.progress_file.exists())
    found = holder_of(slow.path)
    assert found is not None
    os.kill(found[0].pid, signal.SIGSTOP)
    first.kill()
    first.wait()
    wait_until(lambda: not is_alive(found[0].pid))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_driver_that_is_interrupted_ends_its_workers_and_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    one = driver(tmp_path, "shape.number=1", "shape.pause_s=60", "-m")
    slow = Store(tmp_path / "store").directory(toy.doubled_of(point(1, pause_s=60.0)))
    wait_until(lambda: slow.progress_file.exists())
    found = holder_of(slow.path)
    assert found is not None
    one.send_signal(number)
    assert "interrupted: finished stages are kept" in lines_until(one, "interrupted")[-1]
    assert one.wait() == 130 and not is_alive(found[0].pid)


def test_two_drivers_do_not_fight_while_one_is_stopped(tmp_path: Path) -> None:
    first = driver(tmp_path, "shape.number=1", "shape.pause_s=2", "-m")
    slow = Store(tmp_path / "store").directory(toy.doubled_of(point(1, pause_s=2.0)))
    wait_until(lambda: slow.progress_file.exists())
    first.send_signal(signal.SIGSTOP)
    second = driver(tmp_path, "shape.number=1", "shape.pause_s=2", "-m")
    assert second.wait() == 0
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0
    assert len(calls(Store(tmp_path / "store"))) == 1


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}
    assert list(tmp_path.iterdir()) == [path]
    path.write_text('{"a":', encoding="utf-8")
    with pytest.raises(StoreError, match="damaged"):
        read_json(path)


def wait_until(claim: object, most_s: float = 30.0) -> None:
    end = time.monotonic() + most_s
    while not _holds(claim):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _holds(claim: object) -> bool:
    try:
        return bool(claim())  # type: ignore[operator]
    except FileNotFoundError:
        return False


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").split()[2] != "Z"
