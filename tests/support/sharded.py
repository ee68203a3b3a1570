"""The fine-tuning stage with FSDP2 on CPUs, as GPUs have it: what tests name as the stage's function.

accelerate shards on GPUs only; on CPUs it would give every process the whole model, and s1/train/trainer.py refuses
that. Here its process group is told to be one of GPUs; all else is the product's own code, over gloo.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

from s1.stages import CheckpointConfig
from s1.train import sft
from sweep.core.stage import Summary, Work

STEPS = "steps.txt"  # in scratch: a line for every step that was made


def train(work: Work[CheckpointConfig]) -> Summary:
    """Shard on CPUs."""
    _shard_on_cpus()
    return sft.train(_acting_up(work))


def _shard_on_cpus() -> None:
    from accelerate import state

    original = state.PartialState.__init__

    def initialise(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        if self.__dict__.get("distributed_type") == state.DistributedType.MULTI_CPU:
            self.distributed_type = state.DistributedType.MULTI_GPU

    state.PartialState.__init__ = initialise


def _acting_up(work: Work[CheckpointConfig]) -> Work[CheckpointConfig]:
    """Each step that member 0 made is noted; after the steps of the setting `strikes`, once, a member gets a signal."""
    strikes: Any = work.settings.get("strikes", ())
    rank = int(os.environ["RANK"])

    def report(done: int, total: int, unit: str) -> None:
        work.report(done, total, unit)
        if rank == 0:
            with (work.scratch / STEPS).open("a", encoding="ascii") as steps:
                steps.write(f"{done}\n")
        for step, number, member in strikes:
            done_before = work.scratch / f"struck-{step}"
            if (done, rank) == (step, member) and not done_before.exists():
                done_before.touch()
                os.kill(os.getpid(), signal.Signals[number])

    return replace(work, report=report)
