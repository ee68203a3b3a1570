"""Submissions of toy stages that are written but not submitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweep.core.launch import JobSettings, Launch, LaunchKind
from sweep.core.stage import Stage
from sweep.errors import InputError
from sweep.plan.graph import plan
from sweep.slurm import lifecycle
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import Store
from tests.support import toy_queue
from tests.support.toy_queue import make_stage

LAUNCH = Launch(
    LaunchKind.SLURM,
    defaults=JobSettings(partition="main", cpus=4, memory_gib=16, cpus_per_gpu=8),
    cpu=JobSettings(minutes=30),
    sft=JobSettings(minutes=90),
    max_array_size=1001,
    throttle=2,
)


PROVENANCE = {"git": {"commit": None}, "packages": {}}


class Queue:
    """Takes scripts as sbatch does, and remembers."""

    def __init__(self, refuse_at: int | None = None) -> None:
        self.sent: list[tuple[str, str | None]] = []
        self.refuse_at = refuse_at

    def submit(self, script: Path, arguments: Sequence[str], dependency: str | None) -> str:
        if len(self.sent) == self.refuse_at:
            raise InputError("sbatch: refused.")
        self.sent.append((script.stem, dependency))
        return str(100 + len(self.sent))


def fan(points: int = 3) -> Stage:
    start = make_stage("start", 1)
    return make_stage("total", 0, *(make_stage("points", n, start) for n in range(points)))


def written(store: Store, product: Stage, launch: Launch = LAUNCH) -> SubmissionDirectory:
    graph, work = toy_queue.graph(product, launch), plan([product], store.is_done)
    order = lifecycle.SubmissionRequest("python -m sweep toy", ("toy",), Path.cwd(), store.root / "results")
    return SubmissionDirectory(lifecycle.write_submission(graph, work, lifecycle.queue_jobs(graph, work), store, order))
