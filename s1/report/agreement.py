"""Agreement of two engines: compare their traces of the same points, one by one.

In theory greedy decoding in one dtype gives one text. In practice kernels round differently, so traces diverge where
two tokens are almost equally likely. The report counts these traces and gives the token where each diverges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from s1.records import TraceRow, read_rows
from s1.report.findings import Agreement, FirstDifference

ENGINE = "engine"  # the axes `engine` and `engine.*`


def is_engine_axis(axis: str) -> bool:
    return axis.partition(".")[0] == ENGINE


def agreements(points: Sequence[tuple[str, Mapping[str, Any], Path]]) -> Iterator[Agreement]:
    """Compare each point (label, values, traces directory) with the first that differs only in the engine."""
    firsts: dict[str, tuple[Mapping[str, Any], Path]] = {}
    for label, values, directory in points:
        rest = repr(sorted((axis, repr(value)) for axis, value in values.items() if not is_engine_axis(axis)))
        first = firsts.setdefault(rest, (values, directory))
        if first[1] != directory:
            one, other = (read_rows(path / "traces.jsonl", TraceRow) for path in (first[1], directory))
            yield agreement(label, (_engine(first[0]), _engine(values)), one, other)


def agreement(label: str, engines: tuple[str, str], one: Sequence[TraceRow], other: Sequence[TraceRow]) -> Agreement:
    """Compare the traces of one point; both lists have the same order of questions and samples."""
    pairs = list(zip(one, other, strict=True))
    first_differences = [
        FirstDifference(token, a.question_id, a.sample)
        for a, b in pairs
        if (token := first_difference(_ids(a), _ids(b))) is not None
    ]
    return Agreement(
        label=label,
        engines=list(engines),
        traces=len(pairs),
        first_differences=sorted(first_differences, key=lambda each: each.token),
        other_answers=sum(a.answer != b.answer for a, b in pairs),
    )


def first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Index of the first token that differs or that only one sequence has; None if they are equal."""
    if list(one) == list(other):
        return None
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _ids(answer: TraceRow) -> list[int]:
    """All ids after the prompt, including a sampled stop."""
    return list(chain.from_iterable([*each["ids"], *(each["ended_by"] or ())] for each in answer.segments))


def _engine(values: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for axis, value in sorted(values.items()) if is_engine_axis(axis))
