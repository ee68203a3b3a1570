"""Claim tokens of processes that run elsewhere or have ended."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

from sweep.claims.claim import TOKEN
from sweep.claims.holder import Holder, holder_text, started_at, this_process


def token_of(process: subprocess.Popen[bytes]) -> Holder:
    return dataclasses.replace(this_process(), pid=process.pid, started=started_at(process.pid) or 0)


def write(place: Path, holder: Holder) -> None:
    (place / TOKEN).write_text(holder_text(holder), encoding="utf-8")
