"""Loops and variety of the thinking of each point, from its stored traces (s1/stats/loops.py)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s1.generate.trace import Part
from s1.records import read_objects
from s1.report.series import Scored
from s1.stats import clustered
from s1.stats.interval import Estimate, StatisticsError
from s1.stats.loops import distinct, loops


@dataclass(frozen=True)
class Repetition:
    """Of one thinking."""

    loops: bool
    distinct: float | None  # distinct-4; None: fewer than four tokens


@dataclass(frozen=True)
class PointRepetition:
    """Of all traces of one point and seed, in the order of `Grid`: questions sorted, samples in order."""

    loops_QS: np.ndarray
    distinct_QS: np.ndarray  # NaN where a thinking has fewer than four tokens


def repetitions(scored: Sequence[Scored]) -> dict[str, PointRepetition]:
    """Measure every point, by scores key. Points that share a thinking measure it once."""
    known: dict[bytes, Repetition] = {}
    return {each.key: _of_point(each.traces, known) for each in scored}


def loop_share_of(
    keys: Sequence[str], repeated: Mapping[str, PointRepetition], level: float
) -> tuple[Estimate | None, float | None]:
    """Share of traces whose thinking loops, and the mean of distinct-4, over the seeds of a point; None if not read."""
    found = [repeated[key] for key in keys if key in repeated]
    if not found:
        return None, None
    measured = np.concatenate([each.distinct_QS.ravel() for each in found])
    known = measured[np.isfinite(measured)]
    loop_share = clustered.accuracy(np.stack([each.loops_QS for each in found]), level)
    return loop_share, float(known.mean()) if len(known) else None


def _of_point(directory: Path, known: dict[bytes, Repetition]) -> PointRepetition:
    found: dict[str, dict[int, Repetition]] = {}
    for question, sample, thinking_T in _thinking(directory / "traces.jsonl"):
        content = hashlib.blake2b(thinking_T.tobytes(), digest_size=16).digest()
        if content not in known:
            known[content] = Repetition(loops(thinking_T), distinct(thinking_T))
        found.setdefault(question, {})[sample] = known[content]
    rows_QS = [[by_sample[sample] for sample in sorted(by_sample)] for _, by_sample in sorted(found.items())]
    if len({len(row_S) for row_S in rows_QS}) != 1:
        raise StatisticsError(f"{directory}: questions have different numbers of samples. Run with redo=traces.")
    return PointRepetition(
        loops_QS=np.array([[each.loops for each in row_S] for row_S in rows_QS], dtype=bool),
        distinct_QS=np.array(
            [[np.nan if each.distinct is None else each.distinct for each in row_S] for row_S in rows_QS]
        ),
    )


def _thinking(path: Path) -> Iterator[tuple[str, int, np.ndarray]]:
    """Question, sample and token ids of the thinking, row by row: a file may be larger than the memory."""
    for row in read_objects(path):
        ids = [each["ids"] for each in row["segments"] if each["part"] == Part.THINKING.value]
        yield row["question_id"], row["sample"], np.array([token for part in ids for token in part], dtype=np.int64)
