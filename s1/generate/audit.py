"""The audit: check that every trace of a point got the requested compute, and that its answers are complete.

An average hides a trace that exceeded its budget, and a budget that the engine silently ignored looks like a finding.
So the audit checks every trace. If one breaks a rule, the point is invalid, and the audit gives the reason. The rules
of a method are in its file (s1/generate/methods); these rules hold for every method:

- If budget.answer_tokens cut more than 1% of the answers (and more than one), the point is invalid. Such a cap hits
  only long answers, and so distorts the curve where thinking ends naturally.
- Answers cut by the end of the context are kept, because that is the model's own limit. `accuracy_if_cut_were_right`
  bounds their effect.
- Requests that were not fulfilled although no rule was broken are in `unmet`, such as Waits that did not fit into the
  context. If fewer than half of the traces got all their Waits (`waits_happened`), the label as measured does not claim
  them, because the typical trace does not match it. The point stays valid: its thinking tokens are measured correctly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from s1.config.schema import ComputeRequest
from s1.generate.methods.forcing import HAPPENED_SHARE, is_over, is_under
from s1.generate.methods.registry import method_of
from s1.records import AnswerEnd, Ending, Outcome, ScoreRow

CAPPED_SHARE = 0.01  # share of answers that budget.answer_tokens may cut
CAPPED_ANSWERS = 1  # number that it may always cut


@dataclass(frozen=True)
class Audit:
    """Counts and shares over all traces of a point, which is valid if `problems` is empty."""

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
    answers_cut_share: float  # by cap or context
    thinks_on_share: float  # traces whose answer reopens the thinking
    mean_thinks_on_tokens: float  # over all traces
    accuracy_if_cut_were_right: float  # counts every cut answer as right
    over_budget: int  # traces, must be 0
    under_minimum: int  # uncapped traces that ended below the minimum, must be 0
    problems: list[str]
    unmet: list[str]  # reported, but the point stays valid
    mean_branches: float | None = None  # traces that were run for an answer, such as tries; None: one each

    @property
    def valid(self) -> bool:
        return not self.problems

    @property
    def waits_happened(self) -> bool:
        """Whether at least half of the traces got every requested Wait."""
        return self.all_waits_share is None or self.all_waits_share >= HAPPENED_SHARE


def audit(scores: Sequence[ScoreRow], request: ComputeRequest) -> Audit:
    """Check every trace against the request. Raises ConfigError if no method serves the request."""
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
        mean_branches=_mean_branches(scores),
    )


def label_as_measured(request: ComputeRequest, found: Audit) -> str:
    """Short label of a point that claims only what mostly happened: "Wait x3 asked, x1.0 happened"."""
    return method_of(request).label_as_measured(request, found)


def _mean_branches(scores: Sequence[ScoreRow]) -> float | None:
    counts = [score.branches for score in scores if score.branches is not None]
    return sum(counts) / len(counts) if counts else None


def _is_cut(score: ScoreRow) -> bool:
    return score.answer_end in (AnswerEnd.CAP, AnswerEnd.CONTEXT)


def _cut_by_cap(scores: Sequence[ScoreRow], request: ComputeRequest) -> Iterator[str]:
    cut = [score for score in scores if score.answer_end is AnswerEnd.CAP]
    if len(cut) > max(CAPPED_ANSWERS, CAPPED_SHARE * len(scores)):
        yield (
            f"{len(cut)} of {len(scores)} answers were cut after budget.answer_tokens {request.budget.answer_tokens}"
            f" (first: question {cut[0].question_id}). Raise budget.answer_tokens, or set it to null."
        )
