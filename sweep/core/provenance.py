"""Where a result came from: code, command, packages, host. Recorded beside it, never part of its key."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NotRequired, TypedDict

from sweep.errors import SweepError
from sweep.places import EXPORTED, PROJECT
from sweep.secrets import Secrets, redacted

DISTRIBUTION = "s1-sweep"


class GitState(TypedDict):
    """Which code it was."""

    commit: str | None  # None: not known
    diff: str | None
    problem: NotRequired[str]  # why git does not answer
    redacted_lines: NotRequired[int]  # of the diff


class Host(TypedDict):
    name: str
    platform: str
    cpus: int | None
    python: str


class Provenance(TypedDict):
    """Where a product came from."""

    argv: list[str]
    version: NotRequired[str | None]
    git: GitState
    host: Host
    packages: dict[str, str]  # versions


def provenance() -> Provenance:
    """Commit, uncommitted diff, argv, package versions and host of this process, without keys and secrets."""
    return {
        "argv": [redacted(each) for each in sys.argv],
        "version": version(),
        "git": git_state(),
        "host": {
            "name": platform.node(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
        },
        "packages": _package_versions(),
    }


class GitError(SweepError, RuntimeError):
    """Git does not answer: why, in one line."""


def git_state() -> GitState:
    """Commit and diff; of exported code those of the code it was copied from; None for what is not known.

    The diff leaves out what looks like a key, and says in how many lines (sweep/redaction.py). Where there is no
    checkout, or git fails on it, `problem` says so. Of a package that pip installed from git the commit is known.
    """
    if (PROJECT / EXPORTED).exists():
        return _without_keys(json.loads((PROJECT / EXPORTED).read_text(encoding="utf-8")))
    if not (PROJECT / ".git").exists():
        return {"commit": _installed_commit(), "diff": None, "problem": _without_git()}
    try:
        return _without_keys(
            {"commit": _git("rev-parse", "HEAD"), "diff": _git("diff", "HEAD", "--", "*.py", "*.yaml", "*.toml")}
        )
    except GitError as error:
        return {"commit": None, "diff": None, "problem": str(error)}


def _without_keys(state: GitState) -> GitState:
    if not state["diff"]:
        return state
    found = Secrets.here().without_keys(state["diff"])
    return {**state, "diff": found.text, "redacted_lines": state.get("redacted_lines", 0) + found.lines}


def git_problem() -> str | None:
    """Why the records of what runs now would not name its commit, one line for people; None: they will."""
    if (PROJECT / EXPORTED).exists():
        return None
    if not (PROJECT / ".git").exists():
        return None if _installed_commit() else f"commit and diff are not recorded: {_without_git()}"
    try:
        _git("rev-parse", "HEAD")
    except GitError as error:
        return f"commit and diff of {PROJECT} are not recorded: {error}"
    return None


@cache
def version() -> str | None:
    """The version of this very code, by pyproject.toml beside it or as it was installed; None: neither knows it."""
    declared = PROJECT / "pyproject.toml"
    if declared.is_file():
        project = tomllib.loads(declared.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == DISTRIBUTION:
            return project.get("version")
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None


def _without_git() -> str:
    return f"{PROJECT} is no git checkout ({DISTRIBUTION} {version() or 'of unknown version'})"


def _installed_commit() -> str | None:
    """The commit that `pip install git+...` noted, if what runs is what it installed."""
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None
    if Path(str(distribution.locate_file("sweep"))).resolve() != PROJECT / "sweep":
        return None
    try:
        return json.loads(distribution.read_text("direct_url.json") or "{}").get("vcs_info", {}).get("commit_id")
    except json.JSONDecodeError:
        return None


def tracked_files(new_in: Sequence[str]) -> list[str] | None:
    """Relative paths of all files that git knows, and of new ones in these folders; None outside a checkout."""
    if not (PROJECT / ".git").exists():
        return None
    try:
        tracked, new = _git("ls-files", "-z"), _git("ls-files", "-z", "--others", "--exclude-standard", "--", *new_in)
    except GitError:
        return None
    return [name for name in (tracked + "\0" + new).split("\0") if name]


def _git(*arguments: str) -> str:
    """What git answers. A checkout of another user is read as well: its code runs here already. Raises GitError."""
    of_this_call = ("--no-optional-locks", "-c", f"safe.directory={PROJECT}", "-c", "core.fsmonitor=false")
    command = ["git", "-C", str(PROJECT), *of_this_call, *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        raise GitError("no git on this machine") from None
    except subprocess.TimeoutExpired:  # a file system that sleeps
        raise GitError("git did not answer in 30 s") from None
    if answer.returncode:
        raise GitError((answer.stderr.strip().splitlines() or [f"git {arguments[0]}: status {answer.returncode}"])[0])
    return answer.stdout.strip()


def _package_versions() -> dict[str, str]:
    """Versions of what the project itself requires, as far as it is installed."""
    versions: dict[str, str] = {}
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
