"""The process that mirrors a run: what its end reports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweep.local.watcher import watcher


def reported(script: str, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Warnings of a run whose mirror is this shell script."""
    program = home / "mirror.sh"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with watcher(["+experiment=smoke"], home):
        pass
    return [record.getMessage() for record in caplog.records]


def test_a_mirror_that_was_killed_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = reported("kill -9 $$", tmp_path, monkeypatch, caplog)
    assert line == "the mirror ended with status -9: `sweep sync` with the same fields sends what is missing."


def test_a_mirror_that_fails_prints_its_report_and_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    error, status = reported("echo 'train.steps x: no number.' >&2; exit 2", tmp_path, monkeypatch, caplog)
    assert error == "train.steps x: no number."
    assert "status 2" in status


def test_a_mirror_ends_with_the_run_and_reports_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert reported("exec cat > /dev/null", tmp_path, monkeypatch, caplog) == []


def test_a_mirror_that_does_not_end_is_left_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sweep.local.watcher.QUIET_WAIT_S", 0.1)
    monkeypatch.setattr("sweep.local.watcher.LAST_WAIT_S", 0.2)
    waiting, left = reported("exec sleep 5", tmp_path, monkeypatch, caplog)
    assert waiting == "waiting for the upload, 0 s at most. Ctrl-C leaves it to the background."
    assert left.startswith("still mirroring in the background")


def test_ctrl_c_during_the_last_upload_does_not_interrupt_a_run_that_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    (line,) = reported("exec cat > /dev/null", tmp_path, monkeypatch, caplog)
    assert line.startswith("still mirroring in the background")
