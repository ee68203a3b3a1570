"""Submission during controller outages: retries, lookups before resubmission, and messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.errors import InputError
from sweep.slurm import client, retry
from sweep.slurm.retry import MOST_S, WAITS_S, SlurmUnavailable, is_refusal, is_transient
from sweep.store.directory import Store
from tests.support.slurm_controller import AWAY, Connect, Controller, Waits, send
from tests.support.submissions import fan, written


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    made = Waits()
    monkeypatch.setattr(retry, "RETRY", made.retry_policy())
    return made


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, waits: Waits) -> Connect:
    def to(*answers: str) -> Controller:
        made = Controller(list(answers))
        for call in ("sbatch", "find_job", "scancel"):
            monkeypatch.setattr(client, call, getattr(made, call))
        monkeypatch.setattr(client, "queued_jobs", lambda ids: {})
        monkeypatch.setattr(client, "ended_jobs", lambda ids: ({}, ""))
        return made

    return to


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        (AWAY, True),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", True),
        ("sbatch: error: Batch job submission failed: Resource temporarily unavailable", True),
        ("sacct: error: Problem talking to the database: Connection refused", True),
        ("sacct: error: slurmdbd: Sending PersistInit msg: Connection refused", True),
        ("squeue: error: slurm_receive_msg: Zero Bytes were transmitted or received", True),
        ("slurm_load_jobs error: Slurm backup controller in standby mode", True),
        ("sbatch: error: Batch job submission failed: Unable to create job record, try again", True),
        ("sbatch: error: invalid partition specified: gpus", False),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", False),
        ("sbatch: error: AssocMaxSubmitJobLimit", False),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination", False),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", False),
        (
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying"
            " sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
            False,
        ),
        ("Slurm accounting storage is disabled", False),
        ("squeue: error: Invalid job id specified", False),
        ("scancel: error: Kill job error on job id 5: Access/permission denied", False),
    ],
)
def test_temporary_errors_are_distinguished_from_refusals(said: str, passes: bool) -> None:
    assert is_transient(said) is passes


def test_retry_waits_double_and_are_reported_and_bounded(waits: Waits) -> None:
    calls = []

    def call() -> str:
        calls.append(waits.now)
        raise SlurmUnavailable("squeue: Unable to contact slurm controller (connect failure).")

    with pytest.raises(SlurmUnavailable, match="Unable to contact"):
        retry.RETRY.call(call)
    assert calls == [0, 2, 6, 14, 30, 60, 105, 165]
    assert waits.lines[0] == "squeue: Unable to contact slurm controller (connect failure). Trying again in 2 s."
    assert len(waits.lines) == len(WAITS_S)
    with pytest.raises(SlurmUnavailable):
        retry.RETRY.call(call)  # it was in vain: what is asked next does not wait as long once more
    assert calls[-1] == 165 and len(waits.lines) == len(WAITS_S)


def test_hanging_calls_count_towards_the_retry_limit(waits: Waits) -> None:
    def call() -> str:
        waits.now += 120  # as long as a call may take
        raise SlurmUnavailable("squeue: no answer in 120 s. Is slurmctld up?")

    with pytest.raises(SlurmUnavailable):
        retry.RETRY.call(call)
    assert waits.now <= MOST_S + 120


@pytest.mark.parametrize("program", ["squeue", "sacct", "scontrol", "scancel"])
def test_every_question_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: Waits, program: str
) -> None:
    """By real processes: one that fails twice of a thing that passes, and then answers."""
    tried = tmp_path / "tried"
    answer = {
        "squeue": "17|RUNNING|1:00|None|n1|N/A",
        "sacct": "17|FAILED|1:00|1:0|n1||T1|None",
        "scontrol": "MaxArraySize = 9",
    }
    said = "Socket timed out on send/recv operation"
    script = (
        f"#!/bin/sh\necho >>{tried}\nif [ $(wc -l <{tried}) -lt 3 ]; then echo {said} >&2; exit 1; fi\n"
        f"echo '{answer.get(program, '')}'\n"
    )
    (tmp_path / program).write_text(script, encoding="utf-8")
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ask: dict[str, Callable[[], object]] = {
        "squeue": lambda: sorted(client.queued_jobs(["17"]) or {}),
        "sacct": lambda: sorted(client.ended_jobs(["17"])[0]),
        "scontrol": client.max_array_size,
        "scancel": lambda: client.scancel(["17"]),
    }
    expected = {"squeue": ["17"], "sacct": ["17"], "scontrol": 9, "scancel": None}
    assert ask[program]() == expected[program]
    assert waits.lines == [f"{program}: {said}. Trying again in {s} s." for s in (2, 4)]


def test_a_refusal_is_not_repeated(tmp_path: Path, connect: Connect, waits: Waits) -> None:
    controller = connect("ok", "refused")
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError, match=r"^sbatch: invalid partition specified: gpus[^\n]*$"):
        send(directory)
    assert controller.calls == ["sbatch 01-start", "sbatch 02-points", "squeue", "scancel"]
    assert controller.cancelled == ["101"]
    assert waits.lines == []
    assert directory.unconfirmed() == {}
    assert directory.ids() == {"01-start": "101"}


SBATCH = """#!/bin/sh
for each in "$@"; do case $each in *.sbatch) script=$each;; esac; done
name=$(sed -n 's/^#SBATCH --job-name=//p' $script)
id=$((101 + $(wc -l <{jobs})))
echo "$(basename $script .sbatch)" >>{calls}
case $script in *02-points.sbatch) {second} ;; *) echo "$id|$name" >>{jobs}; echo $id ;; esac
"""


TAKEN = 'echo "$id|$name" >>{jobs};'


def real(directory: Path, monkeypatch: pytest.MonkeyPatch, second: str, squeue: str = "cat {jobs}") -> Path:
    """Commands of SLURM as real processes, of which sbatch does `second` with the second job; the file of its calls."""
    places = {"jobs": directory / "jobs.txt", "calls": directory / "calls.txt"}
    for path in places.values():
        path.write_text("", encoding="utf-8")
    texts = {
        "sbatch": SBATCH.format(second=second.format(**places), **places),
        "squeue": f"#!/bin/sh\n{squeue.format(**places)}\n",
        **dict.fromkeys(("sacct", "scancel"), "#!/bin/sh\necho >/dev/null\n"),
    }
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return places["calls"]


@pytest.mark.parametrize(
    "second",
    [
        f"{TAKEN} echo $id; echo 'lua: plugin error' >&2; exit 1",
        f"{TAKEN} echo $id; echo 'sbatch: error: invalid partition specified: of a hook' >&2; exit 1",
        f"{TAKEN} echo 'site wrapper: cannot write its log' >&2; exit 3",
        f"{TAKEN} echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1",
        f"{TAKEN} exit 1",
        f"{TAKEN} echo Welcome.",
        f"{TAKEN} echo $id; echo Thank you for using the cluster",
        f"{TAKEN} echo 2026; echo $id",
    ],
)
def test_a_job_accepted_by_a_failing_sbatch_is_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: Waits, second: str
) -> None:
    calls = real(tmp_path, monkeypatch, second)
    directory = written(Store(tmp_path / "store"), fan())
    assert list(send(directory).values()) == ["101", "102", "103", "104"]
    assert calls.read_text().split() == ["01-start", "02-points", "03-total", "04-publish"]
    assert list(directory.ids().values()) == ["101", "102", "103", "104"] and directory.unconfirmed() == {}


def test_an_unknown_sbatch_error_is_not_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: Waits) -> None:
    calls = real(tmp_path, monkeypatch, "echo 'lua: no' >&2; exit 1")
    directory = written(Store(tmp_path / "store"), fan())
    with pytest.raises(InputError, match=r"^sbatch: lua: no\. The job is not in the queue\. Correct .*[^\n]$"):
        send(directory)
    assert calls.read_text().split() == ["01-start", "02-points"]
    assert directory.unconfirmed() == {} and directory.ids() == {"01-start": "101"}
    assert len(waits.lines) == 2  # looked up twice


def test_a_failed_lookup_is_reported_and_the_job_stays_unconfirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: Waits
) -> None:
    for words in ("lua: no", "sbatch: error: invalid partition specified: gpus"):
        calls = real(tmp_path, monkeypatch, f"echo '{words}' >&2; exit 1", squeue="echo 'no licence' >&2; exit 1")
        directory = written(Store(tmp_path / "store"), fan())
        with pytest.raises(InputError, match=rf"{words}(.|\n)*02-points: unknown whether SLURM accepted it"):
            send(directory)
        assert calls.read_text().split() == ["01-start", "02-points"]
        assert list(directory.unconfirmed()) == ["02-points"]


@pytest.mark.parametrize(
    ("said", "is_final"),
    [
        ("sbatch: error: invalid partition specified: gpus", True),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", True),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination", True),
        ("sbatch: unrecognized option '--nonsense'", True),
        ("sbatch: error: invalid partition, Unable to contact slurm controller", False),
        ("sbatch: error: lua: plugin error", False),
        ("Killed", False),
        ("status 1", False),
    ],
)
def test_only_known_messages_count_as_a_refusal(said: str, is_final: bool) -> None:
    assert is_refusal(said) is is_final


def test_the_environment_sends_no_job_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SBATCH_CLUSTERS is read by sbatch alone: squeue would not see the job."""
    (tmp_path / "sbatch").write_text('#!/bin/sh\n[ -z "$SBATCH_CLUSTERS$SBATCH_ARRAY_INX$SBATCH_WAIT" ] && echo 17\n')
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("SBATCH_CLUSTERS", "SBATCH_ARRAY_INX", "SBATCH_WAIT"):
        monkeypatch.setenv(name, "1")
    (tmp_path / "a.sbatch").write_text("#SBATCH --job-name=a\n", encoding="utf-8")
    assert client.sbatch(tmp_path / "a.sbatch", [], None) == "17"
