"""Where a result came from: code, command, packages, host. Recorded beside it, never part of its key."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweep.secrets import Secrets, redacted

PROJECT = Path(__file__).resolve().parents[1]
DISTRIBUTION = "s1-sweep"
EXPORTED = "exported.json"  # beside code that was copied out of a checkout (sweep/launch/export.py)


def provenance() -> dict[str, Any]:
    """Commit, uncommitted diff, argv, package versions and host of this process, without keys and secrets."""
    return {
        "argv": [redacted(each) for each in sys.argv],
        "git": git_state(),
        "host": {
            "name": platform.node(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
        },
        "packages": _package_versions(),
    }


def git_state() -> dict[str, Any]:
    """Commit and diff; of exported code those of the checkout it came from; both None if neither is known.

    The diff leaves out what looks like a key, and says in how many lines (sweep/key_text.py).
    """
    if (PROJECT / EXPORTED).exists():
        return _without_keys(json.loads((PROJECT / EXPORTED).read_text(encoding="utf-8")))
    if not (PROJECT / ".git").exists():
        return {"commit": None, "diff": None}
    return _without_keys(
        {"commit": _git("rev-parse", "HEAD"), "diff": _git("diff", "HEAD", "--", "*.py", "*.yaml", "*.toml")}
    )


def _without_keys(state: dict[str, Any]) -> dict[str, Any]:
    if not state["diff"]:
        return state
    found = Secrets.here().without_keys(state["diff"])
    return {**state, "diff": found.text, "redacted_lines": state.get("redacted_lines", 0) + found.lines}


def tracked_files(new_in: Sequence[str]) -> list[str] | None:
    """Relative paths of all files that git knows, and of new ones in these folders; None outside a checkout."""
    if not (PROJECT / ".git").exists():
        return None
    tracked, new = _git("ls-files", "-z"), _git("ls-files", "-z", "--others", "--exclude-standard", "--", *new_in)
    if tracked is None or new is None:
        return None
    return [name for name in (tracked + "\0" + new).split("\0") if name]


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):  # no git on this machine, or a file system that sleeps
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _package_versions() -> dict[str, str]:
    """Versions of what the project itself requires, as far as it is installed."""
    versions = {}
    for requirement in _requirements():
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
    return versions


def _requirements() -> list[str]:
    try:
        return importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return []
