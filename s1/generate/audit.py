"""The audit: did every trace of a point get the compute that was asked for, and did every answer come to its end?

An average hides a trace that ran over its budget, and a budget that the engine silently ignored looks like a finding.
So the audit looks at every trace, and a point with one that broke a rule is invalid, with the reason as a sentence. The
rules of a method are in its file (s1/generate/methods); those here hold for every method:

- More than one answer in a hundred (and more than one in all) cut by budget.answer_tokens: invalid. Such a cap falls on
  long answers alone, and so bends the curve where thinking ends by itself.
- Answers cut by the end of the context stay: that is the model's own limit. `accuracy_if_cut_were_right` says how much
  they could matter at most.
- What was asked and did not happen, without a rule broken, is in `unmet`: Waits for which the context left no room.
  Where fewer than half of the traces have all their Waits (`waits_happened`), the typical trace is not what the label
  says, so the label as measured does not claim them. The point stays valid: its thinking tokens are what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from s1.config.schema import ComputeRequest
from s1.generate.methods.forcing import HAPPENED_SHARE, is_over, is_under
from s1.generate.methods.registry import method_of
from s1.records import AnswerEnd, Ending, Outcome, ScoreRow

CAPPED_SHARE = 0.01  # of the answers that budget.answer_tokens may cut
CAPPED_ANSWERS = 1  # however few there are


@dataclass(frozen=True)
class Audit:
    """Counts and shares over all traces of a point; `problems` is empty exactly if it is valid."""

    request: ComputeRequest
    traces: int
    mean_thinking_tokens: float
    max_thinking_tokens: int
    forced_share: float  # thinking ended by the budget or the context
    mean_waits: float
    all_waits_share: float | None  # traces that got every requested Wait; None: none requested
    no_answer_share: float
    cut_by_cap: int  # traces whose answer budget.answer_tokens cut
    cut_by_context: int  # traces whose answer the end of the context cut
    answers_cut_share: float  # both
    thinks_on_share: float  # traces whose answer opens the thinking again
    mean_thinks_on_tokens: float  # over all traces
    accuracy_if_cut_were_right: float  # every cut answer taken as right
    over_budget: int  # traces, must be 0
    under_minimum: int  # traces that ended short of the minimum uncapped, must be 0
    problems: list[str]
    unmet: list[str]  # to be said, and no reason to call the point invalid

    @property
    def valid(self) -> bool:
        return not self.problems

    @property
    def waits_happened(self) -> bool:
        """At least half of the traces got every Wait that was asked."""
        return self.all_waits_share is None or self.all_waits_share >= HAPPENED_SHARE


def audit(scores: Sequence[ScoreRow], request: ComputeRequest) -> Audit:
    """Hold every trace against what was requested. Raises ConfigError for a request of no method."""
    method, budget, traces = method_of(request), request.budget, len(scores)

    def count(test: Callable[[ScoreRow], bool]) -> int:
        return sum(map(test, scores))

    return Audit(
        request=request,
        traces=traces,
        mean_thinking_tokens=sum(score.thinking_tokens for score in scores) / traces,
        max_thinking_tokens=max(score.thinking_tokens for score in scores),
        forced_share=count(lambda score: score.ending is Ending.FORCED) / traces,
        mean_waits=sum(score.waits for score in scores) / traces,
        all_waits_share=count(lambda score: score.waits >= budget.waits) / traces if budget.waits else None,
        no_answer_share=count(lambda score: score.outcome is Outcome.NONE) / traces,
        cut_by_cap=count(lambda score: score.answer_end is AnswerEnd.CAP),
        cut_by_context=count(lambda score: score.answer_end is AnswerEnd.CONTEXT),
        answers_cut_share=count(_is_cut) / traces,
        thinks_on_share=count(lambda score: score.thinks_on_tokens > 0) / traces,
        mean_thinks_on_tokens=sum(score.thinks_on_tokens for score in scores) / traces,
        accuracy_if_cut_were_right=count(lambda score: score.correct or _is_cut(score)) / traces,
        over_budget=count(lambda score: is_over(score, budget)),
        under_minimum=count(lambda score: is_under(score, budget)),
        problems=[*method.problems(request, scores), *_cut_by_cap(scores, request)],
        unmet=list(method.unmet(request, scores)),
    )


def label_as_measured(request: ComputeRequest, found: Audit) -> str:
    """A point in a few words that claim nothing that mostly did not happen: "Wait x3 asked, x1.0 happened"."""
    return method_of(request).label_as_measured(request, found)


def _is_cut(score: ScoreRow) -> bool:
    return score.answer_end in (AnswerEnd.CAP, AnswerEnd.CONTEXT)


def _cut_by_cap(scores: Sequence[ScoreRow], request: ComputeRequest) -> Iterator[str]:
    cut = [score for score in scores if score.answer_end is AnswerEnd.CAP]
    if len(cut) > max(CAPPED_ANSWERS, CAPPED_SHARE * len(scores)):
        yield (
            f"{len(cut)} of {len(scores)} answers were cut after budget.answer_tokens {request.budget.answer_tokens}"
            f" (first: question {cut[0].question_id}). Raise budget.answer_tokens, or set it to null."
        )
