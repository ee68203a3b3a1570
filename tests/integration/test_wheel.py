"""The package as a user installs it: built from the sdist, in a new environment, used from an empty directory.

The environment sees the libraries of this one and nothing else of it: no checkout, no editable installation.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
SMALL = ("+experiment=smoke", "-m")


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command without what this process has on its path."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SLURM"))}
    return subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env={**clean, "COLUMNS": "200", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel, and an empty directory to work in."""

    venv: Path
    work: Path

    def sweep(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(self.venv / "bin" / "sweep", *arguments, cwd=self.work)

    @property
    def packages(self) -> Path:
        return next((self.venv / "lib").glob("python*/site-packages"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of this tree, unpacked."""
    pytest.importorskip("hatchling", reason="the build backend: pip install -e '.[dev]'")
    folder = tmp_path_factory.mktemp("sdist")
    build = run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=PROJECT)
    assert build.returncode == 0, build.stderr
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def installed(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel that the sdist makes, in a new environment."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "work").mkdir()
    build = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=sdist)
    assert build.returncode == 0, build.stderr
    made = Installed(folder / "venv", folder / "work")
    assert run(sys.executable, "-m", "venv", "--without-pip", made.venv, cwd=folder).returncode == 0
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (made.packages / "libraries.pth").write_text("\n".join(libraries) + "\n", encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", made.venv / "bin" / "python")
    install = run(*pip, "install", "--no-index", "--no-deps", next(folder.glob("*.whl")), cwd=folder)
    assert install.returncode == 0, install.stderr
    return made


@pytest.fixture(scope="module")
def finished(installed: Installed) -> Iterator[Installed]:
    """The same after one sweep."""
    done = installed.sweep(*SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    yield installed


def test_the_sdist_holds_what_is_needed_to_build_test_and_read_the_project(sdist: Path) -> None:
    needed = ["pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt", "conf/config.yaml"]
    needed += ["slurm/job.sh", "slurm/site.sh.example", "tests/conftest.py", "tests/golden", "sweep/py.typed"]
    assert [name for name in needed if not (sdist / name).exists()] == []
    assert not (sdist / "store").exists() and not (sdist / "results").exists()


def test_the_version_is_the_one_of_pyproject(installed: Installed) -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    asked = "from sweep.core.provenance import version; import importlib.metadata as m; print(version(),"
    asked += " m.version('s1-sweep'))"
    done = run(installed.venv / "bin" / "python", "-c", asked, cwd=installed.work)
    assert done.stdout.split() == [declared, declared], done.stderr
    assert f"\nversion: {declared}\n" in (PROJECT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{declared}]" in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_code_that_runs_is_the_installed_one_and_both_packages_are_typed(installed: Installed) -> None:
    asked = "import s1, sweep; print(s1.__file__); print(sweep.__file__)"
    done = run(installed.venv / "bin" / "python", "-c", asked, cwd=installed.work)
    for line in done.stdout.splitlines():
        assert Path(line).is_relative_to(installed.packages)
        assert Path(line).with_name("py.typed").is_file()


def test_the_published_numbers_are_data_of_the_package(installed: Installed) -> None:
    done = run(installed.venv / "bin" / "python", "-m", "s1.report.published", cwd=installed.work)
    assert done.stdout == (PROJECT / "results" / "paper" / "README.md").read_text(encoding="utf-8"), done.stderr


def test_a_sweep_from_an_empty_directory_leaves_its_store_and_its_result_there(finished: Installed) -> None:
    assert {path.name for path in finished.work.iterdir()} >= {"store", "results"}
    assert (finished.work / "results" / "smoke" / "latest" / "report.html").is_file()
    assert not (finished.packages / "store").exists() and not (finished.packages / "results").exists()


def test_its_records_say_that_there_is_no_checkout(finished: Installed) -> None:
    record = next((finished.work / "store" / "report").glob("*/record.json"))
    told = json.loads(record.read_text(encoding="utf-8"))["provenance"]
    assert told["git"]["commit"] is None and "not a git checkout" in told["git"]["problem"]
    assert told["version"] and told["version"] in told["git"]["problem"]


def test_a_checkout_reuses_all_that_the_installed_package_made(finished: Installed) -> None:
    """Keys know nothing of where the code lies."""
    command = (finished.venv / "bin" / "python", "-m", "sweep", *SMALL, "plan=true")
    done = run(*command, cwd=finished.work, PYTHONPATH=str(PROJECT))
    assert " 0 stages to run" in done.stdout, done.stdout + done.stderr


def test_options_in_the_working_directory_stand_beside_the_shipped_ones(finished: Installed) -> None:
    own = finished.work / "conf"
    (own / "experiment").mkdir(parents=True)
    (own / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - smoke\n  - override /train: short\n  - _self_\nname: mine\n",
        encoding="utf-8",
    )
    (own / "train").mkdir()
    shipped = finished.packages / "sweep" / "shipped" / "conf"
    text = (shipped / "train" / "laptop.yaml").read_text(encoding="utf-8")
    (own / "train" / "short.yaml").write_text(text, encoding="utf-8")
    try:
        done = finished.sweep("+experiment=mine", "-m", "plan=true")
        assert done.returncode == 0 and done.stdout.startswith("mine: 3 points"), done.stdout + done.stderr
        assert " short" in finished.sweep("plan", "train=nope").stderr.partition("Known here:")[2]
        shutil.copyfile(shipped / "config.yaml", own / "config.yaml")  # the same bytes: a checkout one works in
        assert finished.sweep("+experiment=mine", "-m", "plan=true").returncode == 0
        (own / "train" / "s1.yaml").write_text(text, encoding="utf-8")
        refused = finished.sweep("+experiment=mine", "-m", "plan=true")
        assert (
            refused.returncode != 0
            and "conf/train/s1.yaml: the package ships a file" in refused.stdout + refused.stderr
        )
    finally:
        shutil.rmtree(own)


def test_jobs_run_a_copy_of_the_installed_code_with_the_users_own_options(finished: Installed) -> None:
    own = finished.work / "conf" / "experiment" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# @package _global_\ndefaults: [smoke, _self_]\nname: mine\nseed: 1\n", encoding="utf-8")
    try:
        queued = ("launch=slurm", "launch.dry_run=true", "launch.max_array_size=1001", "machine.threads=1")
        done = finished.sweep("+experiment=mine", "-m", *queued)
        assert done.returncode == 0, done.stdout + done.stderr
        (code,) = (finished.work / "store" / "submissions").glob("*/code")
        assert {path.name for path in code.iterdir()} == {"s1", "sweep", "conf", "slurm", "exported.json"}
        assert not (code / "sweep" / "shipped").exists() and not list(code.rglob("__pycache__"))
        assert (code / "slurm" / "job.sh").is_file() and (code / "s1" / "evaluate" / "tasks" / "aime24.yaml").is_file()
        assert "not a git checkout" in json.loads((code / "exported.json").read_text(encoding="utf-8"))["problem"]
        own.write_text("name: changed\n", encoding="utf-8")  # the copy is what was planned
        plan = (finished.venv / "bin" / "python", "-m", "sweep", "+experiment=mine", "-m", "plan=true")
        done = run(*plan, cwd=finished.work, PYTHONPATH=str(code), PYTHONSAFEPATH="1")
        assert done.returncode == 0 and done.stdout.startswith("mine: 3 points"), done.stdout + done.stderr
    finally:
        shutil.rmtree(own.parents[1])
