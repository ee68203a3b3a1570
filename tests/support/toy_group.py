"""Stage functions that two processes run together, without heavy libraries."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from sweep.core.interrupt import stop_requests
from sweep.core.stage import CodePolicy, Interrupted, Resources, Stage, Summary, Work

RANKS = ("0", "1")


@dataclass(frozen=True)
class Choir:
    failing_rank: str | None = None
    lingering_rank: str | None = None
    pause_s: float = 0.0


def stage_of(config: Choir, function: str = "sing", processes: int = 2) -> Stage:
    return Stage(
        "song",
        1,
        config,
        f"tests.support.toy_group:{function}",
        resources=Resources(processes=processes),
        code=CodePolicy.EXPENSIVE,
    )


def sing(work: Work[Choir]) -> Summary:
    """Each member waits until all are here, and writes its part."""
    rank = os.environ["RANK"]
    with (work.shared.parent / "calls.txt").open("a", encoding="utf-8") as calls:
        calls.write(f"{rank} {os.getpid()}\n")
    if rank == work.config.failing_rank:
        raise ValueError(f"voice {rank} is hoarse")
    _meet(work.scratch, rank, work.config.pause_s)
    (work.out / f"part-{rank}.txt").write_text("la", encoding="utf-8")
    if rank == work.config.lingering_rank:
        time.sleep(1.0)
        seen = "scratch was there" if work.scratch.exists() else "scratch was gone"
        published = "published" if (work.scratch.parent / "out").exists() else "nothing published"
        (work.shared.parent / "lingered").write_text(f"{seen}, {published}", encoding="utf-8")
    return {"rank": int(rank)}


def sing_until_asked(work: Work[Choir]) -> Summary:
    """Goes on for ever the first time, and takes its time to note that down; done at once the second time."""
    kept = work.scratch / f"kept-{os.environ['RANK']}"
    if kept.exists():
        return {"kept": 1}
    with stop_requests() as stop_asked:
        (work.scratch / f"singing-{os.environ['RANK']}").touch()
        while not stop_asked():
            time.sleep(0.02)
        time.sleep(work.config.pause_s)
    kept.touch()
    raise Interrupted("the song was noted down")


def _meet(place: Path, rank: str, pause_s: float) -> None:
    (place / f"here-{rank}-{os.environ['MASTER_PORT']}").touch()
    while not all((place / f"here-{each}-{os.environ['MASTER_PORT']}").exists() for each in RANKS):
        time.sleep(0.02)
    time.sleep(pause_s)


def sleep(work: Work[Choir]) -> Summary:
    """Alone, and deaf to requests."""
    (work.scratch / "asleep").touch()
    time.sleep(60)
    return {}
