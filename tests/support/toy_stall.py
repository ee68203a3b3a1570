"""Stage functions that make no progress, or only look so."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

from sweep.core.stage import CodePolicy, Stage, Summary, Work


@dataclass(frozen=True)
class Pace:
    name: str
    seconds: float = 0.0


def stage_of(function: str, seconds: float = 0.0) -> Stage:
    return Stage("pace", 1, Pace(function, seconds), f"tests.support.toy_stall:{function}", code=CodePolicy.EXPENSIVE)


def freeze(work: Work[Pace]) -> Summary:
    """Stops itself by a signal; done at once the second time."""
    if (work.scratch / "frozen").exists():
        return {"thawed": 1}
    work.report(3, 7, "steps")
    (work.scratch / "frozen").touch()
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)
    return {}


def sleep(work: Work[Pace]) -> Summary:
    """Reports once, then hangs without being stopped."""
    work.report(3, 7, "steps")
    time.sleep(60)
    return {}


def load(work: Work[Pace]) -> Summary:
    """Takes its time before the first report."""
    time.sleep(work.config.seconds)
    return {"loaded": 1}


def write(work: Work[Pace]) -> Summary:
    """No report after the first, but bytes of a file that what it shares with others keeps."""
    work.shared.mkdir(parents=True, exist_ok=True)
    work.report(0, 7, "steps")
    end = time.monotonic() + work.config.seconds
    with (work.shared / "stream").open("wb", buffering=0) as stream:
        while time.monotonic() < end:
            stream.write(b"token ")
            time.sleep(0.2)
    return {"written": 1}
