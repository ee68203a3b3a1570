"""One cluster for all tests of this folder; without SLURM's packages they are skipped, and it is said aloud."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.contract import Launch
from sweep.launch import slurm
from sweep.launch.submission import SubmissionDirectory, submissions
from sweep.plan import plan
from sweep.stage import Stage
from sweep.store import StageDirectory, Store
from tests.slurm import toys
from tests.slurm.cluster import PACKAGES, Cluster, missing

LAUNCH = Launch(cpus=16, memory_gib=8, minutes={"cpu": 10, "sft": 10}, signal_seconds=30)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if absent := missing():
        told = f"no SLURM here ({', '.join(absent)}): apt-get install --no-install-recommends {PACKAGES}"
        warnings.warn(f"tests/slurm is SKIPPED: {told}", stacklevel=1)
        pytest.skip(told)
    made = Cluster()
    try:
        made.start()
        yield made
    finally:
        made.stop()


class User:
    """Someone on the login node, with a store and results of their own, who sends toy stages."""

    def __init__(self, cluster: Cluster, home: Path) -> None:
        self.cluster, self.store, self.results = cluster, Store(home / "store"), home / "results"

    def send(self, product: Stage, launch: Launch = LAUNCH, name: str = "toy") -> SubmissionDirectory:
        """Write and submit everything behind a stage; without the job that publishes, which needs a whole pipeline."""
        graph = toys.graph(product, launch, name)
        work = plan([product], self.store.is_done)
        jobs = slurm.queue_shape(graph, work)[:-1]
        order = slurm.Order("toy", (), Path.cwd(), self.results)
        directory = SubmissionDirectory(slurm.write_submission(graph, work, jobs, self.store, order))
        if not launch.dry_run:
            slurm.send(directory, jobs)
        return directory

    def wait(self, directory: SubmissionDirectory, most_s: float = 120.0) -> None:
        """Until nothing of a submission waits or runs."""

        def is_over() -> bool:
            situation = slurm.look(directory)
            return situation.source.startswith("squeue") and not any(each.state.is_alive for each in situation.elements)

        self.cluster.wait_until(is_over, f"{directory.name} is over", most_s)

    def states(self, directory: SubmissionDirectory) -> dict[str, list[str]]:
        """How many elements of each stage are in which state: {"points": ["done", "failed"]}."""
        states: dict[str, list[str]] = {}
        for each in slurm.look(directory).elements:
            name = each.element.stages[0].partition("/")[0]
            states.setdefault(name, []).append(each.state.value)
        return states

    def directory(self, stage: Stage) -> StageDirectory:
        return self.store.directory(stage)

    def value(self, stage: Stage) -> int:
        return toys.value_of(self.directory(stage).out)

    def log(self, stage: Stage) -> str:
        return self.directory(stage).log_file.read_text(encoding="utf-8")


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    for name in [each for each in os.environ if each.startswith(("SLURM_", "SBATCH_", "SRUN_"))]:
        monkeypatch.delenv(name)
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    made = User(cluster, tmp_path)
    yield made
    for directory in submissions(made.store.root):
        slurm.cancel(directory)
        made.wait(directory)
