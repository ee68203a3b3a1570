"""The fine-tuning stage with FSDP2 on CPUs, as GPUs have it: what tests name as the stage's function.

accelerate shards on GPUs only; on CPUs it would give every process the whole model, and s1/train/trainer.py refuses
that. Here its process group is told to be one of GPUs; all else is the product's own code, over gloo.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

from s1.stages import Sft
from s1.train import sft
from sweep.stage import Summary, Work


def train(work: Work[Sft]) -> Summary:
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


def _acting_up(work: Work[Sft]) -> Work[Sft]:
    """After the step in the setting `strike`, once, member 0 or the whole group gets a signal, as the setting says."""
    strike = work.settings.get("strike")
    if strike is None:
        return work
    step, number, first = strike
    done_before = work.scratch / "struck"

    def report(done: int, total: int, unit: str) -> None:
        work.report(done, total, unit)
        if done == step and os.environ["RANK"] == str(first) and not done_before.exists():
            done_before.touch()
            os.kill(os.getpid(), signal.Signals[number])

    return replace(work, report=report)
