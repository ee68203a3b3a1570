"""Finds processes of this machine in /proc and ends them by id."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path


def programs() -> Iterator[tuple[int, str]]:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            yield int(path.name), str((path / "exe").readlink())
        except OSError:
            continue  # gone, or not ours


def environment_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:
        return []


def open_files(pid: int) -> list[str]:
    files = []
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            files.append(str(path.readlink()))
        except OSError:
            continue
    return files


def pid_in(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def end(pid: int, most_s: float = 10.0) -> None:
    """Ask it to end, and see to it."""
    send(pid, signal.SIGTERM)
    until = time.monotonic() + most_s
    while is_alive(pid):
        if time.monotonic() > until:
            send(pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
