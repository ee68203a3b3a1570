"""Budget forcing: cut the thinking at a maximum, or suppress its end (paper, section 3.1), corrected:

    opening | thinking: sampled [+ continuation + sampled]* | newline rule + end marker | answer

- The cap bounds the whole thinking: all rounds and all continuation strings together. At the cap the end is forced
  even if the model would have ended there: the token that would show this is beyond the budget.
- An end is suppressed while waits remain or the minimum is not reached. The continuation string, cut to what the cap
  leaves, replaces it; if the string is empty, the model continues and may not end at the first position.
- A thinking format may have a warning. It is inserted once, where the thinking has reached its share of the maximum
  and has not ended; it counts as thinking, and the cap may cut it. Without a maximum there is no warning.
- A question's cap depends on its own prompt and the context, never on other questions. It reserves tokens for the
  answer, which may use everything that the thinking left, unless `answer_tokens` caps it.
- The end of the turn also ends the thinking. The answer ends only at the thinking format's answer stops: a model that
  repeats its end marker after a forced end has not answered yet and must not be cut there.

The number of delimiters in the trace is the policy's state: none, one (thinking) or two (answering). If the chat
template opens the thinking, the trace starts with that delimiter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from s1.config.schema import Budget, Compat, ComputeRequest, ConfigError, Forcing
from s1.generate.methods.method import Amount, Bounds, TraceMethod, conditions, suppresses_ends
from s1.generate.trace import Close, Force, Move, Part, Policy, Sample, Trace
from s1.models.thinking_format import Ids, ThinkingFormatIds
from s1.records import Ending, ScoreRow

if TYPE_CHECKING:
    from s1.generate.audit import Audit

RESERVE_TOKENS = 1024  # answers of s1-class models have 600 to 800 tokens
RESERVE_OF_SMALL_CONTEXTS = 4  # contexts shorter than 4 reserves reserve one token in 4
HAPPENED_SHARE = 0.5  # smallest share of traces at which the median trace matches the label
NATURAL_END = "natural end"


class BudgetForcingMethod(TraceMethod):
    """Our budget forcing. Each continuation string is one family over maximum, minimum and Waits (paper, Figure 1)."""

    name = "forcing"
    warns = True
    extends = True

    def serves(self, request: ComputeRequest) -> bool:
        return request.budget.forcing is Forcing.BUDGET and request.budget.compat is Compat.CORRECTED

    def check(self, request: ComputeRequest, context_tokens: int) -> None:
        require_fit(request.budget, answer_reserve(request.budget, context_tokens), context_tokens)

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        continuation = request.budget.continuation if suppresses_ends(request.budget) else None
        return {"method": self.name, "continuation": continuation, **conditions(request)}

    def amount(self, request: ComputeRequest) -> Amount:
        budget = request.budget
        maximum = math.inf if budget.max_thinking_tokens is None else budget.max_thinking_tokens
        return (budget.waits, budget.min_thinking_tokens, maximum)

    def label(self, request: ComputeRequest) -> str:
        return _label(request.budget, "", "")

    def label_as_measured(self, request: ComputeRequest, audit: Audit) -> str:
        waits = "" if audit.waits_happened else f" asked, x{audit.mean_waits:.1f} happened"
        ended = "" if audit.forced_share <= HAPPENED_SHARE else " asked, mostly cut by the context"
        return _label(request.budget, waits, ended)

    def bounds(self, request: ComputeRequest) -> Bounds | None:
        budget = request.budget
        if budget.max_thinking_tokens is None and not budget.min_thinking_tokens:
            return None
        return Bounds(budget.min_thinking_tokens, budget.max_thinking_tokens)

    def effective_budget(self, request: ComputeRequest) -> Budget:
        """Without a continuation string that is never appended."""
        return request.budget if suppresses_ends(request.budget) else replace(request.budget, continuation="")

    def policy(self, request: ComputeRequest, ids: ThinkingFormatIds, continuation: Ids, context_tokens: int) -> Policy:
        return BudgetForcing(request.budget, ids, continuation, context_tokens)

    def problems(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        return _sentences(BROKEN, request.budget, scores)

    def unmet(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        yield from _missing_waits(request.budget, scores)
        yield from _sentences(UNMET, request.budget, scores)

    def expected_thinking_tokens(self, request: ComputeRequest, natural_tokens: int) -> int:
        budget = request.budget
        wanted = max(natural_tokens * (1 + budget.waits), budget.min_thinking_tokens)
        return wanted if budget.max_thinking_tokens is None else min(wanted, budget.max_thinking_tokens)


METHOD = BudgetForcingMethod()


# ------------------------------------------------------------------------------------------- room in the context


def answer_reserve(budget: Budget, context_tokens: int) -> int:
    """Tokens reserved for the answer: 1,024, or a quarter of a small context; at most the answer's cap."""
    reserve = budget.answer_reserve
    if reserve is None:
        reserve = min(RESERVE_TOKENS, context_tokens // RESERVE_OF_SMALL_CONTEXTS)
    return reserve if budget.answer_tokens is None else min(reserve, budget.answer_tokens)


def room_to_answer(budget: Budget, trace: Trace, context_tokens: int) -> int:
    """Maximum answer tokens of this trace: the rest of the context, or the explicit cap if lower."""
    left = context_tokens - trace.length
    return left if budget.answer_tokens is None else min(left, budget.answer_tokens)


def require_fit(budget: Budget, reserve_tokens: int, context_tokens: int) -> None:
    """Raise ConfigError unless lengths agree and fit the context. Prompt lengths are not known at this time."""
    maximum, minimum = budget.max_thinking_tokens, budget.min_thinking_tokens
    if maximum is not None and minimum > maximum:
        raise ConfigError(
            f"budget.min_thinking_tokens {minimum}: above max_thinking_tokens {maximum}. Lower one or raise the other."
        )
    if reserve_tokens >= context_tokens:
        raise ConfigError(
            f"budget.answer_reserve {reserve_tokens}: leaves no tokens for thinking in a context of {context_tokens}."
            " Lower it, or set it to null."
        )
    other = "" if budget.compat is Compat.S1 else " or budget.answer_reserve"
    # A smaller max_thinking_tokens cuts the waits, which is the experiment; only the context makes them impossible.
    if budget.waits > (room := context_tokens - reserve_tokens):
        raise ConfigError(
            f"budget.waits {budget.waits}: each takes at least one token, but a context of {context_tokens} leaves"
            f" {room} for thinking. Lower it."
        )
    for field, value in (("max_thinking_tokens", maximum or 0), ("min_thinking_tokens", minimum)):
        if value and value + reserve_tokens >= context_tokens:
            raise ConfigError(
                f"budget.{field} {value}: with {reserve_tokens} tokens reserved for the answer it does not fit the"
                f" context of {context_tokens}. Lower it{other}, or choose a model with a longer context."
            )


# ------------------------------------------------------------------------------------------------ label and audit


def _label(budget: Budget, after_waits: str, after_end: str) -> str:
    continuation = budget.continuation.replace("\n", "\\n").replace("\t", "\\t")  # a label stays on one line
    parts = [f"{continuation or 'suppressed end'} x{budget.waits}{after_waits}"] if budget.waits else []
    parts += [f"min {budget.min_thinking_tokens}"] if budget.min_thinking_tokens else []
    if budget.max_thinking_tokens is not None:
        parts.append(f"max {budget.max_thinking_tokens}")
    return ", ".join(parts) or f"{NATURAL_END}{after_end}"


def is_over(score: ScoreRow, budget: Budget) -> bool:
    """Whether thinking is longer than the maximum."""
    return budget.max_thinking_tokens is not None and score.thinking_tokens > budget.max_thinking_tokens


def is_under(score: ScoreRow, budget: Budget) -> bool:
    """Whether thinking is shorter than the minimum although nothing cut it."""
    return not _is_capped(score, budget) and score.thinking_tokens < budget.min_thinking_tokens


def _is_capped(score: ScoreRow, budget: Budget) -> bool:
    # The original code can cut a trace and still call its end natural, so compare the length as well.
    return score.ending is Ending.FORCED or score.thinking_tokens == budget.max_thinking_tokens


def _lacks_waits(score: ScoreRow, budget: Budget) -> bool:
    return not _is_capped(score, budget) and score.waits < budget.waits


def _has_surplus_waits(score: ScoreRow, budget: Budget) -> bool:
    # A minimum also suppresses ends, so the number of Waits is a limit only without a minimum.
    return budget.min_thinking_tokens == 0 and score.waits > budget.waits


def _has_no_thinking(score: ScoreRow, budget: Budget) -> bool:
    is_forcing = suppresses_ends(budget) or budget.max_thinking_tokens is not None
    return is_forcing and score.ending is Ending.NONE


def _was_not_asked(score: ScoreRow, budget: Budget) -> bool:
    return score.ending is Ending.FORCED and score.answer_tokens is None


def _is_cut_by_context(score: ScoreRow, budget: Budget) -> bool:
    return score.ending is Ending.FORCED and score.thinking_tokens != budget.max_thinking_tokens


def _is_cut_below_minimum(score: ScoreRow, budget: Budget) -> bool:
    return _is_cut_by_context(score, budget) and score.thinking_tokens < budget.min_thinking_tokens


def _is_cut_below_maximum(score: ScoreRow, budget: Budget) -> bool:
    return _is_cut_by_context(score, budget) and budget.max_thinking_tokens is not None


def _does_not_end(score: ScoreRow, budget: Budget) -> bool:
    return _is_cut_by_context(score, budget) and budget.max_thinking_tokens is None


Rules: TypeAlias = "tuple[tuple[Callable[[ScoreRow, Budget], bool], str], ...]"

BROKEN: Rules = (
    (is_over, "think longer than {budget.max_thinking_tokens} tokens"),
    (is_under, "ended uncut before {budget.min_thinking_tokens} thinking tokens"),
    (_lacks_waits, "ended uncut with fewer than {budget.waits} ends suppressed"),
    (_has_surplus_waits, "had more than {budget.waits} ends suppressed"),
    (_has_no_thinking, "have no thinking section to force"),
    (_was_not_asked, "were cut and never asked for an answer"),
)
UNMET: Rules = (
    (
        _is_cut_below_minimum,
        "were cut by the context before the minimum of {budget.min_thinking_tokens} thinking tokens",
    ),
    (
        _is_cut_below_maximum,
        "were cut by the context before the maximum of {budget.max_thinking_tokens} thinking tokens",
    ),
    (_does_not_end, "did not end by themselves: the context cut their thinking"),
)


def _sentences(rules: Rules, budget: Budget, scores: Sequence[ScoreRow]) -> Iterator[str]:
    for is_so, what in rules:
        those = [score for score in scores if is_so(score, budget)]
        if those:
            first = those[0].question_id
            yield f"{len(those)} of {len(scores)} traces {what.format(budget=budget)} (first: question {first})."


def _missing_waits(budget: Budget, scores: Sequence[ScoreRow]) -> Iterator[str]:
    """Report traces cut before all their Waits: they broke no rule, but do not match the request."""
    missing = [score for score in scores if score.waits < budget.waits and _is_capped(score, budget)]
    if not missing:
        return
    by_context = sum(_is_cut_by_context(score, budget) for score in missing)
    causes = {"the maximum": len(missing) - by_context, "the context": by_context}
    cause = " or ".join(name for name, count in causes.items() if count)
    mean = sum(score.waits for score in scores) / len(scores)
    yield (
        f"{_label(replace(budget, min_thinking_tokens=0, max_thinking_tokens=None), '', '')} was asked, and x{mean:.1f}"
        f" happened on average: in {len(missing)} of {len(scores)} traces {cause} ended the thinking before."
    )


# ------------------------------------------------------------------------------------------------------- the policy


@dataclass(frozen=True)
class BudgetForcing:
    """Policy that cuts thinking at a maximum and suppresses early ends."""

    budget: Budget
    ids: ThinkingFormatIds
    continuation: tuple[int, ...]
    context_tokens: int

    def next(self, trace: Trace) -> Move:
        delimiters = len(trace.segments_of(Part.DELIMITER))
        if delimiters == 0:
            return Force(self.ids.thinking_start, Part.DELIMITER)
        if delimiters == 1:
            return self._think(trace)
        return self._answer(trace)

    def cap(self, prompt_tokens: int) -> int:
        """Maximum thinking tokens after a prompt of this length: the budget, or less if the context is short."""
        reserve = answer_reserve(self.budget, self.context_tokens)
        room = max(0, self.context_tokens - prompt_tokens - self.ids.marker_tokens - reserve)
        maximum = self.budget.max_thinking_tokens
        return room if maximum is None else min(room, maximum)

    def _think(self, trace: Trace) -> Move:
        last = trace.segments[-1]
        room = min(self.cap(len(trace.prompt_ids)) - trace.thinking_tokens, self.context_tokens - trace.length)
        if room <= 0:
            return self._end_thinking(trace, self.ids.forced_end)
        unwarned = self._room_before_warning(trace)
        if last.ended_by is None and unwarned is not None and unwarned <= 0:
            return Force(self.ids.warning[:room], Part.THINKING)
        # An end must not be sampled at the first position below, so one token precedes a warning that is due.
        sampled = room if unwarned is None else min(room, max(1, unwarned))
        if last.ended_by is None:
            return Sample(sampled, self.ids.ends_of_thinking, Part.THINKING)
        if not self._suppresses_end(trace):
            return self._end_thinking(trace, self.ids.thinking_end)
        if self.continuation:
            return Force(self.continuation[:room], Part.THINKING)
        return Sample(sampled, self.ids.ends_of_thinking, Part.THINKING, forbid_stop_first=True)

    def _room_before_warning(self, trace: Trace) -> int | None:
        """Thinking tokens until the warning is due; None if there is none, or it was inserted."""
        maximum = self.budget.max_thinking_tokens
        if not self.ids.warning or maximum is None or trace.is_warned:
            return None
        return max(1, math.floor(self.ids.warning_share * maximum)) - trace.thinking_tokens

    def _suppresses_end(self, trace: Trace) -> bool:
        return trace.waits < self.budget.waits or trace.thinking_tokens < self.budget.min_thinking_tokens

    def _end_thinking(self, trace: Trace, marker: tuple[int, ...]) -> Force:
        return Force(self.ids.on_new_line(marker, trace.ids[-1]), Part.DELIMITER)

    def _answer(self, trace: Trace) -> Move:
        room = room_to_answer(self.budget, trace, self.context_tokens)
        if trace.segments[-1].part is Part.ANSWER or room <= 0:
            return Close(trace, self._ending(trace))
        return Sample(room, self.ids.answer_stops, Part.ANSWER)

    def _ending(self, trace: Trace) -> Ending:
        thinking = trace.segments_of(Part.THINKING)
        at_cap = trace.thinking_tokens >= self.cap(len(trace.prompt_ids))
        return Ending.FORCED if at_cap or not thinking or thinking[-1].ended_by is None else Ending.NATURAL
