"""What SLURM's commands say about a site, parsed: partitions, nodes, limits, associations.

Fields that a command does not print, or prints in a form that is not known here, are None: unknown, never a limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sweep.slurm import client

UNLIMITED = ("UNLIMITED", "INFINITE", "N/A", "NONE", "(null)", "")


@dataclass(frozen=True)
class Partition:
    name: str
    is_default: bool = False
    is_up: bool = True
    minutes: int | None = None  # longest walltime limit; None: unlimited
    accounts: tuple[str, ...] | None = None  # that may use it; None: all
    qos: tuple[str, ...] | None = None  # that may be used in it; None: all
    most_nodes: int | None = None  # of one job


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
            is_up=facts.get("State", "UP") == "UP",
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
