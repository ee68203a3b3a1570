"""Claims of stages: tokens and locks, also with ineffective or missing locks and unreachable holders."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from sweep.claims.claim import TOKEN, Rule, claimed, holder_of, is_at_work
from sweep.claims.holder import (
    Holder,
    HolderState,
    LivenessChecks,
    holder_state,
    holder_text,
    read_holder,
    started_at,
    this_process,
)
from sweep.claims.lock import LockMode, conflicts
from sweep.claims.slurm_job import state_from_scontrol
from sweep.claims.store_hold import store_held
from sweep.core.provenance import PROJECT
from sweep.json_files import StoreError
from tests.support.holders import token_of, write

HERE = Holder(
    "b" * 16, "n1", "boot-2", "machine-1", 70, 700, "pid:[1]", "c", "17_3", 1, "ann", "2026-01-02T00:00:00+00:00"
)
BEFORE = dataclasses.replace(HERE, token="a" * 16, pid=50, started=500, job=None, restart=0)


def ask(
    started: int | None = None,
    booted: str = "2026-01-01T00:00:00+00:00",
    locks: bool = False,
    job: HolderState = HolderState.UNKNOWN,
) -> LivenessChecks:
    return LivenessChecks(
        started=lambda pid: started,
        booted_at=lambda: datetime.fromisoformat(booted),
        locks_decide=lambda: locks,
        locks_decide_everywhere=lambda: locks,
        job=lambda holder: job,
    )


ELSEWHERE = dataclasses.replace(BEFORE, host="n2", boot="boot-9", machine="machine-2")
EARLIER_BOOT = dataclasses.replace(BEFORE, boot="boot-1")
AFTER_BOOT = ask(booted="2026-01-03T00:00:00+00:00")
CONTAINER = dataclasses.replace(BEFORE, pid_space="pid:[2]")
JOB = dataclasses.replace(ELSEWHERE, job="17_3", cluster="c")


@pytest.mark.parametrize(
    ("holder", "asked", "state"),
    [
        (BEFORE, ask(started=500), HolderState.AT_WORK),
        (BEFORE, ask(started=None), HolderState.ENDED),
        (BEFORE, ask(started=501), HolderState.ENDED),  # another process has its number
        (BEFORE, ask(started=-1), HolderState.AT_WORK),  # somebody else's, hidden from us
        (CONTAINER, ask(locks=True), HolderState.ENDED),
        (CONTAINER, ask(locks=False), HolderState.UNKNOWN),
        (EARLIER_BOOT, AFTER_BOOT, HolderState.ENDED),
        (EARLIER_BOOT, ask(), HolderState.UNKNOWN),  # written since we were started: another machine with our names
        (
            dataclasses.replace(EARLIER_BOOT, host="n2"),
            AFTER_BOOT,
            HolderState.UNKNOWN,
        ),  # one image, one id, many machines
        (dataclasses.replace(EARLIER_BOOT, machine=None), AFTER_BOOT, HolderState.UNKNOWN),
        (ELSEWHERE, ask(locks=True), HolderState.UNKNOWN),  # our lock may not be seen there
        (JOB, ask(), HolderState.ENDED),  # our own job, put back into the queue
        (dataclasses.replace(JOB, restart=1), ask(job=HolderState.AT_WORK), HolderState.AT_WORK),
        (dataclasses.replace(JOB, restart=2), ask(), HolderState.UNKNOWN),  # then it is us who are late
        (dataclasses.replace(JOB, cluster="d"), ask(), HolderState.UNKNOWN),
        (dataclasses.replace(JOB, job="18"), ask(job=HolderState.ENDED), HolderState.ENDED),
        (dataclasses.replace(JOB, job="18"), ask(job=HolderState.NO_ANSWER), HolderState.NO_ANSWER),
        (dataclasses.replace(BEFORE, boot=None, machine=None), ask(), HolderState.UNKNOWN),
    ],
)
def test_a_holder_has_ended_only_where_that_is_known(holder: Holder, asked: LivenessChecks, state: HolderState) -> None:
    assert holder_state(holder, HERE, asked) is state


@pytest.mark.parametrize(
    ("status", "said", "state"),
    [
        (0, "JobId=17 JobState=RUNNING Restarts=0 Reason=None", HolderState.AT_WORK),
        (0, "JobId=17 JobState=RUNNING Restarts=1 Reason=None", HolderState.ENDED),
        (0, "JobId=17 JobState=COMPLETING Restarts=0", HolderState.AT_WORK),
        (0, "JobId=17 JobState=SUSPENDED Restarts=0", HolderState.AT_WORK),
        (0, "JobId=17 JobState=PENDING Restarts=1", HolderState.ENDED),
        *(
            (0, f"JobId=17 JobState={state} Restarts=0", HolderState.ENDED)
            for state in ("COMPLETED", "NODE_FAIL", "TIMEOUT")
        ),
        (1, "slurm_load_jobs error: Invalid job id specified", HolderState.ENDED),
        (1, "slurm_load_jobs error: Unable to contact slurm controller", HolderState.NO_ANSWER),
        (0, "", HolderState.NO_ANSWER),
    ],
)
def test_slurm_says_whether_a_job_and_its_restart_have_ended(status: int, said: str, state: HolderState) -> None:
    assert state_from_scontrol(status, said, restart=0) is state


# ------------------------------------------------------------------------------------------------- one claim


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "store" / "number" / "00000000000a"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_claim_leaves_nothing_behind(place: Path) -> None:
    with claimed(place) as is_ours:
        assert is_ours
        found = holder_of(place)
        assert found is not None and found[0].pid == os.getpid() and found[1] is HolderState.AT_WORK
    assert [path.name for path in place.iterdir()] == ["lock"]


def test_a_token_whose_process_is_gone_is_taken_over(place: Path, other: subprocess.Popen[bytes]) -> None:
    write(place, token_of(other))
    assert is_at_work(place)
    with claimed(place, Rule(wait=False, take_over=True)) as is_ours:
        assert not is_ours, "yes=true is no leave to take from a process that is there"
    other.kill()
    other.wait()
    assert not is_at_work(place)
    with claimed(place, Rule(wait=False)) as is_ours:
        assert is_ours
    assert [path.name for path in place.iterdir()] == ["lock"]


def test_a_process_that_only_its_parent_has_not_noticed_is_gone(place: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    deadline = time.monotonic() + 30
    while started_at(child) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    write(place, dataclasses.replace(this_process(), pid=child, started=1))
    with claimed(place, Rule(wait=False)) as is_ours:
        assert is_ours
    os.waitpid(child, 0)


def test_an_unreachable_holder_is_named_and_replaced_only_on_request(place: Path) -> None:
    elsewhere = dataclasses.replace(this_process(), host="node7", boot="b", machine="m", pid=41, user="ann")
    write(place, elsewhere)
    line = rf"^number/0+a: held by node7 pid 41 of ann since {re.escape(elsewhere.since)}, whose state cannot be"
    found = line + r" checked from here\. If that has ended, .*--yes\.$"
    with pytest.raises(StoreError, match=found), claimed(place):
        pass
    with claimed(place, Rule(wait=False)) as is_ours:
        assert not is_ours, "--unless-busy leaves it"
    assert read_holder(place / TOKEN) == elsewhere
    with claimed(place, Rule(take_over=True)) as is_ours:
        assert is_ours
    assert [path.name for path in place.iterdir()] == ["lock"]


def test_a_requeued_job_takes_over_from_its_own_dead_token(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SLURM_JOB_ID", "20"), ("SLURM_ARRAY_JOB_ID", "17"), ("SLURM_ARRAY_TASK_ID", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "c")
    first = dataclasses.replace(this_process(), host="node7", boot="b", machine="m")
    assert (first.job, first.restart) == ("17_3", 0)
    write(place, first)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with claimed(
        place, Rule(query_job=lambda holder: HolderState.AT_WORK)
    ) as is_ours:  # SLURM says: that job is running
        assert is_ours


def test_slurm_is_asked_about_a_job_on_another_node(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(place, dataclasses.replace(this_process(), host="node7", boot="b", machine="m", job="18", cluster="c"))
    with claimed(place, Rule(wait=False, query_job=lambda holder: HolderState.AT_WORK)) as is_ours:
        assert not is_ours
    with claimed(place, Rule(query_job=lambda holder: HolderState.ENDED)) as is_ours:
        assert is_ours


@pytest.mark.parametrize("damage", ["", '{"host": "n', '{"checksum": "0"}', "[]", "\xff"])
def test_a_damaged_token_does_no_harm_where_locks_work(place: Path, damage: str) -> None:
    (place / TOKEN).write_text(damage, encoding="latin-1")
    assert not is_at_work(place)
    with claimed(place, Rule(wait=False)) as is_ours:
        assert is_ours


def test_a_flipped_digit_in_a_token_is_noticed(place: Path) -> None:
    write(place, this_process())
    text = (place / TOKEN).read_text(encoding="utf-8")
    (place / TOKEN).write_text(text.replace(f'"pid": {os.getpid()}', '"pid": 1'), encoding="utf-8")
    found = read_holder(place / TOKEN)
    assert found is not None and not found.is_known


@pytest.mark.parametrize("change", [{"pid": 2**40}, {"pid": -1}, {"token": "../../x"}, {"since": 5}, {"host": ""}])
def test_a_token_with_values_of_no_process_is_one_of_nobody(place: Path, change: dict[str, object]) -> None:
    write(place, dataclasses.replace(this_process(), **change))  # type: ignore[arg-type]
    found = read_holder(place / TOKEN)
    assert found is not None and not found.is_known


def test_what_a_token_says_reaches_no_terminal_as_a_code(place: Path) -> None:
    assert "\x1b" not in str(dataclasses.replace(this_process(), host="node\x1b[2J"))


def test_a_folder_in_place_of_a_token_does_no_harm(place: Path) -> None:
    (place / TOKEN / "in the way").mkdir(parents=True)
    with claimed(place, Rule(wait=False)) as is_ours:
        assert is_ours


def test_another_ones_token_is_not_removed_at_the_end(place: Path) -> None:
    with claimed(place):
        another = dataclasses.replace(this_process(), host="node7")
        write(place, another)  # as after yes=true there
    assert read_holder(place / TOKEN) == another


def test_a_process_that_died_while_breaking_a_token_blocks_nobody(place: Path, other: subprocess.Popen[bytes]) -> None:
    dead = token_of(other)
    other.kill()
    other.wait()
    write(place, dead)
    breaking = place / f".{TOKEN}.{dead.token}.broken"
    breaking.write_text(holder_text(dataclasses.replace(dead, token="c" * 16)), encoding="utf-8")
    with claimed(place, Rule(wait=False)) as is_ours:
        assert is_ours
    assert [path.name for path in place.iterdir()] == ["lock"]


def test_a_waiting_worker_names_the_holder_once_and_continues_when_it_ends(
    place: Path, other: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    holder = token_of(other)
    write(place, holder)
    ender = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill {other.pid}"])
    while other.poll() is None and ender.poll() is None:
        with claimed(place) as is_ours:  # our child stays a zombie while we wait: that counts as ended
            assert is_ours
    ender.wait()
    assert capsys.readouterr().out.splitlines() == [
        f"waiting for number/00000000000a: held by {holder}",
        "number/00000000000a: free now, continuing",
    ]


CONTAINED = """
import os, sys, time
from pathlib import Path
from sweep.claims.claim import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read(1)
    os._exit(9)
