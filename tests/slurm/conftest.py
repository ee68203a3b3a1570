"""One SLURM cluster for all tests in this folder, and another one with accounting.

Without SLURM's packages the tests are skipped, or fail in CI.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.core.launch import JobSettings, Launch
from sweep.core.stage import Stage
from sweep.plan.graph import plan
from sweep.slurm import lifecycle, retry
from sweep.slurm.submission import SubmissionDirectory, submissions
from sweep.store.directory import StageDirectory, Store
from tests.support import toy_queue
from tests.support.cluster import ACCOUNTING_PACKAGES, PACKAGES, Cluster, missing
from tests.support.requirements import need

LAUNCH = Launch(defaults=JobSettings(cpus=16, memory_gib=8, minutes=10), signal_seconds=30)
LONGER_STEPS = 120  # of half a second
MAX_ARRAY_SIZE = 80  # of the cluster itself
MOST_JOBS = 50  # of the user of the cluster with accounting; array elements count


def requesting(launch: Launch = LAUNCH, **settings: Any) -> Launch:
    """The launch with other settings of its jobs."""
    return dataclasses.replace(launch, defaults=dataclasses.replace(launch.defaults, **settings))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    absent = missing()
    need(not absent, f"no SLURM here ({', '.join(absent)})", f"apt-get install --no-install-recommends {PACKAGES}")
    made = Cluster(max_array_size=MAX_ARRAY_SIZE)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def accounted() -> Iterator[Cluster]:
    """A second cluster, with accounting and a limit of submitted jobs. SLURM_CONF selects it."""
    absent = missing(has_accounting=True)
    packages = f"apt-get install --no-install-recommends {ACCOUNTING_PACKAGES}"
    need(not absent, f"no accounting of SLURM here ({', '.join(absent)})", packages)
    made = Cluster(nodes=2, has_accounting=True, max_submit_jobs=MOST_JOBS)
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
        graph = toy_queue.graph(product, launch, name)
        work = plan([product], self.store.is_done)
        others = lifecycle.queued_elsewhere(self.store.root)
        jobs = lifecycle.queue_jobs(graph, work, others)[:-1]
        order = lifecycle.SubmissionRequest("toy", (), Path.cwd(), self.results)
        directory = SubmissionDirectory(lifecycle.write_submission(graph, work, jobs, self.store, order))
        if not launch.dry_run:
            lifecycle.send_in_waves(directory, before=others)
        return directory

    def wait(self, directory: SubmissionDirectory, most_s: float = 120.0) -> None:
        """Until nothing of a submission waits or runs."""

        def is_over() -> bool:
            status = lifecycle.submission_status(directory)
            return status.source.startswith("squeue") and not any(each.state.is_alive for each in status.elements)

        self.cluster.wait_until(is_over, f"{directory.name} is over", most_s)

    def states(self, directory: SubmissionDirectory) -> dict[str, list[str]]:
        """The states of the elements of each stage: {"points": ["done", "failed"]}; of a chain, of all its stages."""
        states: dict[str, list[str]] = {}
        for each in lifecycle.submission_status(directory).elements:
            for address in each.element.stages:
                states.setdefault(address.partition("/")[0], []).append(each.state.value)
        return states

    def directory(self, stage: Stage) -> StageDirectory:
        return self.store.directory(stage)

    def value(self, stage: Stage) -> int:
        return toy_queue.value_of(self.directory(stage).out)

    def log(self, stage: Stage) -> str:
        return self.directory(stage).log_file.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def on_login_node(cluster: Cluster) -> Iterator[Cluster]:
    """The environment of someone who is logged in there, and of nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.startswith(("SLURM_", "SBATCH_", "SRUN_"))]:
            patch.delenv(name)
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        patch.setattr(retry, "RETRY", retry.RetryPolicy(waits_s=(0.5,)))  # a test waits as long as it says
        yield cluster


@pytest.fixture(scope="session", autouse=True)
def longer(on_login_node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[User, SubmissionDirectory]:
    """A stage that needs more than one walltime limit; on its way while all other tests run."""
    user = User(on_login_node, tmp_path_factory.mktemp("longer"))
    limited = dataclasses.replace(requesting(sbatch=("--nodelist=127.0.0.1",)), sft=JobSettings(minutes=1))
    product = toy_queue.make_stage("total", 0, toy_queue.count_stage(LONGER_STEPS, step_s=0.5))
    return user, user.send(product, limited, "longer")


@pytest.fixture
def user(on_login_node: Cluster, tmp_path: Path) -> Iterator[User]:
    made = User(on_login_node, tmp_path)
    yield made
    for directory in submissions(made.store.root):
        lifecycle.cancel_submission(directory)
        made.wait(directory)
