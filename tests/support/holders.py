"""Tokens of processes that work elsewhere or have ended."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

from sweep.claim import TOKEN
from sweep.holder import Holder, started_at, text_of, this_process


def token_of(process: subprocess.Popen[bytes]) -> Holder:
    return dataclasses.replace(this_process(), pid=process.pid, started=started_at(process.pid) or 0)


def write(place: Path, holder: Holder) -> None:
    (place / TOKEN).write_text(text_of(holder), encoding="utf-8")
