"""A cluster with accounting: a real slurmdbd over a database of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import ACCOUNTING_PACKAGES, Cluster, missing
from tests.support.requirements import need

MOST_JOBS = 50


@pytest.fixture(scope="module")
def accounted() -> Iterator[Cluster]:
    absent = missing(has_accounting=True)
    packages = f"apt-get install --no-install-recommends {ACCOUNTING_PACKAGES}"
    need(not absent, f"no accounting of SLURM here ({', '.join(absent)})", packages)
    made = Cluster(nodes=2, has_accounting=True, max_submit_jobs=MOST_JOBS)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_sacct_knows_how_a_job_ended(accounted: Cluster) -> None:
    job_id = accounted.ask("sbatch", "--parsable", "--output=/dev/null", "--wrap=exit 3")
    row = ("sacct", "-X", "--noheader", "--parsable2", f"--jobs={job_id}", "--format=State,ExitCode,Account")
    accounted.wait_until(lambda: accounted.ask(*row) == "FAILED|3:0|tests", "sacct tells the end")


def test_the_limit_of_submitted_jobs_counts_array_elements(accounted: Cluster) -> None:
    refused = accounted.run("sbatch", f"--array=0-{MOST_JOBS}", "--output=/dev/null", "--wrap=true")
    assert refused.returncode == 1
    assert "AssocMaxSubmitJobLimit" in refused.stderr
    accounted.ask("sbatch", f"--array=0-{MOST_JOBS - 1}", "--output=/dev/null", "--wrap=true")
