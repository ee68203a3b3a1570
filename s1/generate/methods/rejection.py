"""Rejection by length: sample until the thinking ends by itself within a limit (paper, section 5.2 and Figure 6).

    try t of sample s  =  ordinary sample number t * generate.samples + s

- A try is accepted if its thinking ends by itself within `max_thinking_tokens`, or less if the context leaves less. A
  try that goes on is cut there: after the limit plus the tokens of the longest spelling of the end, mostly one.
- The tries are the samples of an ordinary scan with as many samples, token by token. So a stored scan serves the first
  tries, and all limits share theirs. Tries of one answer run one after the other, so none is sampled in vain; the
  answers of all questions and limits run together.
- If none of `tries` is accepted, the question has no answer and counts as wrong: nothing else takes its place. Its row
  has the thinking of the last try up to the limit.

The original code repeats without a bound, and counts the end as a token: its limit L accepts what our L - 1 does.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from s1.config.schema import Budget, Compat, ComputeRequest, ConfigError, Forcing, Generate
from s1.generate.group import Branch, CloseGroup, Group, GroupMove, Run
from s1.generate.methods.forcing import BudgetForcing, answer_reserve, is_over, require_fit
from s1.generate.methods.method import Amount, Bounds, GroupContext, GroupMethod, conditions
from s1.generate.trace import Close, Keep, Move, Part, Sample, Trace
from s1.models.thinking_format import ThinkingFormatIds
from s1.records import Ending, ScoreRow

# Figure 6: mean tries by the ratio of the limit to the natural length, which was about 5,300 tokens.
PAPER_TRIES = ((0.66, 655), (0.75, 97), (0.94, 8), (1.13, 3), (1.51, 2), (3.02, 1))


class Rejection(GroupMethod):
    """One family over limits; another bound on the tries is another family."""

    name = "rejection"

    def serves(self, request: ComputeRequest) -> bool:
        return request.budget.forcing is Forcing.REJECTION

    def check(self, request: ComputeRequest, context_tokens: int) -> None:
        budget = request.budget
        for field, example in (("max_thinking_tokens", 4000), ("tries", 64)):
            if getattr(budget, field) is None:
                raise ConfigError(f"budget.{field} null: budget=rejection needs one. Give a number, such as {example}.")
        for field in ("min_thinking_tokens", "waits"):
            if value := getattr(budget, field):
                raise ConfigError(f"budget.{field} {value}: budget=rejection suppresses no end. Set it to 0.")
        if budget.compat is not Compat.CORRECTED:
            raise ConfigError("budget.compat s1: has no effect on budget=rejection. Set budget.compat=corrected.")
        require_fit(budget, answer_reserve(budget, context_tokens), context_tokens)

    def check_samples(self, request: ComputeRequest, generate: Generate) -> None:
        if generate.temperature == 0:
            raise ConfigError(
                "generate.temperature 0: with greedy decoding all tries of budget=rejection are equal. Choose"
                " generate=sampled."
            )

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        return {"method": self.name, "tries": str(request.budget.tries), **conditions(request)}

    def amount(self, request: ComputeRequest) -> Amount:
        return (_limit(request.budget),)

    def label(self, request: ComputeRequest) -> str:
        return f"reject > {_limit(request.budget)}"

    def bounds(self, request: ComputeRequest) -> Bounds | None:
        return Bounds(0, _limit(request.budget))

    def effective_budget(self, request: ComputeRequest) -> Budget:
        return replace(request.budget, continuation="")

    def group_policy(self, request: ComputeRequest, ids: ThinkingFormatIds, context: GroupContext) -> UntilAccepted:
        self.check(request, context.context_tokens)
        return UntilAccepted(OneTry(request.budget, ids, (), context.context_tokens), request.budget.tries or 1)

    def problems(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        limit = _limit(request.budget)
        rules = (
            ([each for each in scores if is_over(each, request.budget)], f"think longer than {limit} tokens"),
            ([each for each in scores if not 1 <= (each.branches or 0) <= _tries(request)], "have no number of tries"),
            ([each for each in scores if each.ending is Ending.FORCED], "were forced to end, and should be rejected"),
        )
        for those, what in rules:
            if those:
                yield f"{len(those)} of {len(scores)} answers {what} (first: question {those[0].question_id})."

    def unmet(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        tried = sum(each.branches or 0 for each in scores)
        accepted = sum(map(is_accepted, scores))
        if tried <= accepted:
            return
        yield (
            f"{tried - accepted} of {tried} tries ({(tried - accepted) / tried:.1%}) were rejected, because their"
            f" thinking did not end within {_limit(request.budget)} tokens: {tried / len(scores):.1f} tries per answer."
        )
        if unanswered := [each for each in scores if not is_accepted(each)]:
            right = sum(each.correct for each in scores if is_accepted(each))
            others = f" Of the other {accepted}, {right / accepted:.1%} are right." if accepted else ""
            yield (
                f"{len(unanswered)} of {len(scores)} answers: none of {_tries(request)} tries was accepted, so they"
                f" count as wrong (first: question {unanswered[0].question_id}).{others}"
            )

    def expected_thinking_tokens(self, request: ComputeRequest, natural_tokens: int) -> int:
        limit = _limit(request.budget)
        tries = min(expected_tries(limit / natural_tokens), _tries(request))
        return round((tries - 1) * (limit + 1)) + min(natural_tokens, limit)


METHOD = Rejection()


def is_accepted(score: ScoreRow) -> bool:
    """Whether a try of this answer was accepted."""
    return score.ending is Ending.NATURAL


def expected_tries(ratio: float) -> float:
    """Mean tries per answer at a limit of `ratio` times the natural length, from the paper's Figure 6.

    Interpolated between logarithms, and extended below the lowest ratio by the last slope.
    """
    logs = [(math.log(at), math.log(tries)) for at, tries in PAPER_TRIES]
    place = min(max(1, bisect_left([at for at, _ in logs], math.log(ratio))), len(logs) - 1)
    (low, more), (high, fewer) = logs[place - 1], logs[place]
    log_tries = more + (math.log(ratio) - low) / (high - low) * (fewer - more)
    return math.exp(min(max(log_tries, 0.0), math.log(10**9)))


def _limit(budget: Budget) -> int:
    assert budget.max_thinking_tokens is not None, "`check` accepted this budget"
    return budget.max_thinking_tokens


def _tries(request: ComputeRequest) -> int:
    assert request.budget.tries is not None, "`check` accepted this budget"
    return request.budget.tries


# ----------------------------------------------------------------------------------------------------- the policies


@dataclass(frozen=True)
class UntilAccepted:
    """Policy of a group: one try after the other, up to the first that is accepted."""

    one_try: OneTry
    tries: int

    def next(self, group: Group) -> GroupMove:
        tried = group.closed
        if tried and (tried[-1].close.ending is Ending.NATURAL or len(tried) >= self.tries):
            return CloseGroup(tried[-1].close)
        number = len(tried) * group.samples + group.sample
        return Run((Branch(group.start, self.one_try, (number,)),))


@dataclass(frozen=True)
class OneTry(BudgetForcing):
    """Policy of one try: thinks and answers as an ordinary sample does, or closes without an answer."""

    def _think(self, trace: Trace) -> Move:
        thinking = trace.segments_of(Part.THINKING)
        limit = max(0, self.cap(len(trace.prompt_ids)))
        if thinking or limit == 0:
            return self._judge(trace, limit)
        # The thinking may end with any spelling of its end, which begins within the limit.
        longest = max(map(len, self.ids.ends_of_thinking))
        room = min(limit + longest, self.context_tokens - trace.length)
        return Sample(room, self.ids.ends_of_thinking, Part.THINKING)

    def _judge(self, trace: Trace, limit: int) -> Move:
        thinking = trace.segments_of(Part.THINKING)
        if trace.thinking_tokens > limit:
            return Keep(limit)
        if trace.dropped or not thinking or thinking[-1].ended_by is None:
            return Close(trace, Ending.NONE)
        return self._end_thinking(trace, self.ids.thinking_end)

    def _ending(self, trace: Trace) -> Ending:
        return Ending.NATURAL
