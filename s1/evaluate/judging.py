"""What lm-eval says of each answer: its reading, and right or wrong.

The first filter and the first metric of the task judge, each answer by itself. A task whose `process_results` returns
`extracted` and `notes`, one per answer, as our graders do, says what it read; of others it is what the filter left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s1.config.data import GraderKind
from s1.config.schema import ConfigError
from s1.evaluate.graders import integer_results, letter_results, math_results

GRADER = "grader"  # in the metadata of a task over documents: its GraderKind, or None
OURS = {integer_results: GraderKind.INTEGER, math_results: GraderKind.MATH, letter_results: GraderKind.LETTER}
UNREAD = "[invalid]"  # what a regex filter of lm-eval leaves where it finds nothing


@dataclass(frozen=True)
class Judgement:
    extracted: str | None  # None: no answer could be read
    correct: bool
    note: str | None = None  # of the grader: "timed_out"


@dataclass(frozen=True)
class Judge:
    """What decides in a task."""

    task: str
    metric: str
    grader: GraderKind | None  # which of ours, if any
    unread: frozenset[str] = frozenset({UNREAD})  # what its filters leave where they find nothing

    def judgements(self, results: Mapping[str, Any]) -> list[Judgement]:
        """Of all texts in order. Raises ConfigError for a metric that does not judge, or is no mean over them."""
        records = results["samples"][self.task]
        first = [each for each in records if each["filter"] == records[0]["filter"]]
        found = [self._judgement(each) for each in sorted(first, key=lambda each: each["doc_id"])]
        self._check_sum(results["results"][self.task], records[0]["filter"], found)
        return found

    def _judgement(self, record: Mapping[str, Any]) -> Judgement:
        metrics = record["metrics"]
        if self.metric not in metrics:
            found = ", ".join(metrics) or "nothing"
            raise ConfigError(
                f"task {self.task} metric_list {self.metric!r}: not what process_results returns ({found})."
                " Put the metric that judges first."
            )
        value, correct = record[self.metric], _one(record[self.metric])
        if correct not in (0, 1):
            raise ConfigError(
                f"task {self.task} metric_list {self.metric!r}: {value!r} for one answer, which is neither 0 nor 1."
                " Put a metric first that says right or wrong."
            )
        read = _one(record["extracted"]) if "extracted" in metrics else self._filtered(record["filtered_resps"][0])
        note = _one(record["notes"]) if "notes" in metrics else None
        return Judgement(None if read is None else str(read), bool(correct), note)

    def _filtered(self, response: Any) -> str | None:
        text = str(_one(response)).strip()
        return None if text in self.unread else text or None

    def _check_sum(self, aggregate: Mapping[str, Any], filtered: str, found: Sequence[Judgement]) -> None:
        theirs, ours = aggregate[f"{self.metric},{filtered}"], sum(each.correct for each in found) / len(found)
        if not math.isclose(theirs, ours, abs_tol=1e-12):
            raise ConfigError(
                f"task {self.task} metric_list {self.metric!r}: lm-eval's {theirs} is no mean over answers ({ours})."
                " Give it aggregation: mean."
            )


def judge_of(task: Any) -> Judge:
    """Of an lm-eval task."""
    steps = [step for each in task.config.filter_list or () for step in each["filter"]]
    unread = {step["fallback"] for step in steps if isinstance(step.get("fallback"), str)}
    grader = task.config.metadata[GRADER]
    return Judge(task.task_name, next(iter(task.aggregation())), grader, frozenset({UNREAD, *unread}))


def _one(value: Any) -> Any:
    """Of a list with one entry per answer, that of the only one."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