"""


def test_a_process_in_a_container_of_this_machine_is_known_by_its_lock(place: Path) -> None:
    """Its number means nothing here; it dies with its token in place, and is taken over from."""
    contained = ("unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", CONTAINED, str(place))
    if subprocess.run([*contained[:4], "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces here: processes in containers are NOT tested")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    worker = subprocess.Popen(contained, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert worker.stdout is not None and worker.stdout.readline() == "held\n"
    found = holder_of(place)
    assert found is not None and found[1] is HolderState.AT_WORK and found[0].pid_space != this_process().pid_space
    with claimed(place, Rule(wait=False, take_over=True)) as is_ours:
        assert not is_ours
    worker.communicate("x")
    assert (place / TOKEN).exists() and not is_at_work(place)
    with claimed(place, Rule(wait=False)) as is_ours:
        assert is_ours


def test_locks_are_known_to_work_here(place: Path) -> None:
    assert conflicts(place / "lock")


def test_tokens_of_sweeps_that_have_ended_are_removed(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    (tmp_path / f".shared-{'a' * 16}.json").write_text(holder_text(token_of(other)), encoding="utf-8")
    with pytest.raises(StoreError, match=f"pid {other.pid} "), store_held(tmp_path, LockMode.EXCLUSIVE):
        pass
    other.kill()
    other.wait()
    with store_held(tmp_path, LockMode.EXCLUSIVE):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_sweep_that_cannot_be_asked_is_named_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / f".shared-{'a' * 16}.json"
    file.write_text(
        holder_text(dataclasses.replace(this_process(), host="node7", boot="b", machine="m")), encoding="utf-8"
    )
    refused = pytest.raises(StoreError, match=f"Held by node7 .*if it has ended, remove {file}")
    with refused, store_held(tmp_path, LockMode.EXCLUSIVE):
        pass
    with store_held(tmp_path, LockMode.SHARED):
        pass
