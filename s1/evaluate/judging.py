"""Take the judgement of each answer from lm-eval's results: the extracted answer, and right or wrong.

The first filter and the first metric of the task judge each answer separately. If the task's `process_results` returns
`extracted` and `notes` for each answer, as our graders do, these are used; otherwise the extracted answer is the output
of the filter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s1.config.data import GraderKind
from s1.config.schema import ConfigError
from s1.evaluate.graders import integer_results, letter_results, math_results

GRADER = "grader"  # key in a task's metadata: its GraderKind, or None
OURS = {integer_results: GraderKind.INTEGER, math_results: GraderKind.MATH, letter_results: GraderKind.LETTER}
UNREAD = "[invalid]"  # output of lm-eval's regex filter if nothing matches


@dataclass(frozen=True)
class Judgement:
    extracted: str | None  # None: no answer could be read
    correct: bool
    note: str | None = None  # a GradeNote value, such as "timed_out"


@dataclass(frozen=True)
class Judge:
    """How a task judges answers."""

    task: str
    metric: str
    grader: GraderKind | None  # one of our graders, or None
    unread: frozenset[str] = frozenset({UNREAD})  # outputs of its filters if nothing matches

    def judgements(self, results: Mapping[str, Any]) -> list[Judgement]:
        """Judgements of all texts, in order.

        Raises ConfigError if the metric is missing, is not 0 or 1 for each answer, or is not averaged over answers.
        """
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
                f"task {self.task} metric_list {self.metric!r}: process_results does not return it (returned: {found})."
                " Put the metric that judges answers first."
            )
        value, correct = record[self.metric], _one(record[self.metric])
        if correct not in (0, 1):
            raise ConfigError(
                f"task {self.task} metric_list {self.metric!r}: gives {value!r} for one answer instead of 0 or 1."
                " Put a metric that says right or wrong first."
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
                f"task {self.task} metric_list {self.metric!r}: lm-eval reports {theirs}, which is not the mean over"
                f" answers ({ours})."
                " Set aggregation: mean."
            )


def judge_of(task: Any) -> Judge:
    """Build the judge of an lm-eval task."""
    steps = [step for each in task.config.filter_list or () for step in each["filter"]]
    unread = {step["fallback"] for step in steps if isinstance(step.get("fallback"), str)}
    grader = task.config.metadata[GRADER]
    return Judge(task.task_name, next(iter(task.aggregation())), grader, frozenset({UNREAD, *unread}))


def _one(value: Any) -> Any:
    """The item of a list of length one; any other value as it is."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
