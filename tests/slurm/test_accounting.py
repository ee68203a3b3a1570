"""A cluster with accounting: a real slurmdbd over a database of its own."""

from __future__ import annotations

import pytest

from sweep.accounts import account_name
from sweep.slurm import client
from tests.slurm.conftest import MOST_JOBS
from tests.support.cluster import Cluster


def test_sacct_knows_how_a_job_ended(accounted: Cluster) -> None:
    job_id = accounted.ask("sbatch", "--parsable", "--output=/dev/null", "--wrap=exit 3")
    row = ("sacct", "-X", "--noheader", "--parsable2", f"--jobs={job_id}", "--format=State,ExitCode,Account")
    accounted.wait_until(lambda: accounted.ask(*row) == "FAILED|3:0|tests", "sacct tells the end")


def test_the_limit_of_submitted_jobs_counts_array_elements(accounted: Cluster) -> None:
    refused = accounted.run("sbatch", f"--array=0-{MOST_JOBS}", "--output=/dev/null", "--wrap=true")
    assert refused.returncode == 1
    assert "AssocMaxSubmitJobLimit" in refused.stderr
    job_id = accounted.ask("sbatch", "--parsable", f"--array=0-{MOST_JOBS - 1}", "--output=/dev/null", "--wrap=true")
    accounted.ask("scancel", job_id)
    accounted.wait_until(lambda: not accounted.ask("squeue", "--noheader"), "there is room for others")


def test_the_limit_of_another_cluster_in_the_same_accounting_does_not_count(
    accounted: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", accounted.environment["SLURM_CONF"])
    manage, user = ("sacctmgr", "--immediate"), account_name()
    accounted.ask(*manage, "add", "cluster", "other")
    accounted.ask(*manage, "add", "account", "tests", "Cluster=other")
    accounted.ask(*manage, "add", "user", user, "Account=tests", "Cluster=other", "MaxSubmitJobs=3")
    try:
        assert client.max_submit_jobs("tests", None) == client.max_submit_jobs(None, None) == MOST_JOBS
    finally:
        accounted.ask(*manage, "delete", "cluster", "other")
