"""Parsing of SLURM's output, including lines that a site adds."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sweep.slurm import client, retry
from sweep.slurm.retry import SlurmUnavailable
from sweep.slurm.status import SlurmInfo
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
        monkeypatch, squeue=f"{GREETING}17_3|RUNNING|1:00|None|n1\n18|PENDING|0:00|Priority|\n99|RUNNING|0|None|n\n"
    )
    assert client.queued_jobs(["17", "18"]) == {
        "17_3": SlurmInfo("RUNNING", "None", "1:00", "n1"),
        "18": SlurmInfo("PENDING", "Priority", "0:00", ""),
    }
    answered(monkeypatch, squeue=GREETING)
    assert client.queued_jobs(["17"]) == {}


@pytest.mark.parametrize("line", ["17|RUNN", "17_3|RUNNING|1:00|None", "17||1:00|None|n1", "17|?|1:00|None|n1"])
def test_a_job_without_a_state_in_squeue_is_not_lost(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    answered(monkeypatch, squeue=f"{line}\n")
    assert client.queued_jobs(["17"]) is None


def test_greetings_of_sacct_and_scontrol_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "17|FAILED|1:00|1:0|n1\n18_[0-1]|CANCELLED by 0|0:00|0:0|\n19|\n20||0:00|0:0|n\n"
    answered(monkeypatch, sacct=GREETING + rows)
    assert client.ended_jobs(["17", "18"])[0] == {
        "17": SlurmInfo("FAILED", "exit 1:0", "1:00", "n1"),
        "18_0": SlurmInfo("CANCELLED", "exit 0:0", "0:00", ""),
        "18_1": SlurmInfo("CANCELLED", "exit 0:0", "0:00", ""),
    }
    answered(monkeypatch, squeue=f"{GREETING}x|toy-a-1\n17|toy-a-1\n", sacct="")
    assert client.find_job("toy-a-1") == "17"
    remembered = "Welcome a=b\nJobId=17 JobState=TIMEOUT RunTime=1:00 NodeList=n1 ExitCode=0:1\n"
    answered(monkeypatch, scontrol=remembered)
    monkeypatch.setattr(client.retry.RETRY, "is_exhausted", True)
    assert list(client._ended_by_scontrol("17")) == [("17", SlurmInfo("TIMEOUT", "exit 0:1", "1:00", "n1"))]


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
