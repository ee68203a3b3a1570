"""Results of checks of a node: what was checked, the outcome, what was measured, and what to do.

checks.json beside stage.json of a preflight stage holds them; `sweep preflight` and the job's log show them as a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from textwrap import wrap

from sweep.core.typed import typed
from sweep.json_files import read_json, write_json

CHECKS_FILE = "checks.json"
COLUMNS = 100


class Outcome(Enum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    outcome: Outcome
    measured: str  # what was found, or why it was skipped
    advice: str = ""  # what to do about a failure

    @property
    def is_failed(self) -> bool:
        return self.outcome is Outcome.FAILED


@dataclass(frozen=True)
class NodeChecks:
    """All checks of one kind of node; the content of checks.json."""

    kind: str  # "sft, 2 nodes x 8 GPUs"
    hosts: tuple[str, ...]  # by rank of its first process
    at: str
    checks: tuple[Check, ...]

    @property
    def failed(self) -> list[Check]:
        return [each for each in self.checks if each.is_failed]


def passed(name: str, measured: str) -> Check:
    return Check(name, Outcome.PASSED, measured)


def failed(name: str, measured: str, advice: str) -> Check:
    return Check(name, Outcome.FAILED, measured, advice)


def skipped(name: str, why: str) -> Check:
    return Check(name, Outcome.SKIPPED, why)


def combined(by_rank: Sequence[Check]) -> Check:
    """The result of a check that every rank made: the first failure, with its rank, or else that of rank 0."""
    for rank, each in enumerate(by_rank):
        if each.is_failed and rank:
            return failed(each.name, f"rank {rank}: {each.measured}", each.advice)
        if each.is_failed:
            return each
    return by_rank[0]


def table(found: NodeChecks) -> str:
    """The checks as text for a terminal or a log."""
    lines = [f"preflight of {found.kind}, on {', '.join(found.hosts)}"]
    width = max(len(each.name) for each in found.checks)
    for each in found.checks:
        first = f"  {each.outcome.value:<7}  {each.name:<{width}}  "
        text = wrap(each.measured, COLUMNS - len(first)) or [""]
        lines += [first + text[0], *(" " * len(first) + line for line in text[1:])]
        lines += wrap(each.advice, COLUMNS, initial_indent=" " * len(first), subsequent_indent=" " * len(first))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def write_checks(file: Path, found: NodeChecks) -> None:
    """Write checks.json."""
    content = asdict(found)
    content["checks"] = [{**asdict(each), "outcome": each.outcome.value} for each in found.checks]
    write_json(file, content)


def read_checks(file: Path) -> NodeChecks:
    """Read what `write_checks` wrote. Raises StoreError or InputError for other content, OSError without a file."""
    return typed(NodeChecks, read_json(file))
