"""How many jobs a user may have in the queue, as accounting says: on this cluster, for the kinds of jobs of a plan."""

from __future__ import annotations

import pytest

from sweep.core.launch import JobSettings, Launch
from sweep.core.stage import Resources
from sweep.errors import InputError
from sweep.slurm import client
from sweep.slurm.dispatch import submit_limit
from sweep.slurm.jobs import Element, SlurmJob
from sweep.slurm.site_answers import Association, site_here

ROWS = {"here": "lab|normal|50\nguests|normal|20\n", "there": "lab|normal|5\n"}
QOS = {"normal": "100\n", "long": "4\n", "wide": "\n"}


@pytest.fixture
def accounting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A database that two clusters share; returns the questions."""
    asked: list[str] = []

    def answer(*command: str) -> str:
        words = " ".join(command)
        asked.append(words)
        if command[0] == "scontrol":
            return "ClusterName             = here\nMaxArraySize            = 1001\n"
        if "associations" in command:
            rows = [ROWS[each] for each in ROWS if "cluster=" not in words or f"cluster={each}" in words]
            return "".join(rows)
        return "".join(QOS.get(each, "") for each in command[5].split(","))

    monkeypatch.setattr(client, "_query_once", answer)
    return asked


def job(script: str, elements: int, name: str = "") -> SlurmJob:
    found = tuple(Element(((f"{script}/{n}",),), ()) for n in range(elements))
    return SlurmJob(name or f"01-{script}", Resources(script), found)


def test_another_cluster_of_the_same_accounting_does_not_count(accounting: list[str]) -> None:
    assert client.max_submit_jobs("lab", None) == 50
    assert client.max_submit_jobs(None, None) == 20
    assert any("cluster=here" in each for each in accounting)
    assert site_here().associations == (Association("lab", ("normal",), 50), Association("guests", ("normal",), 20))


def test_without_a_name_of_the_cluster_all_associations_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*command: str) -> str:
        if command[0] == "scontrol":
            raise InputError("scontrol: no answer.")
        assert not any(each.startswith("cluster=") for each in command)
        return "lab|normal|50\n" if "associations" in command else "\n"

    monkeypatch.setattr(client, "_query_once", answer)
    assert client.max_submit_jobs("lab", None) == 50


@pytest.mark.parametrize(
    ("sft", "jobs", "limit"),
    [
        ({}, [job("generate", 400), job("sft", 1)], 50),
        ({"qos": "long"}, [job("generate", 400), job("sft", 1)], 50),  # one job of training fits into four
        ({"qos": "long"}, [job("generate", 400), job("sft", 8)], 4),
        ({"qos": "long"}, [job("generate", 40), job("sft", 8)], 4),
        ({"account": "guests"}, [job("generate", 40), job("sft", 30)], 20),
        ({"account": "guests"}, [job("generate", 40), job("sft", 10)], 50),
        ({"qos": "long"}, [job("generate", 40)], 50),
        ({"qos": "long"}, [job("generate", 40), job("sft", 3), job("sft", 3, "01-sft.r2")], 50),  # sent twice
        ({"qos": "long"}, [], None),
    ],
)
def test_the_limit_of_each_kind_of_job_counts_for_its_jobs(
    accounting: list[str], sft: dict[str, str], jobs: list[SlurmJob], limit: int | None
) -> None:
    launch = Launch(defaults=JobSettings(account="lab"), sft=JobSettings(**sft))  # type: ignore[arg-type]
    assert submit_limit(launch, jobs) == limit


def test_a_limit_that_is_set_counts_and_accounting_is_not_asked(accounting: list[str]) -> None:
    assert submit_limit(Launch(max_submit_jobs=7), [job("cpu", 10)]) == 7
    assert accounting == []
