"""Parsing of SLURM's output, including lines that a site adds."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sweep.errors import InputError
from sweep.slurm import client, retry
from sweep.slurm.answers import parse_restarts, parse_sacct
from sweep.slurm.retry import SlurmNotFound, SlurmUnavailable
from sweep.slurm.status import NEVER_SATISFIED, SlurmInfo
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import Store
from tests.support.slurm_controller import Connect, Controller, Waits
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


def test_names_in_the_queue_are_like_no_other(tmp_path: Path) -> None:
    first, second = (written(Store(tmp_path / each), fan()) for each in ("a", "b"))
    names = [each.queue_name(job.name, "toy") for each in (first, second) for job in each.read().jobs]
    assert len(set(names)) == 8
    assert names[1].startswith("toy-points-")
    script = first.script("02-points").read_text(encoding="utf-8")
    assert f"#SBATCH --job-name={names[1]}\n" in script


@pytest.mark.parametrize("experiment", ["smoke-steps=100", "a b,c", "100%j", "#\n--x", "x" * 400])
def test_a_name_in_the_queue_is_one_plain_word(tmp_path: Path, experiment: str) -> None:
    name = SubmissionDirectory(tmp_path).queue_name("03-pool+rows.r2", experiment)
    assert re.fullmatch(r"[A-Za-z0-9._+=-]{1,170}", name)
    assert name != SubmissionDirectory(tmp_path).queue_name("03-pool+rows.r3", experiment)


def test_a_lookup_finds_only_the_exact_job_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an array its own id; also of a job that has ended, by accounting where the controller has forgotten it."""
    monkeypatch.setattr(
        client,
        "_query_once",
        lambda *command: {"squeue": "8|other\n17|toy-a-1\n17|toy-a-1\n", "sacct": "5_2|toy-b-2\n5_[3-4]|toy-b-2\n"}[
            command[0]
        ],
    )
    assert (client.find_job("toy-a-1"), client.find_job("toy-b-2"), client.find_job("toy-c-3")) == ("17", "5", None)


def test_a_killed_sbatch_may_have_submitted_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sbatch").write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "a.sbatch").write_text("#SBATCH --job-name=a\n", encoding="utf-8")
    with pytest.raises(SlurmUnavailable, match="ended by signal 9"):
        client.sbatch(tmp_path / "a.sbatch", [], None)
    monkeypatch.setattr(
        subprocess, "run", lambda *command, **options: (_ for _ in ()).throw(subprocess.TimeoutExpired("s", 1))
    )
    with pytest.raises(SlurmUnavailable, match="no answer"):
        client.sbatch(tmp_path / "a.sbatch", [], None)


GREETING = "*** Welcome | to | the | cluster | today ***\nModule slurm/24 loaded.\n|||||\na|b|c|d|e\n"


