"""Whole batch scripts for each machine; users and the launcher submit the same file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from s1.config.resources import JobKind, resources_of
from sweep.config.compose import compose
from sweep.core.launch import JobSettings, Launch
from sweep.core.provenance import PROJECT
from sweep.core.stage import Resources
from sweep.slurm.jobs import Element, SlurmJob
from sweep.slurm.sbatch import DIRECTIVE, options_of, script_of, units_text, walltime

CODE, LOGS = Path("/store/submissions/ID/code"), Path("/store/submissions/ID/logs")
LIMITS = ("launch.sft.minutes=1440", "launch.generate.minutes=720")
SCRIPTS = sorted(path.name for path in (PROJECT / "slurm").glob("*.sbatch"))


def job(kind: JobKind, machine: str, launch: str, elements: int = 1) -> tuple[SlurmJob, Launch]:
    (x,) = compose(
        ["engine=vllm", "train.batch_size=16", f"machine={machine}", "launch=slurm", *LIMITS, *launch.split()]
    ).points
    resources = resources_of(kind, x.machine)
    stages = tuple(Element(((f"answers/{n:012}",),), ()) for n in range(elements))
    return SlurmJob(f"07-{kind.value}", resources, stages), x.launch


@pytest.mark.parametrize(
    ("name", "kind", "machine", "launch", "elements"),
    [
        ("h100x16-sft", JobKind.SFT, "h100x16", "launch.gpu_type=h100 launch.account=lab launch.partition=gpu", 1),
        ("h100x8-sft", JobKind.SFT, "h100x8", "launch.sft.minutes=360 launch.signal_seconds=600", 1),
        ("h100x16-generate", JobKind.GENERATE, "h100x16", "launch.gpu_type=h100 launch.qos=high", 1),
        ("h100x2-generate", JobKind.GENERATE, "h100x2", "launch.throttle=4 launch.constraint=nvlink", 12),
        ("h100-generate", JobKind.GENERATE, "h100", "launch.memory_gib_per_gpu=0 launch.sbatch=['--nice=10']", 1),
        ("cpu-cpu", JobKind.CPU, "cpu", "launch.cpus=2 launch.memory_gib=8", 1),
        ("cpu-sft", JobKind.SFT, "cpu", "", 3),
    ],
)
def test_a_script_per_machine(
    golden: Callable[[str, str], None], name: str, kind: JobKind, machine: str, launch: str, elements: int
) -> None:
    sent, settings = job(kind, machine, launch, elements)
    body = (PROJECT / "slurm" / f"{kind.value}.sbatch").read_text(encoding="utf-8")
    golden(f"slurm/{name}.sbatch", script_of(body, options_of(sent, settings, f"scan-{kind.value}", CODE, LOGS)))


@pytest.mark.parametrize("script", SCRIPTS)
def test_only_the_lines_that_ask_for_resources_differ(script: str) -> None:
    body = (PROJECT / "slurm" / script).read_text(encoding="utf-8")
    ours = script_of(body, ["--nodes=1"])
    assert [line for line in ours.splitlines() if line.startswith(DIRECTIVE)] == ["#SBATCH --nodes=1"]
    kept = [line for line in body.splitlines() if not line.startswith(DIRECTIVE)]
    assert [line for line in ours.splitlines() if not line.startswith(DIRECTIVE)] == kept


@pytest.mark.parametrize("script", [*SCRIPTS, "job.sh", "site.sh.example"])
def test_scripts_are_shell(script: str) -> None:
    subprocess.run(["bash", "-n", str(PROJECT / "slurm" / script)], check=True)


def test_there_is_a_script_for_every_kind_of_job() -> None:
    assert [f"{kind.value}.sbatch" for kind in JobKind if f"{kind.value}.sbatch" not in SCRIPTS] == []


def test_forbidden_options_are_removed_and_site_options_come_last() -> None:
    left_out = ("--mem", "--exclusive", "--gres")
    launch = Launch(sft=JobSettings(without=left_out, sbatch=("--gpus-per-node=8",)))
    sent = SlurmJob("01-checkpoint", Resources("sft", nodes=2, devices=8), (Element((("checkpoint/a",),), ()),))
    options = options_of(sent, launch, "scan", CODE, LOGS)
    assert not [each for each in options if each.startswith(left_out)]
    assert "--nodes=2" in options and options[-1] == "--gpus-per-node=8"


def test_a_file_without_sbatch_options_is_not_a_batch_script() -> None:
    with pytest.raises(ValueError, match="no #SBATCH line"):
        script_of("#!/bin/bash\necho\n", ["--nodes=1"])


def test_each_process_is_a_line_with_element_number_and_directories() -> None:
    elements = (Element((("answers/a", "answers/b"),), ()), Element((("scores/c",), ("curve/d",)), ()))
    text = units_text(SlurmJob("01-answers", Resources(), elements), Path("/s"))
    assert text == "0\t/s/answers/a\t/s/answers/b\n1\t/s/scores/c\n1\t/s/curve/d\n"


def test_walltime_is_days_hours_minutes() -> None:
    assert [walltime(each) for each in (5, 90, 1440, 3000)] == ["0-00:05:00", "0-01:30:00", "1-00:00:00", "2-02:00:00"]
