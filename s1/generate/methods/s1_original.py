"""Budget forcing as the original code does it, so that published numbers can be chased (`compat: s1`).

Source: simplescaling/s1 at 77272c6, the vLLM model of its lm-eval fork, `_model_generate`. Where it departs from ours:

- Every round gets the full cap again. Afterwards all rounds together are cut to the cap.
- A round that stops by length leaves the Wait loop. With waits, every round forbids the stop at its first position, and
  an empty continuation does no more than that.
- Ended by itself: the end marker without newline and without "Final Answer:". Stopped by length: the newline rule and
  the forced marker. The cut changes neither how the last round ended nor the text whose newline is looked for, so a
  trace that was cut after its last round had ended by itself gets the plain marker.
- The opening and the plain end marker bear no newline; the model writes it.

`auto` was max_gen - LONGEST prompt of the batch - markers - 100: `auto_cap` is that number, and with a question's own
prompt it is what `max_thinking_tokens: null` means here, so that no question depends on its mates.
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
    """The same amounts under other rules: a family of its own."""

    name = "s1_original"

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
        """Thinking tokens of one round, and of all rounds after the cut."""
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
        if self._ended_by_itself(trace):
            return Force(self._without_newline(self.ids.thinking_end), Part.DELIMITER)
        uncut = trace.dropped[-1].ids if trace.dropped else trace.ids
        return Force(self.ids.on_new_line(self.ids.forced_end, uncut[-1]), Part.DELIMITER)

    def _answer(self, trace: Trace) -> Move:
        room = room_to_answer(self.budget, trace, self.context_tokens)
        if trace.segments[-1].part is Part.ANSWER or room <= 0:
            return Close(trace, Ending.NATURAL if self._ended_by_itself(trace) else Ending.FORCED)
        return Sample(room, self.ids.answer_stops, Part.ANSWER)

    def _ended_by_itself(self, trace: Trace) -> bool:
        """The last round stopped, whether or not the cut has left it in the trace."""
        rounds = trace.dropped or trace.segments_of(Part.THINKING)
        return bool(rounds) and rounds[-1].ended_by is not None

    def _without_newline(self, marker: tuple[int, ...]) -> tuple[int, ...]:
        newline = self.ids.newline
        return marker[: -len(newline)] if newline and marker[-len(newline) :] == newline else marker


def auto_cap(context_tokens: int, longest_prompt_tokens: int, ids: ThinkingFormatIds) -> int:
    """Thinking tokens that the original's `max_tokens_thinking=auto` allows a batch (about 32,660 - longest prompt)."""
    markers = len(ids.thinking_start) + len(ids.forced_end)
    return context_tokens - longest_prompt_tokens - markers - ANSWER_RESERVE_TOKENS
