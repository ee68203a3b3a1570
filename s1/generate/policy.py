"""Policies: how much to think, decided over token ids alone.

Plain           the model opens and closes its thinking itself; the text is divided at the delimiters afterwards.
BudgetForcing   paper, section 3.1, corrected:

    opening | thinking: sampled [+ continuation + sampled]* | newline rule + end marker | answer

- The cap bounds the whole thinking: all rounds and all continuation strings together. At the cap the end is forced,
  also when the model would have ended there by itself: the token that would tell is beyond the budget.
- An end that comes while waits remain, or below the minimum, is suppressed. The continuation string, cut to what the
  cap leaves, takes its place; with an empty one the model goes on and may not end at the first position.
- A question's cap depends on its own prompt and the context, never on other questions.
- The end of the turn also ends the thinking. The answer ends only where the dialect says so: a model that repeats its
  end marker after a forced end has not answered yet, and must not be cut there.

`BudgetForcing` reads its state off the trace: no delimiter yet, one (thinking), two (answering). Where the chat
template opens the thinking, the trace begins with that delimiter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from s1.config import Budget, Compat, ConfigError, Forcing
from s1.dialect import DialectIds, Ids
from s1.generate.move import Close, Force, Move, Policy, Sample
from s1.generate.policy_s1 import OriginalForcing
from s1.generate.trace import Origin, Part, Segment, Trace
from s1.records import Ending


def policy_of(budget: Budget, ids: DialectIds, continuation: tuple[int, ...], context_tokens: int) -> Policy:
    """The policy of a budget; `continuation` is `budget.continuation` as ids. Raises ConfigError."""
    if budget.forcing is Forcing.NONE:
        return Plain(ids, context_tokens)
    if budget.compat is Compat.CORRECTED:
        return BudgetForcing(budget, ids, continuation, context_tokens)
    if budget.min_thinking_tokens > 0:
        raise ConfigError(
            f"budget.min_thinking_tokens {budget.min_thinking_tokens}: compat=s1 counts ends, not tokens. Set it to 0."
        )
    return OriginalForcing(budget, ids, continuation, context_tokens)


@dataclass(frozen=True)
class Plain:
    """Generation without forcing, as far as the context allows."""

    ids: DialectIds
    context_tokens: int

    def next(self, trace: Trace) -> Move:
        room = self.context_tokens - trace.length
        if trace.segments_of(Part.ANSWER) or room <= 0:
            return self._close(trace)
        return Sample(room, self.ids.answer_stops, Part.ANSWER)

    def _close(self, trace: Trace) -> Close:
        """Divide what the model wrote at its delimiters; a template may have opened the thinking for it."""
        if not trace.segments_of(Part.ANSWER):
            return Close(trace, Ending.NONE)
        *opened, written = trace.segments
        opening = (0, 0) if opened else _find(written.ids, self.ids.written_starts, 0)
        if opening is None:
            return Close(trace, Ending.NONE)
        closing = _find(written.ids, self.ids.written_ends, opening[1])
        parts = [] if opened else [(Part.DELIMITER, 0, opening[1])]
        if closing is None:
            parts += [(Part.THINKING, opening[1], None)]
        else:
            parts += [(Part.THINKING, opening[1], closing[0])]
            parts += [(Part.DELIMITER, *closing), (Part.ANSWER, closing[1], None)]
        segments = [Segment(written.ids[start:end], part, Origin.SAMPLED) for part, start, end in parts]
        segments[-1] = replace(segments[-1], ended_by=written.ended_by)
        ending = Ending.NONE if closing is None else Ending.NATURAL
        return Close(replace(trace, segments=(*opened, *segments)), ending)


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


def _find(ids: Ids, spellings: tuple[Ids, ...], start: int) -> tuple[int, int] | None:
    """Where the first of the spellings at or after `start` begins and ends; of several at one place, the longest."""
    firsts = {spelling[0] for spelling in spellings}
    for begin in range(start, len(ids)):
        if ids[begin] not in firsts:
            continue
        lengths = [len(spelling) for spelling in spellings if ids[begin : begin + len(spelling)] == spelling]
        if lengths:
            return begin, begin + max(lengths)
    return None
