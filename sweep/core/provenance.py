"""Record where a result came from: code, command, packages, host. Provenance is never part of a key."""

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
from sweep.places import DISTRIBUTION, EXPORTED, PROJECT
from sweep.secrets import Secrets, redacted


class GitState(TypedDict):
    """Commit and uncommitted changes of the code."""

    commit: str | None  # None: unknown
    diff: str | None
    problem: NotRequired[str]  # why they are unknown
    redacted_lines: NotRequired[int]  # of the diff


class Host(TypedDict):
    name: str
    platform: str
    cpus: int | None
    python: str


class Provenance(TypedDict):
    """Origin of an artifact."""

    argv: list[str]
    version: NotRequired[str | None]
    git: GitState
    host: Host
    packages: dict[str, str]  # versions


def provenance() -> Provenance:
    """Commit, uncommitted diff, argv, package versions and host of this process, with secrets redacted."""
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
    """Git failed; the message is one line."""


def git_state() -> GitState:
    """Commit and diff of the code; None for what is unknown. Exported code has those of its original checkout.

    The diff is redacted, and `redacted_lines` counts the changed lines (sweep/redaction.py). Without a checkout, or if
    git fails, `problem` explains it. For a package that pip installed from git, the commit is known.
    """
    if (PROJECT / EXPORTED).exists():
        return _without_secrets(json.loads((PROJECT / EXPORTED).read_text(encoding="utf-8")))
    if not (PROJECT / ".git").exists():
        return {"commit": _installed_commit(), "diff": None, "problem": _without_git()}
    try:
        return _without_secrets(
            {"commit": _git("rev-parse", "HEAD"), "diff": _git("diff", "HEAD", "--", "*.py", "*.yaml", "*.toml")}
        )
    except GitError as error:
        return {"commit": None, "diff": None, "problem": str(error)}


def _without_secrets(state: GitState) -> GitState:
    if not state["diff"]:
        return state
    found = Secrets.here().without_secrets(state["diff"])
    return {**state, "diff": found.text, "redacted_lines": state.get("redacted_lines", 0) + found.lines}


def git_problem() -> str | None:
    """Why records made now would have no commit, in one line; None if they will have one."""
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
    """Version of this code, from its pyproject.toml or its installed metadata; None if neither exists."""
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
    return f"{PROJECT} is not a git checkout ({DISTRIBUTION} {version() or 'of unknown version'})"


def _installed_commit() -> str | None:
    """The commit that `pip install git+...` recorded, if this code is what it installed."""
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
    """Relative paths of all tracked files, and of untracked ones in these folders; None outside a checkout."""
    if not (PROJECT / ".git").exists():
        return None
    try:
        tracked, new = _git("ls-files", "-z"), _git("ls-files", "-z", "--others", "--exclude-standard", "--", *new_in)
    except GitError:
        return None
    return [name for name in (tracked + "\0" + new).split("\0") if name]


def _git(*arguments: str) -> str:
    """Output of git. Also reads a checkout of another user, since its code already runs here. Raises GitError."""
    of_this_call = ("--no-optional-locks", "-c", f"safe.directory={PROJECT}", "-c", "core.fsmonitor=false")
    command = ["git", "-C", str(PROJECT), *of_this_call, *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        raise GitError("no git on this machine") from None
    except subprocess.TimeoutExpired:  # a file system that hangs
        raise GitError("git did not answer in 30 s") from None
    if answer.returncode:
        raise GitError((answer.stderr.strip().splitlines() or [f"git {arguments[0]}: status {answer.returncode}"])[0])
    return answer.stdout.strip()


def _package_versions() -> dict[str, str]:
    """Versions of the installed packages that the project requires."""
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
