"""Which settings a cluster would refuse, from recorded answers of its commands."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sweep.core.launch import GpuOption, JobSettings, Launch
from sweep.core.stage import Resources
from sweep.slurm.jobs import Element, SlurmJob
from sweep.slurm.site_answers import (
    Association,
    Node,
    Partition,
    Site,
    parse_associations,
    parse_gpus,
    parse_nodes,
    parse_partitions,
)
from sweep.slurm.site_check import refusals

# Of SLURM 22.05, shortened where nothing is read.
PARTITIONS = """\
PartitionName=main AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A \
MaxNodes=UNLIMITED MaxTime=UNLIMITED MinNodes=0 Nodes=127.0.0.[1-4] State=UP TotalCPUs=256 TotalNodes=4
PartitionName=gpu AllowGroups=ALL AllowAccounts=lab,guests AllowQos=normal,high Default=NO \
MaxNodes=4 MaxTime=1-00:00:00 Nodes=gpu[1-3] State=UP TotalCPUs=192 TotalNodes=3
"""
NODES = """\
NodeName=cpu1 Arch=x86_64 CoresPerSocket=1 CPUAlloc=0 CPUEfctv=64 CPUTot=64 CPULoad=0.79 AvailableFeatures=(null) \
Gres=(null) NodeAddr=cpu1 OS=Linux 6.1.0 #1 SMP RealMemory=256000 AllocMem=0 State=IDLE Partitions=main 
NodeName=gpu1 CPUTot=96 Gres=gpu:h100:8(S:0-1) RealMemory=1024000 State=MIXED Partitions=gpu,main 
NodeName=gpu2 CPUTot=96 Gres=gpu:h100:8(S:0-1) RealMemory=1024000 State=IDLE Partitions=gpu 
NodeName=gpu3 CPUTot=32 Gres=gpu:a100:4,nvme:2 RealMemory=512000 State=IDLE Partitions=gpu 
"""
ASSOCIATIONS = "lab|high,normal|50\nguests|normal|\n"
SITE = Site(
    parse_partitions(PARTITIONS), parse_nodes(NODES), 1001, parse_associations(ASSOCIATIONS), ("normal", "high", "low")
)
PLAIN = JobSettings(partition="gpu", cpus=4, memory_gib=16, cpus_per_gpu=8, memory_gib_per_gpu=64)
LAUNCH = Launch(defaults=PLAIN, cpu=JobSettings(partition="main", minutes=120), sft=JobSettings(minutes=600))
SFT = Resources("sft", nodes=2, devices=8, processes=8)


def jobs(resources: Resources = SFT, elements: int = 3) -> list[SlurmJob]:
    cpu = SlurmJob("01-scores", Resources(), tuple(Element(((f"scores/{n}",),), ()) for n in range(elements)))
    return [cpu, SlurmJob("02-checkpoint", resources, (Element((("checkpoint/a",),), ()),))]


def with_sft(**settings: Any) -> Launch:
    return dataclasses.replace(LAUNCH, sft=JobSettings(**{"minutes": 600, **settings}))


def test_answers_are_read() -> None:
    assert SITE.partitions == (
        Partition("main", is_default=True),
        Partition("gpu", minutes=1440, accounts=("lab", "guests"), qos=("normal", "high"), most_nodes=4),
    )
    assert SITE.nodes is not None and SITE.nodes[1] == Node("gpu1", ("gpu", "main"), 96, 1024000, {"h100": 8})
    assert SITE.nodes[0].gpus == {} and SITE.nodes[3].gpus == {"a100": 4}
    assert SITE.associations == (Association("lab", ("high", "normal"), 50), Association("guests", ("normal",)))


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:8", {"": 8}),
        ("gpu:a100:4,gpu:v100:2(S:0)", {"a100": 4, "v100": 2}),
        ("gpu:1g.5gb:7", {}),  # a type that begins with a digit is not one that launch.gpu_type can name
        ("nvme:2", {}),
        ("(null)", {}),
        ("gpu", {"": 1}),
    ],
)
def test_gpus_are_read_by_type(gres: str, gpus: dict[str, int]) -> None:
    assert parse_gpus(gres) == gpus


def test_settings_that_a_cluster_offers_are_not_refused() -> None:
    assert refusals(jobs(), LAUNCH, SITE) == []
    assert refusals(jobs(), with_sft(account="lab", qos="high", gpu_type="h100"), SITE) == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"partition": "gpus"}, "launch.sft.partition gpus: no such partition. There are: main, gpu."),
        ({"account": "other"}, "launch.sft.account other: not one of your accounts. There are: lab, guests."),
        ({"qos": "highest"}, "launch.sft.qos highest: no such QOS. There are: normal, high, low."),
        ({"account": "guests", "qos": "high"}, "launch.sft.qos high: not allowed for your account. Allowed: normal."),
        (
            {"gpu_type": "v100"},
            "launch.sft.gpu_type v100: no node of partition gpu has v100 x 8; its nodes have a100 x 4",
        ),
        (
            {"gpu_type": "a100"},
            "launch.sft.gpu_type a100: no node of partition gpu has a100 x 8; its nodes have a100 x 4",
        ),
        (
            {"cpus_per_gpu": 16},
            "launch.sft.cpus_per_gpu: 128 CPUs of a node, but no node of partition gpu has more than 96.",
        ),
        (
            {"memory_gib_per_gpu": 200},
            "launch.sft.memory_gib_per_gpu: 1600 GiB of a node, but no node of partition gpu has",
        ),
    ],
)
def test_each_setting_that_would_be_refused_is_a_line(settings: dict[str, Any], line: str) -> None:
    (found,) = refusals(jobs(), with_sft(**settings), SITE)
    assert found.startswith(line)


@pytest.mark.parametrize(
    "settings",
    [
        {"memory_gib_per_gpu": 200, "without": ("--mem",)},
        {"memory_gib_per_gpu": 200, "sbatch": ("--mem=100G",)},
        {"memory_gib_per_gpu": 200, "sbatch": ("--mem-per-gpu=10G",)},
        {"cpus_per_gpu": 16, "without": ("--cpus-per-task",)},
        {"gpu_type": "v100", "without": ("--gres",)},
        {"gpu_type": "v100", "gpu_option": GpuOption.NONE},
        {"gpu_type": "v100", "sbatch": ("--gres=gpu:h100:8",)},
        {"gpu_type": "v100", "gpu_option": GpuOption.GPUS_PER_NODE, "without": ("--gpus-per-node",)},
        {"gpu_option": GpuOption.NONE, "partition": "main", "memory_gib_per_gpu": 16},
        {"partition": "gone", "without": ("--partition", "--gres"), "memory_gib_per_gpu": 16},
        {"qos": "highest", "sbatch": ("--qos='high'", '--comment="open')},
    ],
)
def test_an_option_that_does_not_reach_sbatch_refuses_nothing(settings: dict[str, Any]) -> None:
    assert refusals(jobs(), with_sft(**settings), SITE) == []


def test_a_partition_named_in_further_options_is_the_one_that_is_checked() -> None:
    (line,) = refusals(jobs(), with_sft(sbatch=("--partition=gone",)), SITE)
    assert line == "launch.sft.sbatch --partition gone: no such partition. There are: main, gpu."


@pytest.mark.parametrize("state", ["DOWN", "DRAIN", "INACTIVE"])
def test_a_partition_that_starts_no_jobs_is_named(state: str) -> None:
    site = dataclasses.replace(
        SITE, partitions=parse_partitions(PARTITIONS.replace("gpu[1-3] State=UP", f"gpu[1-3] State={state}"))
    )
    (line,) = refusals(jobs(), LAUNCH, site)
    assert line == (
        f"launch.defaults.partition gpu: gpu is {state}, so these jobs would not start. Choose another partition, or"
        " wait until it is UP."
    )
    assert refusals(jobs(), with_sft(partition="gpu,main"), site) == []  # they start in the other one


def test_a_default_partition_that_is_down_is_named() -> None:
    site = Site(partitions=(Partition("a", is_default=True, state="DOWN"),))
    (line,) = refusals(jobs(), Launch(), site)
    assert line.startswith("launch.defaults.partition null: a is DOWN, so these jobs would not start.")


def test_too_many_nodes_and_too_long_an_array_are_refused() -> None:
    lines = refusals(jobs(Resources("sft", 3, 8, 8)), dataclasses.replace(LAUNCH, max_array_size=2000), SITE)
    assert lines == [
        "machine.nodes 3: partition gpu has 2 such nodes. Choose another partition or machine.",
        "launch.max_array_size 2000: above MaxArraySize of the cluster, 1001. Lower it, or set it to null.",
    ]


def test_a_setting_of_all_jobs_is_named_once() -> None:
    launch = Launch(defaults=JobSettings(partition="gone"))
    (line,) = refusals(jobs(), launch, SITE)
    assert line.startswith("launch.defaults.partition gone: ")


def test_what_the_cluster_does_not_say_refuses_nothing() -> None:
    launch = with_sft(partition="x", account="y", qos="z", gpu_type="v100", minutes=99999)
    assert refusals(jobs(elements=5000), launch, Site()) == []


def test_without_a_default_partition_one_must_be_named() -> None:
    site = dataclasses.replace(SITE, partitions=(Partition("a"), Partition("b")))
    (line,) = refusals(jobs(), Launch(), site)
    assert line == "launch.defaults.partition null: the cluster has no default partition. Name one of a, b."
