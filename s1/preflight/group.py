"""The ranks of a preflight job: torch.distributed under torchrun, as training starts it; or a single process."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

TIMEOUT_S = 300  # a rank that is not there by then does not come


@dataclass(frozen=True)
class TorchGroup:
    """All ranks of the job."""

    rank: int
    size: int
    local_rank: int
    backend: str  # nccl or gloo; "none" of a single process

    def gathered(self, value: Any) -> list[Any]:
        """The value of every rank, on every rank; all ranks wait for each other."""
        if self.size == 1:
            return [value]
        import torch.distributed as distributed

        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found

    def reduce(self, values: Any) -> None:
        """Sum a tensor over all ranks in place."""
        import torch.distributed as distributed

        distributed.all_reduce(values)


@contextmanager
def joined(device: str) -> Generator[TorchGroup]:
    """The group that torchrun's environment describes. Raises RuntimeError if ranks cannot reach each other."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield TorchGroup(0, 1, 0, "none")
        return
    import torch
    import torch.distributed as distributed

    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    backend = "nccl" if device == "cuda" else "gloo"
    if device == "cuda":
        torch.cuda.set_device(local_rank)
    distributed.init_process_group(backend, timeout=timedelta(seconds=TIMEOUT_S))
    try:
        yield TorchGroup(rank, size, local_rank, backend)
    finally:
        distributed.destroy_process_group()
