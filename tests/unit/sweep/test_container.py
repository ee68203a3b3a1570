"""Containers: the lines of slurm/site.sh as text, and the commands that job.sh makes of them."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.core.launch import Container, Containers, Launch, LaunchKind
from sweep.core.provenance import PROJECT
from sweep.errors import InputError
from sweep.slurm.container import container_faults, container_lines
from sweep.slurm.sbatch import refuse_unsafe
from sweep.store.directory import Store
from tests.support.submissions import LAUNCH, fan, written

SHARED = ("/data/my store", "/data/hf")
APPTAINER = Container(Containers.APPTAINER, "/images/s1.sif", ("/data", "/scratch:/tmp"), "/opt/venv/bin/python")
PYXIS = Container(Containers.PYXIS, "nvcr.io#nvidia/pytorch:25.01-py3", ("/data", "/scratch:/tmp"))


def kind_of(container: Container) -> str:
    assert container.kind is not None
    return container.kind.value


@pytest.mark.parametrize("container", [APPTAINER, PYXIS], ids=kind_of)
def test_the_lines_of_a_container(golden: Callable[[str, str], None], container: Container) -> None:
    golden(f"slurm/{kind_of(container)}.sh", "\n".join(container_lines(container, SHARED)).lstrip() + "\n")


@pytest.mark.parametrize("container", [APPTAINER, PYXIS], ids=kind_of)
@pytest.mark.parametrize("script", ["sft", "cpu"])
def test_scripts_run_python_in_the_container(
    golden: Callable[[str, str], None], tmp_path: Path, container: Container, script: str
) -> None:
    """Every command that the script would run, with apptainer and srun in place of which echo prints its arguments."""
    (tmp_path / "slurm").mkdir()
    for name in ("job.sh", f"{script}.sbatch"):
        (tmp_path / "slurm" / name).write_text((PROJECT / "slurm" / name).read_text(encoding="utf-8"), encoding="utf-8")
    lines = container_lines(container, SHARED)
    (tmp_path / "slurm" / "site.sh").write_text("\n".join([*lines, ""]), encoding="utf-8")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("apptainer", "srun", "scontrol"):
        said = "node1" if name == "scontrol" else f'{name} "$@"'
        (programs / name).write_text(f"#!/bin/bash\necho {said}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    units = tmp_path / "submission" / "jobs" / "01.units"
    units.parent.mkdir(parents=True)
    units.write_text("0\t/store/checkpoint/a\n", encoding="utf-8")
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_ON_NODE": "16",
    }
    command = ["bash", f"slurm/{script}.sbatch", str(units)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if not line.startswith("job 7")]
    golden(f"slurm/{kind_of(container)}-{script}.txt", "\n".join(said).replace(str(tmp_path), "/here") + "\n")


def test_what_calls_slurm_runs_outside_the_container(tmp_path: Path) -> None:
    """The step is interrupted: the element feeds the queue as it begins, and is restarted by the Python of the host."""
    (tmp_path / "slurm").mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    scripts = {
        "apptainer": 'echo "in the image: ${@: -1}"; [[ $* != *worker.run* ]] || exit 75',
        "squeue": "echo RUNNING",
        "planned": 'echo "on the host: $2"',
    }
    for name, said in scripts.items():
        (programs / name).write_text(f"#!/bin/bash\n{said}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    for name in ("job.sh", "cpu.sbatch"):
        (tmp_path / "slurm" / name).write_text((PROJECT / "slurm" / name).read_text(encoding="utf-8"), encoding="utf-8")
    lines = [f"PYTHON={programs}/planned", *container_lines(APPTAINER, SHARED), ""]
    (tmp_path / "slurm" / "site.sh").write_text("\n".join(lines), encoding="utf-8")
    units = tmp_path / "submission" / "jobs" / "01.units"
    units.parent.mkdir(parents=True)
    units.write_text("0\t/store/checkpoint/a\n", encoding="utf-8")
    for name in ("waves.json", "probe.json"):
        (tmp_path / "submission" / name).touch()
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    command = ["bash", "slurm/cpu.sbatch", str(units)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 75, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "on the host: sweep.slurm.feed",
        "in the image: /store/checkpoint/a",
        "on the host: sweep.slurm.restart",
    ]


@pytest.mark.parametrize(
    ("container", "complaint"),
    [
        (dataclasses.replace(APPTAINER, image="/a\n.sif"), "launch.container.image .*control character"),
        (dataclasses.replace(APPTAINER, image="~/s1.sif"), "launch.container.image ~/s1.sif: a relative path"),
        (dataclasses.replace(APPTAINER, image="s1.sif"), "launch.container.image s1.sif: a relative path"),
        (dataclasses.replace(PYXIS, image="./s1.sqsh"), "launch.container.image ./s1.sqsh: a relative path"),
        (dataclasses.replace(APPTAINER, python="py\x1b"), "launch.container.python .*control character"),
        (
            dataclasses.replace(PYXIS, binds=("/a,/b",)),
            "launch.container.binds '/a,/b': not an absolute path, or has a comma",
        ),
        (dataclasses.replace(PYXIS, binds=("data",)), "launch.container.binds 'data': not an absolute path"),
    ],
)
def test_what_no_option_can_hold_is_refused(container: Container, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        refuse_unsafe(Launch(LaunchKind.SLURM, container=container), "toy", "/store")


@pytest.mark.parametrize("container", [APPTAINER, PYXIS, dataclasses.replace(APPTAINER, image="docker://s1:1")])
def test_an_absolute_image_or_a_reference_is_not_refused(container: Container) -> None:
    assert list(container_faults(container, "/store")) == []


def test_a_store_that_cannot_be_mounted_is_refused() -> None:
    with pytest.raises(InputError, match="store '/a,b': has a comma or a colon"):
        refuse_unsafe(Launch(LaunchKind.SLURM, container=APPTAINER), "toy", "/a,b")


def test_a_batch_script_says_the_whole_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    store = tmp_path / "store"
    directory = written(Store(store), fan(), dataclasses.replace(LAUNCH, container=APPTAINER))
    (said,) = [line for line in directory.script("02-points").read_text("utf-8").splitlines() if "apptainer" in line]
    assert said == (
        f"# Python runs as: apptainer exec --nv --bind {store} --bind {tmp_path}/hf --bind /data --bind /scratch:/tmp"
        " /images/s1.sif /opt/venv/bin/python -m sweep.worker.run ..."
    )
    plain = written(Store(tmp_path / "other"), fan())
    assert "Python runs as" not in plain.script("02-points").read_text("utf-8")
