"""`pins.lock`, in the working directory: the commit of each hub branch or tag that the configuration names.

One line per name, sorted, in five columns: kind, repository, branch or tag, commit, time of resolution.

    dataset  GAIR/LIMO             main  4b2c...  2026-07-04T10:15:30+00:00
    model    simplescaling/s1-32B  main  9f3c...  2026-07-04T10:15:31+00:00

`python -m sweep pin` writes it. Keep it under version control, so that everyone reads the same commits. A commit given
in the configuration itself needs no line.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from s1.config.schema import ConfigError
from sweep.claims.lock import locked
from sweep.core.identity import key_of

MAIN = "main"  # the default branch of hub repositories
COMMIT = re.compile(r"[0-9a-f]{40}")
HEADING = (
    "# Written by `python -m sweep pin`, to be committed: kind, repository, branch or tag, commit, when resolved.\n"
)
COLUMNS = 5


class RepoKind(Enum):
    MODEL = "model"
    DATASET = "dataset"


@dataclass(frozen=True)
class HubName:
    """A hub repository at a commit, or at a branch or tag, which may move."""

    kind: RepoKind
    repo: str
    revision: str

    @property
    def is_pinned(self) -> bool:
        return is_commit(self.revision)

    def __str__(self) -> str:
        return f"{self.kind.value} {self.repo} {self.revision}"


@dataclass(frozen=True)
class Pin:
    """The commit of a name, and when it was resolved."""

    commit: str
    resolved_at: str  # ISO 8601


Pins: TypeAlias = Mapping[HubName, Pin]


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit hash, as opposed to a branch, a tag or an abbreviated hash."""
    return revision is not None and COMMIT.fullmatch(revision) is not None


def name_of(kind: RepoKind, repo: str, revision: str | None) -> HubName:
    """A repository at a revision; null means the default branch."""
    return HubName(kind, repo, MAIN if revision is None else revision)


def read_pins(path: Path) -> dict[HubName, Pin]:
    """Read all pins; none if the file is missing. Raises ConfigError that names the invalid line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path}: not UTF-8 text. Restore it from version control, or remove it and pin again."
        ) from None
    pins: dict[HubName, Pin] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, pin = _parsed(line, f"{path} line {number}")
        if name in pins:
            raise ConfigError(f"{path} line {number}: a second line for {name}. Keep one of the two.")
        pins[name] = pin
    return pins


def add_pin(path: Path, name: HubName, pin: Pin) -> None:
    """Add or replace one pin, keeping pins that other processes write at the same time."""
    place = f"s1-sweep-pins-{os.getuid()}-{key_of(str(path.resolve()))}"
    with locked(Path(tempfile.gettempdir(), place)):  # not next to the file, which is under version control
        write_pins(path, {**read_pins(path), name: pin})


def write_pins(path: Path, pins: Pins) -> None:
    """Replace the whole file; the order of lines depends only on their content."""
    rows = [(*str(name).split(), pin.commit, pin.resolved_at) for name, pin in pins.items()]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(COLUMNS - 1)]
    lines = ["  ".join([*map(str.ljust, row, widths), row[-1]]) for row in sorted(rows)]
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(HEADING + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    aside.replace(path)


def _parsed(line: str, where: str) -> tuple[HubName, Pin]:
    words = line.split()
    kinds = {kind.value: kind for kind in RepoKind}
    if len(words) != COLUMNS or words[0] not in kinds or not is_commit(words[3]):
        raise ConfigError(
            f"{where} {line.strip()!r}: not kind, repository, revision, 40-hex commit and time. Repair or remove the"
            " line, then run `python -m sweep pin` with your overrides."
        )
    kind, repo, revision, commit, resolved_at = words
    return HubName(kinds[kind], repo, revision), Pin(commit, resolved_at)
