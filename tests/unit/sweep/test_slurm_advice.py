"""Each way in which SLURM ends a job: its word and what to do. Rows as sacct 22.05 printed them on a test cluster.

OUT_OF_MEMORY, PREEMPTED and BOOT_FAIL cannot happen on that cluster, nor exit statuses 0:53 and 75: their rows are made
after the others. Times of submission do not matter here.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sweep.config.escapes import decoded
from sweep.core.launch import JobSettings, Launch
from sweep.core.stage import Resources
from sweep.slurm.advice import asked_by, how_ended, what_to_do, why_waiting
from sweep.slurm.answers import parse_sacct, parse_scontrol
from sweep.slurm.jobs import SlurmJob
from sweep.slurm.status import ElementState, SlurmInfo

LAUNCH = Launch(
    defaults=JobSettings(memory_gib=16, memory_gib_per_gpu=64),
    cpu=JobSettings(minutes=90),
    generate=JobSettings(minutes=720),
)
GPU = asked_by(SlurmJob("03-traces", Resources("generate", devices=8), ()), LAUNCH)
CPU = asked_by(SlurmJob("01-pool", Resources(), ()), LAUNCH)
ENDINGS = {
    "timeout": "1|TIMEOUT|00:01:29|0:0|127.0.0.1||T|\n1.batch|CANCELLED|00:01:29|0:15|127.0.0.1|3012K|T|",
    "memory": "1|OUT_OF_MEMORY|00:10:00|0:125|n7||T|\n1.batch|OUT_OF_MEMORY|00:10:00|0:125|n7|16672358K|T|",
    "memory unmeasured": "1|OUT_OF_MEMORY|00:10:00|0:125|n7||T|",
    "killed": "2|FAILED|00:00:01|0:9|127.0.0.1||T|\n2.batch|CANCELLED by 0|00:00:01|0:9|127.0.0.1|16777216K|T|",
    "killed early": "2|FAILED|00:00:01|0:9|127.0.0.1||T|\n2.batch|CANCELLED by 0|00:00:01|0:9|127.0.0.1|219740K|T|",
    "worker killed": "2|FAILED|00:00:01|9:0|127.0.0.1||T|",
    "node": "3|NODE_FAIL|00:00:04|0:0|127.0.0.2||T|\n3.batch|CANCELLED|00:00:04||127.0.0.2||T|",
    "boot": "3|BOOT_FAIL|00:00:00|0:0|None assigned||T|",
    "preempted": "3|PREEMPTED|00:10:04|0:0|n7||T|",
    "deadline": "12|DEADLINE|00:00:00|1:0|None assigned||T|",
    "exit": "2_2|FAILED|00:00:00|7:0|127.0.0.1||T|\n2_2.batch|FAILED|00:00:00|7:0|127.0.0.1||T|",
    "no log": "4|FAILED|00:00:00|0:53|n7||T|",
    "interrupted": "4|FAILED|00:10:00|75:0|n7||T|",
    "no record": "5|COMPLETED|00:00:02|0:0|n7||T|\n5.batch|COMPLETED|00:00:02|0:0|n7|3116K|T|",
}


def test_what_to_do_about_every_ending(golden: Callable[[str, str], None]) -> None:
    lines: list[str] = []
    for rows in ENDINGS.values():
        (seen,) = parse_sacct(rows).values()
        lines.append(f"{how_ended(seen)}: {what_to_do(ElementState.FAILED, seen, CPU)}\n")
    golden("slurm/endings.txt", "".join(lines))


def test_what_ended_for_good_is_not_said_to_continue() -> None:
    (seen,) = parse_sacct(ENDINGS["interrupted"]).values()
    assert what_to_do(ElementState.FAILED, seen, CPU, "interrupted 3 times in a row without progress") == ""


def test_memory_and_time_of_a_gpu_job_have_other_fields() -> None:
    (late,), (full,) = (parse_sacct(ENDINGS[each]).values() for each in ("timeout", "memory"))
    assert "launch.generate.minutes" in what_to_do(ElementState.FAILED, late, GPU)
    assert "of 512 GiB. Raise launch.generate.memory_gib_per_gpu" in what_to_do(ElementState.FAILED, full, GPU)
    whole = asked_by(SlurmJob("a", Resources(devices=8), ()), Launch(cpu=JobSettings(memory_gib_per_gpu=0)))
    assert "of all memory of its node. Choose nodes with more" in what_to_do(ElementState.FAILED, full, whole)
    fixed = asked_by(SlurmJob("a", Resources(memory_gib=4), ()), LAUNCH)
    assert "of 4 GiB. Raise --mem in launch.cpu.sbatch" in what_to_do(ElementState.FAILED, full, fixed)


@pytest.mark.parametrize(
    ("defaults", "own", "whole"),
    [
        (("--comment=scan",), None, ["--comment=scan", "--exclude=n7"]),
        (("--comment=scan",), ("--nice=5",), ["--nice=5", "--exclude=n7"]),
        (None, ("--exclude=n[1-2]", "--nice=5"), ["--nice=5", "--exclude=n[1-2],n7"]),
        ((r"""--comment='a "b" \c'""",), None, [r"""--comment='a "b" \c'""", "--exclude=n7"]),
    ],
)
def test_the_override_that_avoids_a_node_keeps_the_other_options(
    defaults: tuple[str, ...] | None, own: tuple[str, ...] | None, whole: list[str]
) -> None:
    launch = Launch(defaults=JobSettings(sbatch=defaults), cpu=JobSettings(sbatch=own))
    lost = SlurmInfo("NODE_FAIL", nodes="n7")
    said = what_to_do(ElementState.FAILED, lost, asked_by(SlurmJob("01-pool", Resources(), ()), launch))
    (typed,) = shlex.split(said.partition("node, add ")[2].removesuffix(" and give the command again."))
    parsed = OverridesParser.create().parse_override(decoded(typed))
    assert parsed.key_or_group == "launch.cpu.sbatch" and parsed.value() == whole


def test_nodes_that_a_file_excludes_are_added_to_the_file() -> None:
    launch = Launch(defaults=JobSettings(sbatch=("--exclude=/home/me/bad",)))
    said = what_to_do(
        ElementState.FAILED, SlurmInfo("NODE_FAIL", nodes="n7"), asked_by(SlurmJob("a", Resources(), ()), launch)
    )
    assert said.endswith("To avoid the node, add it to /home/me/bad and give the command again.")


def test_memory_that_a_stage_sets_is_raised_beside_the_other_options() -> None:
    (full,) = parse_sacct(ENDINGS["memory"]).values()
    launch = Launch(defaults=JobSettings(sbatch=("--comment=scan",)))
    said = what_to_do(ElementState.FAILED, full, asked_by(SlurmJob("a", Resources(memory_gib=4), ()), launch))
    assert said.endswith('Raise --mem in launch.cpu.sbatch, keep ["--comment=scan"] there, and give the command again.')


def test_the_status_of_a_killed_worker_is_another_one_in_scontrol() -> None:
    (seen,) = parse_scontrol("JobId=2 JobState=FAILED Reason=NonZeroExitCode ExitCode=137:0", "2").values()
    assert how_ended(seen) == "FAILED exit 137"
    assert what_to_do(ElementState.FAILED, seen, CPU).startswith("Killed, perhaps for lack of memory.")


def test_who_cancelled_a_job_is_named_where_accounting_knows() -> None:
    (seen,) = parse_sacct("15|CANCELLED by 1000|00:00:03|0:0|127.0.0.1||T|").values()
    assert (how_ended(seen), how_ended(seen, "alice")) == ("CANCELLED by 1000", "CANCELLED by alice")
    line = "JobId=15 JobState=CANCELLED Reason=None Restarts=0 ExitCode=0:15 RunTime=00:00:03 NodeList=127.0.0.1"
    assert how_ended(parse_scontrol(line, "15")["15"]) == "CANCELLED"


def test_states_without_an_answer_of_slurm_have_advice() -> None:
    said = {state: what_to_do(state, None, CPU) for state in ElementState}
    assert "state unknown" in said[ElementState.LOST]
    assert {state for state, text in said.items() if text} == {
        *(ElementState.FAILED, ElementState.BLOCKED, ElementState.CANCELLED, ElementState.LOST, ElementState.UNSENT)
    }


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Priority", "other jobs are first (Priority)"),
        ("AssocGrpCpuLimit", "a limit of the account is reached (AssocGrpCpuLimit)"),
        ("QOSMaxJobsPerUserLimit", "a limit of the QOS is reached (QOSMaxJobsPerUserLimit)"),
        ("ReqNodeNotAvail, UnavailableNodes:n7", "a node that it needs is down, drained or reserved (ReqNodeNotAvail)"),
        ("None", "not looked at by the scheduler yet"),
        ("SomethingNew", "SomethingNew"),
        ("", ""),
    ],
)
def test_why_a_job_waits_in_plain_words(reason: str, words: str) -> None:
    assert why_waiting(reason) == words


def test_a_job_as_scontrol_shows_it() -> None:
    """Shortened from SLURM 22.05; of an array that waits, one line for all its elements."""
    lines = (
        "JobId=6 ArrayJobId=2 ArrayTaskId=2 JobState=FAILED Reason=NonZeroExitCode Restarts=0 ExitCode=7:0"
        " RunTime=00:00:00 StartTime=2026-11-27T17:38:27 NodeList=127.0.0.1\n"
        "JobId=2 ArrayJobId=2 ArrayTaskId=3-4%2 JobState=PENDING Reason=Resources Restarts=0 ExitCode=0:0"
        " RunTime=00:00:00 StartTime=Unknown NodeList=(null)\n"
    )
    waiting = SlurmInfo("PENDING", "Resources", "00:00:00", exit_code="0:0")
    assert parse_scontrol(lines, "2") == {
        "2_2": SlurmInfo(
            "FAILED", "NonZeroExitCode", "00:00:00", "127.0.0.1", exit_code="7:0", starts_at="2026-11-27T17:38:27"
        ),
        "2_3": waiting,
        "2_4": waiting,
    }
