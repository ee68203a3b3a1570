"""Sample the load of a worker's processors, memory and GPUs into the tails of its stages while it makes them.

The samples are no sign of progress: the stall watcher ignores them. What cannot be read is left out.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from sweep.store.directory import StageDirectory, StoreError
from sweep.store.tail import MACHINE, Row, TailWriter, last_row
from sweep.worker.processes import Load, load_of
from sweep.worker.ranks import Rank

INTERVAL_S = 15.0
GPU_TIMEOUT_S = 10.0
GIB = 1024**3
MIB_PER_GIB = 1024
GPU_QUERY = (
    *("nvidia-smi", "--format=csv,noheader,nounits"),
    "--query-gpu=index,uuid,utilization.gpu,memory.used,power.draw",
)
GPU_FIELDS = (("percent", 1), ("memory_gib", MIB_PER_GIB), ("watts", 1))  # of the query's last columns: name, divisor


@dataclass
class MachineSampler:
    """While the context is open, a thread appends a row to the tail of each of its stages every few seconds.

    Row: seconds (over all attempts), cpu_percent (100: one core), memory_gib, and of each GPU of this node percent,
    memory_gib and watts.
    """

    directories: Iterable[StageDirectory]
    rank: Rank
    interval_s: float = INTERVAL_S
    _tails: dict[str, tuple[TailWriter, float]] = field(default_factory=dict[str, tuple[TailWriter, float]])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> MachineSampler:
        directories = list(self.directories)
        for each in directories:
            before = last_row(MACHINE.file(each.scratch)) or {}
            self._tails[each.address] = TailWriter(MACHINE, each.scratch, 0.0), float(before.get("seconds", 0.0))
        has_gpus = any(map(_has_gpus, directories))
        threading.Thread(target=self._run, args=(has_gpus,), name="machine sampler", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()

    def leave(self, directory: StageDirectory) -> None:
        """Write no more to this stage: it is about to be published."""
        with self._lock:
            self._tails.pop(directory.address, None)

    def _run(self, has_gpus: bool) -> None:
        top = os.getpid() if self.rank.group is None else os.getppid()  # torchrun, with all ranks of this node
        began = last_at = time.monotonic()
        last = load_of(top)
        while not self._stop.wait(self.interval_s):
            at, load = time.monotonic(), load_of(top)
            gpus: Row = read_gpus() if has_gpus else {}
            has_gpus = bool(gpus)
            row = {**processor_row(last, load, at - last_at), **gpus}
            last, last_at = load, at
            with self._lock:
                for tail, seconds in self._tails.values():
                    tail.add({MACHINE.axis: round(seconds + at - began, 1), **row})


def processor_row(before: Load, now: Load, elapsed_s: float) -> Row:
    """Use of processors and memory between two samples."""
    used_s = max(0.0, now.cpu_seconds - before.cpu_seconds)  # less if a child has ended
    return {
        "cpu_percent": round(100 * used_s / max(elapsed_s, 1e-9), 1),
        "memory_gib": round(now.memory_bytes / GIB, 3),
    }


def read_gpus(environment: Mapping[str, str] = os.environ) -> Row:
    """Use of the GPUs that this process may use; empty if nvidia-smi does not answer."""
    try:
        done = subprocess.run(
            GPU_QUERY, capture_output=True, text=True, check=True, timeout=GPU_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return gpu_row(done.stdout, environment.get("CUDA_VISIBLE_DEVICES", ""))


def gpu_row(answer: str, visible: str) -> Row:
    """`gpu_<i>_percent`, `gpu_<i>_memory_gib` and `gpu_<i>_watts` from nvidia-smi's CSV lines.

    `visible`: indices or UUIDs, as in CUDA_VISIBLE_DEVICES; if they name none of these GPUs, all count.
    """
    lines = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines() if line.count(",") >= 4]
    wanted = {each.strip() for each in visible.split(",")}
    chosen = [cells for cells in lines if wanted & set(cells[:2])] or lines
    return dict(pair for cells in chosen for pair in _cells(cells))


def _cells(cells: list[str]) -> Iterator[tuple[str, float]]:
    for (name, divisor), cell in zip(GPU_FIELDS, cells[2:], strict=False):
        if (value := _number(cell)) is not None:  # "[N/A]" of a divided GPU
            yield f"gpu_{cells[0]}_{name}", round(value / divisor, 3)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _has_gpus(directory: StageDirectory) -> bool:
    try:
        return directory.read_stage().get("resources", {}).get("devices", 0) > 0
    except (StoreError, OSError):
        return False
