"""Metrics of training: one row per step, on its tail while training runs, and in metrics.jsonl when it has ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.store.tail import Stream, TailWriter

TRAIN = Stream("train", "step")


@dataclass(frozen=True)
class TrainingMetrics:
    """Rows {step, loss, learning_rate, grad_norm, tokens} from the log entries of the trainer."""

    tokens_seen: Sequence[int]  # after each step; the trainer's own count restarts with every attempt
    tail: TailWriter

    @classmethod
    def of(cls, tokens_seen: Sequence[int], scratch: Path) -> TrainingMetrics:
        """Metrics whose tail is in this scratch folder."""
        return cls(tokens_seen, TailWriter(TRAIN, scratch))

    def rows(self, log_history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """One row per step."""
        return list(self._rows(log_history))

    def resume(self, log_history: Sequence[Mapping[str, Any]]) -> None:
        """Begin the tail with the steps before the checkpoint; an earlier attempt may have gone beyond it."""
        self.tail.restart(self.rows(log_history))

    def add(self, log_history: Sequence[Mapping[str, Any]]) -> None:
        """Append the newest log entry to the tail, if it is a step."""
        for row in self._rows(log_history[-1:]):
            self.tail.add(row)

    def _rows(self, entries: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, float]]:
        for entry in entries:
            if "loss" in entry:
                yield {
                    "step": entry["step"],
                    "loss": entry["loss"],
                    "learning_rate": entry["learning_rate"],
                    "grad_norm": entry["grad_norm"],
                    "tokens": self.tokens_seen[entry["step"] - 1],
                }
