"""Budget forcing as in the original s1 code, to reproduce published numbers (`compat: s1`).

Source: simplescaling/s1 at 77272c6, the vLLM model of its lm-eval fork, `_model_generate`. It differs from our method:

- Every round gets the full cap again. Afterwards all rounds together are cut to the cap.
- A round that stops by length leaves the Wait loop. With waits, every round forbids the stop at its first position, and
  an empty continuation does nothing else.
- Thinking that ended naturally gets the end marker without newline and without "Final Answer:". Thinking that stopped
  by length gets the newline rule and the forced marker. The cut changes neither how the last round ended nor which text
  is checked for a newline, so a trace that is cut after its last round ended naturally gets the plain marker.
- The opening and the plain end marker have no newline; the model writes it.

`auto` was max_gen - LONGEST prompt of the batch - markers - 100. `auto_cap` computes it. Here `max_thinking_tokens:
null` uses it with the question's own prompt, so that no question depends on the others in its batch.
Thinking leaves 100 tokens of the context. An answer ends at the context, unless `answer_tokens` caps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from s1.config.schema import Budget, Compat, ComputeRequest, ConfigError, Forcing
from s1.generate.methods.forcing import BudgetForcingMethod, require_fit, room_to_answer
from s1.generate.trace import Close, Force, Keep, Move, Part, Policy, Sample, TokenOrigin, Trace
from s1.models.thinking_format import Ids, ThinkingFormatIds
from s1.records import Ending

ANSWER_RESERVE_TOKENS = 100


class OriginalForcingMethod(BudgetForcingMethod):
    """Same amounts as budget forcing but other rules, so a separate family."""

    name = "s1_original"
    warns = False

    def serves(self, request: ComputeRequest) -> bool:
        return request.budget.forcing is Forcing.BUDGET and request.budget.compat is Compat.S1

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        return {**super().family(request), "method": self.name}

    def check(self, request: ComputeRequest, context_tokens: int) -> None:
        budget = request.budget
        minimum, reserve = budget.min_thinking_tokens, budget.answer_reserve
        if minimum > 0:
            raise ConfigError(f"budget.min_thinking_tokens {minimum}: compat=s1 counts ends, not tokens. Set it to 0.")
        if reserve is not None:
            raise ConfigError(
                f"budget.answer_reserve {reserve}: compat=s1 always leaves {ANSWER_RESERVE_TOKENS} tokens. Set it to"
                " null."
            )
        require_fit(budget, ANSWER_RESERVE_TOKENS, context_tokens)

    def policy(self, request: ComputeRequest, ids: ThinkingFormatIds, continuation: Ids, context_tokens: int) -> Policy:
        self.check(request, context_tokens)
        return OriginalForcing(request.budget, ids, continuation, context_tokens)


METHOD = OriginalForcingMethod()


@dataclass(frozen=True)
class OriginalForcing:
    """Policy of the original code."""

    budget: Budget
    ids: ThinkingFormatIds
    continuation: tuple[int, ...]
    context_tokens: int

    def next(self, trace: Trace) -> Move:
        delimiters = len(trace.segments_of(Part.DELIMITER))
        if delimiters == 0:
            return Force(self._without_newline(self.ids.thinking_start), Part.DELIMITER)
        if delimiters == 1:
            return self._think(trace)
        return self._answer(trace)

    def cap(self, prompt_tokens: int) -> int:
        """Maximum thinking tokens of one round, and of all rounds after the cut."""
        if self.budget.max_thinking_tokens is not None:
            return self.budget.max_thinking_tokens
        return auto_cap(self.context_tokens, prompt_tokens, self.ids)

    def _think(self, trace: Trace) -> Move:
        last = trace.segments[-1]
        room = min(self.cap(len(trace.prompt_ids)), self.context_tokens - trace.length)
        if trace.dropped or room <= 0:
            return self._end_thinking(trace)
        if last.origin is TokenOrigin.SAMPLED:
            if last.ended_by is None or trace.waits >= self.budget.waits:
                return self._end_thinking(trace)
            if self.continuation:
                return Force(self.continuation, Part.THINKING)
        return Sample(room, self.ids.ends_of_thinking, Part.THINKING, forbid_stop_first=self.budget.waits > 0)

    def _end_thinking(self, trace: Trace) -> Move:
        cap = max(0, self.cap(len(trace.prompt_ids)))
        if trace.thinking_tokens > cap:
            return Keep(cap)
        if self._ended_naturally(trace):
            return Force(self._without_newline(self.ids.thinking_end), Part.DELIMITER)
        uncut = trace.dropped[-1].ids if trace.dropped else trace.ids
        return Force(self.ids.on_new_line(self.ids.forced_end, uncut[-1]), Part.DELIMITER)

    def _answer(self, trace: Trace) -> Move:
        room = room_to_answer(self.budget, trace, self.context_tokens)
        if trace.segments[-1].part is Part.ANSWER or room <= 0:
            return Close(trace, Ending.NATURAL if self._ended_naturally(trace) else Ending.FORCED)
        return Sample(room, self.ids.answer_stops, Part.ANSWER)

    def _ended_naturally(self, trace: Trace) -> bool:
        """Whether the last round sampled an end, even if the cut removed it from the trace."""
        rounds = trace.dropped or trace.segments_of(Part.THINKING)
        return bool(rounds) and rounds[-1].ended_by is not None

    def _without_newline(self, marker: tuple[int, ...]) -> tuple[int, ...]:
        newline = self.ids.newline
        return marker[: -len(newline)] if newline and marker[-len(newline) :] == newline else marker


def auto_cap(context_tokens: int, longest_prompt_tokens: int, ids: ThinkingFormatIds) -> int:
    """Thinking tokens that `max_tokens_thinking=auto` of the original allows (about 32,660 - longest prompt)."""
    markers = len(ids.thinking_start) + len(ids.forced_end)
    return context_tokens - longest_prompt_tokens - markers - ANSWER_RESERVE_TOKENS
