"""Stages run by several processes: which rank publishes, and how a failure or a stop request reaches all ranks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.core.interrupt import EXIT_REQUEUE
from sweep.core.provenance import PROJECT
from sweep.store.directory import StageDirectory, Store, read_json
from sweep.worker.ranks import Rank, this_rank
from tests.integration.test_launch import is_alive, wait_until
from tests.support.toy_group import Choir, stage_of

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "shared").mkdir()
    return Store(tmp_path)


def start(directory: StageDirectory, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "sweep.worker.run", *options, str(directory.path)], cwd=PROJECT)


def calls(store: Store) -> list[list[str]]:
    path = store.root / "shared" / "calls.txt"
    return sorted(line.split() for line in path.read_text(encoding="utf-8").splitlines()) if path.exists() else []


def test_all_members_run_the_function_and_the_first_ones_product_is_published(store: Store) -> None:
    directory = store.prepare(stage_of(Choir()))
    assert start(directory).wait() == 0
    assert [rank for rank, _ in calls(store)] == ["0", "1"]
    assert [path.name for path in directory.out.iterdir()] == ["part-0.txt"]
    assert directory.read_record()["summary"] == {"rank": 0}
    token = directory.out.name.removeprefix("out-")
    assert sorted(path.name for path in directory.path.iterdir()) == [
        *("hashed.json", "lock", "out", f"out-{token}", f"record-{token}.json", "record.json", "stage.json"),
    ]


def test_nothing_is_published_before_the_last_member_is_through(store: Store) -> None:
    """Or its scratch would be removed under it, checkpoints and all."""
    directory = store.prepare(stage_of(Choir(lingering_rank="1")))
    assert start(directory).wait() == 0
    assert (store.root / "shared" / "lingered").read_text() == "scratch was there, nothing published"


def test_a_group_at_a_stage_that_is_done_ends_well_and_does_nothing(store: Store) -> None:
    directory = store.prepare(stage_of(Choir()))
    for _ in range(2):
        assert start(directory).wait() == 0
    assert len(calls(store)) == 2


def test_two_groups_at_the_same_stage_make_it_once(store: Store) -> None:
    directory = store.prepare(stage_of(Choir(pause_s=1.0)))
    both = [start(directory) for _ in range(2)]
    assert [group.wait() for group in both] == [0, 0]
    assert len(calls(store)) == 2


def test_groups_of_two_nodes_meet_and_make_one_product(store: Store) -> None:
    """Each node has a leader of its own, started as `srun` would; here both are this machine."""
    directory = store.prepare(stage_of(Choir(), processes=1))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meet = f"--nnodes=2 --rdzv-backend=c10d --rdzv-id=4711 --rdzv-endpoint=127.0.0.1:{port} --local-addr=127.0.0.1"
    nodes = [start(directory, f"--rendezvous={meet}") for _ in range(2)]
    assert [node.wait() for node in nodes] == [0, 0]
    assert [rank for rank, _ in calls(store)] == ["0", "1"]
    assert [path.name for path in directory.out.iterdir()] == ["part-0.txt"]


@pytest.mark.parametrize("rank", ["0", "1"])
def test_the_failure_of_any_member_ends_the_group_and_says_why(store: Store, rank: str) -> None:
    directory = store.prepare(stage_of(Choir(failing_rank=rank)))
    assert start(directory).wait() == 1
    assert read_json(directory.failed_file)["error"] == f"ValueError: voice {rank} is hoarse"
    assert not directory.is_done


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_group_that_is_asked_to_stop_saves_and_goes_on_later(store: Store, number: signal.Signals) -> None:
    directory = store.prepare(stage_of(Choir(), "sing_until_asked"))
    leader = start(directory)
    wait_until(lambda: len(list(directory.scratch.glob("singing-*"))) == 2)
    leader.send_signal(number)
    assert leader.wait() == EXIT_REQUEUE == 75
    assert read_json(directory.interrupted_file)["message"] == "the song was noted down"
    assert not directory.failed_file.exists()
    assert start(directory).wait() == 0
    assert directory.read_record()["summary"] == {"kept": 1}


def test_members_end_when_their_leader_was_killed(store: Store) -> None:
    directory = store.prepare(stage_of(Choir(pause_s=60)))
    leader = start(directory)
    wait_until(lambda: len(calls(store)) == 2)
    leader.kill()
    leader.wait()
    wait_until(lambda: not any(is_alive(int(process)) for _, process in calls(store)))


def test_a_single_worker_that_saves_nothing_ends_at_once_when_asked_and_has_not_failed(store: Store) -> None:
    directory = store.prepare(stage_of(Choir(), "sleep", processes=1))
    worker = start(directory)
    wait_until(lambda: (directory.scratch / "asleep").exists())
    worker.send_signal(signal.SIGUSR1)
    assert worker.wait() == EXIT_REQUEUE
    assert not directory.failed_file.exists() and not directory.is_done


def test_how_many_processes_make_a_stage_is_no_part_of_what_it_is() -> None:
    assert stage_of(Choir(), processes=1).key == stage_of(Choir(), processes=16).key


def test_a_start_of_a_group_is_told_from_another_of_the_same_job() -> None:
    environment = {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "4711", "MASTER_PORT": "29500"}
    assert this_rank(environment) == Rank(1, 2, "4711-29500")
    assert this_rank({**environment, "MASTER_PORT": "29501"}) != this_rank(environment)
    assert this_rank({}).is_first and this_rank({}).group is None
    assert os.environ.get("TORCHELASTIC_RUN_ID") is None, "or the tests themselves would be taken for members"