def answered(monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
    def ask(program: str, *words: str) -> str:
        return texts[program]

    monkeypatch.setattr(client, "_query_once", ask)


def test_greetings_of_squeue_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    answered(
        monkeypatch,
        squeue=f"{GREETING}17_3|RUNNING|1:00|None|n1|2026-11-27T17:38:27\n"
        "18|PENDING|0:00|Priority||N/A\n99|RUNNING|0|None|n|\n",
    )
    assert client.queued_jobs(["17", "18"]) == {
        "17_3": SlurmInfo("RUNNING", "None", "1:00", "n1", starts_at="2026-11-27T17:38:27"),
        "18": SlurmInfo("PENDING", "Priority", "0:00", ""),
    }
    answered(monkeypatch, squeue=GREETING)
    assert client.queued_jobs(["17"]) == {}


@pytest.mark.parametrize("line", ["17|RUNN", "17_3|RUNNING|1:00|None", "17||1:00|None|n1|N/A", "17|?|1:00|None|n1|N/A"])
def test_a_job_without_a_state_in_squeue_is_not_lost(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    answered(monkeypatch, squeue=f"{line}\n")
    assert client.queued_jobs(["17"]) is None


def test_greetings_of_sacct_and_scontrol_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "17|FAILED|1:00|1:0|n1||T1|\n18_[0-1]|CANCELLED by 0|0:00|0:0|None assigned||T1|\n19|\n20||0:00|0:0|n||T1|\n"
    answered(monkeypatch, sacct=GREETING + rows)
    assert client.ended_jobs(["17", "18"]) == (
        {
            "17": SlurmInfo("FAILED", elapsed="1:00", nodes="n1", exit_code="1:0"),
            "18_0": SlurmInfo("CANCELLED", elapsed="0:00", exit_code="0:0", cancelled_by="0"),
            "18_1": SlurmInfo("CANCELLED", elapsed="0:00", exit_code="0:0", cancelled_by="0"),
        },
        "sacct",
    )
    answered(monkeypatch, squeue=f"{GREETING}x|toy-a-1\n17|toy-a-1\n", sacct="")
    assert client.find_job("toy-a-1") == "17"


def test_what_slurm_cancelled_is_told_from_what_a_user_cancelled_while_it_waited() -> None:
    """Rows of sacct 22.05: jobs that waited for one that failed, and one that was cancelled before that."""
    rows = "2|CANCELLED|0:00|0:0|None assigned||T|Dependency\n3_[0-1]|CANCELLED|0:00|0:0|None assigned||T|Dependency\n"
    rows += "4|CANCELLED by 0|0:00|0:0|None assigned||T|Dependency\n"
    found = parse_sacct(rows)
    assert {name: seen.reason == NEVER_SATISFIED for name, seen in found.items()} == {
        "2": True,
        "3_0": True,
        "3_1": True,
        "4": False,
    }


SCONTROL = "Welcome a=b\nJobId=17 JobState=TIMEOUT Reason=TimeLimit Restarts=2 RunTime=1:00 NodeList=n1 ExitCode=0:15\n"
TIMED_OUT = SlurmInfo("TIMEOUT", "TimeLimit", "1:00", "n1", exit_code="0:15", restarts=2)


def test_without_accounting_scontrol_tells_how_recent_jobs_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(program: str, *words: str) -> str:
        if program == "sacct":
            raise InputError("sacct: Slurm accounting storage is disabled.")
        if words[-1] != "17":
            raise InputError("scontrol: slurm_load_jobs error: Invalid job id specified.")
        return SCONTROL

    monkeypatch.setattr(client, "_query_once", ask)
    assert client.ended_jobs(["16", "17"]) == ({"17": TIMED_OUT}, "scontrol")


@pytest.mark.parametrize("late", ["", "17|RUNNING|0:50|0:0|n1||T1|\n"])
def test_scontrol_corrects_what_accounting_does_not_know_yet(monkeypatch: pytest.MonkeyPatch, late: str) -> None:
    """squeue no longer lists job 17, so it has ended, whatever sacct says; of job 18, sacct knows the end."""
    asked: list[str] = []

    def ask(program: str, *words: str) -> str:
        asked.append(f"{program} {words[-1]}")
        return f"{late}18|FAILED|0:10|3:0|n2||T1|\n" if program == "sacct" else SCONTROL

    monkeypatch.setattr(client, "_query_once", ask)
    found, source = client.ended_jobs(["17", "18"])
    assert (found["17"], found["18"].exit_code, source) == (TIMED_OUT, "3:0", "sacct with scontrol")
    assert asked[1:] == ["scontrol 17"]


def test_a_command_that_is_not_there_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"sacct": "18|FAILED|0:10|3:0|n2||T1|\n"}

    def ask(program: str, *words: str) -> str:
        if program in known:
            return known[program]
        raise SlurmNotFound(f"{program}: not found here.")

    monkeypatch.setattr(client, "_query_once", ask)
    assert client.ended_jobs(["17", "18"])[1] == "sacct"
    known.clear()
    assert client.ended_jobs(["17", "18"]) == ({}, "")


def test_an_element_that_only_accounting_calls_running_is_not_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(program: str, *words: str) -> str:
        if program == "scontrol":
            raise InputError("scontrol: slurm_load_jobs error: Invalid job id specified.")
        return "17|RUNNING|0:50|0:0|n1||T1|\n"

    monkeypatch.setattr(client, "_query_once", ask)
    assert client.ended_jobs(["17"])[0] == {}


def test_the_last_attempt_counts_and_earlier_ones_are_restarts() -> None:
    """As sacct --duplicates prints it, in either order; the peak is that of the largest step."""
    rows = [
        "16_0|REQUEUED|00:00:07|0:0|n1||2026-11-27T17:38:28|",
        "16_0.batch|CANCELLED|00:00:07|0:15|n1|3145728K|2026-11-27T17:38:28|",
        "16_0|COMPLETED|00:00:03|0:0|n2||2026-11-27T17:38:29|",
        "16_0.batch|COMPLETED|00:00:03|0:0|n2|1048576K|2026-11-27T17:38:34|",
        "16_0.0|COMPLETED|00:00:03|0:0|n2|2G|2026-11-27T17:38:34|",
    ]
    expected = SlurmInfo("COMPLETED", elapsed="00:00:03", nodes="n2", exit_code="0:0", restarts=1, peak_memory_gib=3.0)
    for order in (rows, rows[::-1]):
        assert parse_sacct("\n".join(order)) == {"16_0": expected}


def test_restarts_of_the_queue() -> None:
    assert parse_restarts("17_3       2\nWelcome to 3 nodes\n18    0\nx 4\n") == {"17_3": 2, "18": 0}


@pytest.mark.parametrize(
    ("said", "size"),
    [
        (f"{GREETING}MaxArraySize            = 1001\n", 1001),
        ("MaxArraySize = garbage\n", None),
        ("MaxArraySize =\n", None),
        ("MaxArraySize = -5\n", None),
        ("MaxArraySize = 0\n", 1),  # no arrays at all
        ("", None),
    ],
)
def test_the_longest_array_is_a_number_or_not_known(
    monkeypatch: pytest.MonkeyPatch, said: str, size: int | None
) -> None:
    answered(monkeypatch, scontrol=said)
    assert client.max_array_size() == size
