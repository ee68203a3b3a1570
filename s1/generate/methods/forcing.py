"""Budget forcing: cut the thinking at a maximum, or suppress its end (paper, section 3.1), corrected:

    opening | thinking: sampled [+ continuation + sampled]* | newline rule + end marker | answer

- The cap bounds the whole thinking: all rounds and all continuation strings together. At the cap the end is forced,
  also when the model would have ended there by itself: the token that would tell is beyond the budget.
- An end that comes while waits remain, or below the minimum, is suppressed. The continuation string, cut to what the
  cap leaves, takes its place; with an empty one the model goes on and may not end at the first position.
- A question's cap depends on its own prompt and the context, never on other questions.
- The end of the turn also ends the thinking. The answer ends only where the dialect says so: a model that repeats its
  end marker after a forced end has not answered yet, and must not be cut there.

The policy reads its state off the trace: no delimiter yet, one (thinking), two (answering). Where the chat template
opens the thinking, the trace begins with that delimiter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from s1.config import Budget, Compat, Forcing
from s1.dialect import DialectIds, Ids
from s1.generate.methods.method import Amount, Bounds, ComputeRequest, conditions
from s1.generate.move import Close, Force, Move, Policy, Sample
from s1.generate.trace import Part, Trace
from s1.records import Ending, Score


class BudgetForcingMethod:
    """Maximum, minimum and Waits are one family for each continuation string: one line, as in the paper's Figure 1."""

    name = "forcing"

    def serves(self, request: ComputeRequest) -> bool:
        return request.budget.forcing is Forcing.BUDGET and request.budget.compat is Compat.CORRECTED

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        budget = request.budget
        extends = budget.waits > 0 or budget.min_thinking_tokens > 0
        continuation = budget.continuation if extends else None
        return {"method": self.name, "continuation": continuation, **conditions(request)}

    def amount(self, request: ComputeRequest) -> Amount:
        budget = request.budget
        maximum = math.inf if budget.max_thinking_tokens is None else budget.max_thinking_tokens
        return (budget.waits, budget.min_thinking_tokens, maximum)

    def label(self, request: ComputeRequest) -> str:
        budget = request.budget
        parts = [f"{budget.continuation or 'suppressed end'} x{budget.waits}"] if budget.waits else []
        parts += [f"min {budget.min_thinking_tokens}"] if budget.min_thinking_tokens else []
        if budget.max_thinking_tokens is not None:
            parts.append(f"max {budget.max_thinking_tokens}")
        return ", ".join(parts) or "natural end"

    def bounds(self, request: ComputeRequest) -> Bounds | None:
        budget = request.budget
        if budget.max_thinking_tokens is None and not budget.min_thinking_tokens:
            return None
        return Bounds(budget.min_thinking_tokens, budget.max_thinking_tokens)

    def policy(self, request: ComputeRequest, ids: DialectIds, continuation: Ids, context_tokens: int) -> Policy:
        return BudgetForcing(request.budget, ids, continuation, context_tokens)

    def problems(self, request: ComputeRequest, scores: Sequence[Score]) -> Iterator[str]:
        return iter(())  # TODO

    def expected_thinking_tokens(self, request: ComputeRequest, natural_tokens: int) -> int:
        budget = request.budget
        wanted = max(natural_tokens * (1 + budget.waits), budget.min_thinking_tokens)
        return wanted if budget.max_thinking_tokens is None else min(wanted, budget.max_thinking_tokens)


METHOD = BudgetForcingMethod()


@dataclass(frozen=True)
class BudgetForcing:
    """Cut at a maximum, suppress early ends."""

    budget: Budget
    ids: DialectIds
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
        """Thinking tokens allowed after a prompt of this length: the budget, or less where the context is shorter."""
        room = max(0, self.context_tokens - prompt_tokens - self.ids.marker_tokens - self.budget.answer_tokens)
        maximum = self.budget.max_thinking_tokens
        return room if maximum is None else min(room, maximum)

    def _think(self, trace: Trace) -> Move:
        last = trace.segments[-1]
        room = min(self.cap(len(trace.prompt_ids)) - trace.thinking_tokens, self.context_tokens - trace.length)
        if room <= 0:
            return self._end_thinking(trace, self.ids.forced_end)
        if last.ended_by is None:
            return Sample(room, self.ids.ends_of_thinking, Part.THINKING)
        if not self._suppresses_end(trace):
            return self._end_thinking(trace, self.ids.thinking_end)
        if self.continuation:
            return Force(self.continuation[:room], Part.THINKING)
        return Sample(room, self.ids.ends_of_thinking, Part.THINKING, forbid_stop_first=True)

    def _suppresses_end(self, trace: Trace) -> bool:
        return trace.waits < self.budget.waits or trace.thinking_tokens < self.budget.min_thinking_tokens

    def _end_thinking(self, trace: Trace, marker: tuple[int, ...]) -> Force:
        return Force(self.ids.on_new_line(marker, trace.ids[-1]), Part.DELIMITER)

    def _answer(self, trace: Trace) -> Move:
        room = min(self.budget.answer_tokens, self.context_tokens - trace.length)
        if trace.segments[-1].part is Part.ANSWER or room <= 0:
            return Close(trace, self._ending(trace))
        return Sample(room, self.ids.answer_stops, Part.ANSWER)

    def _ending(self, trace: Trace) -> Ending:
        thinking = trace.segments_of(Part.THINKING)
        at_cap = trace.thinking_tokens >= self.cap(len(trace.prompt_ids))
        return Ending.FORCED if at_cap or not thinking or thinking[-1].ended_by is None else Ending.NATURAL
