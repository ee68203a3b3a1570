"""What SLURM's commands say about a site, parsed: partitions, nodes, limits, associations.

Fields that a command does not print, or prints in a form that is not known here, are None: unknown, never a limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sweep.slurm import client

UNLIMITED = ("UNLIMITED", "INFINITE", "N/A", "NONE", "(null)", "")


@dataclass(frozen=True)
class Partition:
    name: str
    is_default: bool = False
    state: str = "UP"  # DOWN: jobs may be queued, and do not start; DRAIN, INACTIVE: no job may be queued
    minutes: int | None = None  # longest walltime limit; None: unlimited
    accounts: tuple[str, ...] | None = None  # that may use it; None: all
    qos: tuple[str, ...] | None = None  # that may be used in it; None: all
    most_nodes: int | None = None  # of one job

    @property
    def is_up(self) -> bool:
        return self.state == "UP"


def partitions_here() -> tuple[Partition, ...]:
    """The partitions of this cluster; empty if it does not say."""
    return parse_partitions(client.ask("scontrol", "show", "partition", "--oneliner") or "")


def parse_partitions(text: str) -> tuple[Partition, ...]:
    """From `scontrol show partition --oneliner`."""
    found = (facts_of(line) for line in text.splitlines())
    return tuple(
        Partition(
            name=facts["PartitionName"],
            is_default=facts.get("Default") == "YES",
            state=facts.get("State", "UP"),
            minutes=parse_minutes(facts.get("MaxTime", "")),
            accounts=_names(facts.get("AllowAccounts", "ALL")),
            qos=_names(facts.get("AllowQos", "ALL")),
            most_nodes=parse_count(facts.get("MaxNodes", "")),
        )
        for facts in found
        if "PartitionName" in facts
    )


def facts_of(line: str) -> Mapping[str, str]:
    """`Name=value` words of a line of scontrol."""
    return {name: value for name, _, value in (word.partition("=") for word in line.split() if "=" in word)}


def parse_minutes(text: str) -> int | None:
    """A limit such as 7-00:00:00, 02:00:00, 30:00 or 30 (minutes), rounded down; None: unlimited or unknown."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text, re.ASCII)
    if found is None:
        return None
    days, *parts = (int(each) if each else 0 for each in found.groups())
    colons = text.count(":")
    if found[1]:  # days-hours[:minutes[:seconds]]
        return days * 1440 + parts[0] * 60 + parts[1]
    return parts[0] * 60 + parts[1] if colons == 2 else parts[0]


def parse_count(text: str) -> int | None:
    """A whole number; None: unlimited or unknown."""
    return int(text) if re.fullmatch(r"\d{1,18}", text, re.ASCII) else None


def _names(text: str) -> tuple[str, ...] | None:
    return None if text in ("ALL", *UNLIMITED) else tuple(_split(text))


def _split(text: str) -> Iterator[str]:
    return (name for name in (each.strip() for each in text.split(",")) if name)


# ------------------------------------------------------------------------------------ nodes, limits, associations


@dataclass(frozen=True)
class Node:
    name: str
    partitions: tuple[str, ...]
    cpus: int
    memory_mib: int
    gpus: Mapping[str, int] = field(default_factory=dict[str, int])  # by type; "" for GPUs without one

    def gpus_of(self, kind: str | None) -> int:
        """GPUs of a type; None: of any."""
        return sum(self.gpus.values()) if kind is None else self.gpus.get(kind, 0)


@dataclass(frozen=True)
class Association:
    """What accounting allows this user. Empty tuple: nothing said."""

    account: str
    qos: tuple[str, ...] = ()
    most_submitted: int | None = None  # jobs and array elements in the queue at a time


@dataclass(frozen=True)
class Site:
    """The answers of a cluster. None: it did not say."""

    partitions: tuple[Partition, ...] | None = None
    nodes: tuple[Node, ...] | None = None
    max_array_size: int | None = None
    associations: tuple[Association, ...] | None = None  # None: no accounting
    qos: tuple[str, ...] | None = None  # that exist


def site_here() -> Site:
    """Ask the cluster. What it does not answer stays unknown."""
    own = client.own_associations()
    associations = client.ask(*SACCTMGR, "show", "associations", *own, "format=Account,QOS,MaxSubmit")
    qos = client.ask(*SACCTMGR, "show", "qos", "format=Name")
    return Site(
        partitions=partitions_here() or None,
        nodes=parse_nodes(client.ask("scontrol", "show", "node", "--oneliner") or "") or None,
        max_array_size=client.max_array_size(),
        associations=None if associations is None else parse_associations(associations) or None,
        qos=None if qos is None else tuple(qos.split()) or None,
    )


SACCTMGR = ("sacctmgr", "--noheader", "--parsable2", "--readonly")


def parse_nodes(text: str) -> tuple[Node, ...]:
    """From `scontrol show node --oneliner`."""
    return tuple(
        Node(
            name=facts["NodeName"],
            partitions=tuple(_split(facts.get("Partitions", ""))),
            cpus=parse_count(facts.get("CPUTot", "")) or 0,
            memory_mib=parse_count(facts.get("RealMemory", "")) or 0,
            gpus=parse_gpus(facts.get("Gres", "")),
        )
        for facts in map(facts_of, text.splitlines())
        if "NodeName" in facts
    )


def parse_gpus(gres: str) -> dict[str, int]:
    """GPUs by type, from gpu:h100:8(S:0-1),gpu:2,nvme:1."""
    found: dict[str, int] = {}
    for kind, count in re.findall(r"(?:^|,)gpu(?::([A-Za-z][\w.-]*))?(?::(\d+))?(?=[(,]|$)", gres, re.ASCII):
        found[kind] = found.get(kind, 0) + int(count or 1)
    return found


def parse_associations(text: str) -> tuple[Association, ...]:
    """From `sacctmgr --parsable2 show associations format=Account,QOS,MaxSubmit`; other lines are skipped."""
    rows = [line.split("|") for line in text.splitlines()]
    return tuple(Association(row[0], tuple(_split(row[1])), parse_count(row[2])) for row in rows if len(row) == 3)
