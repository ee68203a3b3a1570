"""Commit and diff of the code, also of a checkout of another user; where git fails, the record says why."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from sweep.core import provenance
from sweep.core.provenance import git_problem, git_state, tracked_files
from tests.support.known import known

DAEMON = pwd.getpwnam("daemon")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One file committed, and then changed."""
    place = tmp_path / "a checkout"
    place.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(provenance, "PROJECT", place)
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    (place / "a.py").write_text("A = 1\n", encoding="utf-8")
    for words in (["init", "-q"], ["add", "a.py"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=place, check=True)
    (place / "a.py").write_text("A = 2\n", encoding="utf-8")
    return place


def commit_of(checkout: Path) -> str:
    (branch,) = (checkout / ".git" / "refs" / "heads").iterdir()
    return branch.read_text(encoding="ascii").strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="to give files away one has to be root")
def test_a_checkout_of_another_user_is_read(checkout: Path) -> None:
    for path in [checkout, *checkout.rglob("*")]:
        os.chown(path, DAEMON.pw_uid, DAEMON.pw_gid)
    refused = subprocess.run(["git", "status"], cwd=checkout, capture_output=True, text=True, check=False)
    assert "dubious ownership" in refused.stderr
    before = {path: path.stat().st_mtime_ns for path in checkout.rglob("*")}
    state = git_state()
    assert state["commit"] == commit_of(checkout) and "+A = 2" in str(state["diff"]) and "problem" not in state
    assert tracked_files(()) == ["a.py"]
    assert git_problem() is None
    assert {path: path.stat().st_mtime_ns for path in checkout.rglob("*")} == before  # not even an index refreshed
    assert not (checkout.parent / ".gitconfig").exists()


def test_what_the_configuration_of_a_checkout_names_is_not_run_for_its_state(checkout: Path) -> None:
    witness = checkout.parent / "ran"
    monitor = checkout.parent / "monitor.sh"
    monitor.write_text(f"#!/bin/sh\ntouch '{witness}'\n", encoding="utf-8")
    monitor.chmod(0o755)
    subprocess.run(["git", "config", "core.fsmonitor", f"'{monitor}'"], cwd=checkout, check=True)
    assert git_state()["commit"] == commit_of(checkout)
    assert not witness.exists()


def test_where_git_fails_the_record_says_why(checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text("nonsense\n", encoding="utf-8")
    state = git_state()
    assert (state["commit"], state["diff"]) == (None, None)
    assert str(known(state.get("problem"))).startswith("fatal: not a git repository")
    assert str(git_problem()).startswith(f"commit and diff of {checkout} are not recorded: fatal: not a git repository")


def test_where_there_is_no_git_the_record_says_so(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin/nowhere")
    assert git_state() == {"commit": None, "diff": None, "problem": "no git on this machine"}


def test_outside_of_a_checkout_record_and_plan_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PROJECT", tmp_path)
    state = git_state()
    assert (state["commit"], state["diff"]) == (None, None)
    assert known(state.get("problem")).startswith(f"{tmp_path} is not a git checkout (s1-sweep ")
    assert git_problem() == f"commit and diff are not recorded: {state.get('problem')}"
