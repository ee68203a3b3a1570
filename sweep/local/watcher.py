"""The process that mirrors a local run while it runs: `python -m sweep sync ... --watch`, a child of the launcher.

It is a process of its own, so that no error, wait or import of a mirror reaches the run. It ends by itself when this
process has ended, however that happened, because its standard input is closed then.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sweep.places import environment_of_workers

log = logging.getLogger(__name__)

QUIET_WAIT_S = 20.0  # for the upload after the run, without a word
LAST_WAIT_S = 120.0  # for the upload after the run
LOG = Path("wandb", "sync.log")


@contextmanager
def watcher(arguments: Sequence[str], store: Path) -> Generator[None]:
    """While the context is open, mirror the plan of these arguments; at its end wait for the upload, for a while.

    `arguments`: of the composed command, as typed. Prints what the process reported. Raises nothing of its own.
    """
    try:
        process, report = _start(arguments, store)
    except OSError as error:
        log.warning("nothing is mirrored: %s. `sweep sync` with the same fields does it later.", error)
        yield
        return
    try:
        yield
    finally:
        _end(process, report)


class _Report:
    """What the process writes, from the place where the log ended before."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.file = path.open("ab")
        self.begins_at = self.file.tell()

    def lines(self) -> list[str]:
        with suppress(OSError), self.path.open("rb") as file:
            file.seek(self.begins_at)
            return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return []


def _start(arguments: Sequence[str], store: Path) -> tuple[subprocess.Popen[bytes], _Report]:
    report = _Report(store / LOG)
    with report.file:
        process = subprocess.Popen(
            [sys.executable, "-m", "sweep", "sync", *_without_redo(arguments), "--watch", "--attached"],
            stdin=subprocess.PIPE,
            stdout=report.file,
            stderr=subprocess.STDOUT,
            env=environment_of_workers(os.environ),
            start_new_session=True,  # Ctrl-C reaches the launcher alone
        )
    return process, report


def _end(process: subprocess.Popen[bytes], report: _Report) -> None:
    """Let the process end, and print its warnings. One that was killed reports nothing itself."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    status = _status(process, report)
    for line in report.lines():
        log.warning("%s", line)
    if status:
        log.warning("the mirror ended with status %d: `sweep sync` with the same fields sends what is missing.", status)


def _status(process: subprocess.Popen[bytes], report: _Report) -> int:
    """Its exit status; 0 for a process that continues in the background, because it takes long or after Ctrl-C."""
    try:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=QUIET_WAIT_S)
        left_s = LAST_WAIT_S - QUIET_WAIT_S
        log.warning("waiting for the upload, %.0f s at most. Ctrl-C leaves it to the background.", left_s)
        return process.wait(timeout=left_s)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):  # the run itself is over
        log.warning("still mirroring in the background, process %d; its report: %s", process.pid, report.path)
        return 0


def _without_redo(arguments: Sequence[str]) -> list[str]:
    """`sync` makes nothing, so it takes no redo."""
    return [each for each in arguments if each.partition("=")[0].strip("+~") != "redo"]
