"""Progress of generation, on the tails of its stages: closed traces, sampled tokens, and the speed of the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sweep.store.tail import Stream, TailWriter, last_row

GENERATE = Stream("generate", "seconds")
INTERVAL_S = 5.0


class Counted(Protocol):
    """A stage whose traces are counted."""

    @property
    def closed(self) -> Mapping[tuple[int, int], object]: ...

    @property
    def total(self) -> int: ...


@dataclass
class _StageTail:
    """One stage, and where its earlier attempts ended."""

    stage: Counted
    tail: TailWriter
    seconds: float  # of earlier attempts
    traces: int
    tokens: int
    seen: tuple[int, int] = (0, 0)  # traces and tokens of this attempt at its last row


@dataclass
class GenerationProgress:
    """Made when the engine is loaded, called after each of its steps; writes a row per stage every few seconds.

    Row: seconds spent generating, traces closed, their total, tokens sampled for this stage (all three over all
    attempts), and tokens_per_second, the speed of the engine for all its stages since the last row.
    """

    sampled: Mapping[str, int]  # tokens by stage key
    clock: Callable[[], float] = time.monotonic
    _stages: dict[str, _StageTail] = field(default_factory=dict[str, _StageTail])
    _began: float = field(init=False)
    _last: tuple[float, int] = field(init=False)  # time and tokens of all stages at the last row

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._last = (self._began, sum(self.sampled.values()))

    def follow(self, key: str, stage: Counted, scratch: Path) -> None:
        """Add a stage, whose tail is continued."""
        before = last_row(GENERATE.file(scratch)) or {}
        tail = TailWriter(GENERATE, scratch, flush_interval_s=0.0)
        counts = (float(before.get("seconds", 0.0)), int(before.get("traces", 0)), int(before.get("tokens", 0)))
        self._stages[key] = _StageTail(stage, tail, *counts)

    def step(self) -> None:
        """Write rows, if the interval has passed."""
        at = self.clock()
        since_s = at - self._last[0]
        if since_s < INTERVAL_S:
            return
        tokens = sum(self.sampled.values())
        rate = (tokens - self._last[1]) / since_s
        self._last = (at, tokens)
        for key, each in self._stages.items():
            self._write(key, each, rate)

    @property
    def mean_speed(self) -> float:
        """Tokens per second of the engine for all its stages, since it was loaded."""
        return sum(self.sampled.values()) / max(1e-3, self.clock() - self._began)

    def finish(self, key: str) -> None:
        """Write no more rows of a stage: it is about to be published."""
        self._stages.pop(key, None)

    def _write(self, key: str, each: _StageTail, rate: float) -> None:
        """Write a row unless nothing has changed, so that a stalled engine does not look alive."""
        now = (len(each.stage.closed), self.sampled.get(key, 0))
        if now == each.seen:
            return
        each.seen = now
        each.tail.add(
            {
                "seconds": round(each.seconds + self.clock() - self._began, 3),
                "traces": max(each.traces, now[0]),  # those of an earlier attempt are closed again from the store
                "total": each.stage.total,
                "tokens": each.tokens + now[1],
                "tokens_per_second": round(rate, 1),
            }
        )
