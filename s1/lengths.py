"""Expected tokens of a point from lengths that were measured, or from one published natural length. Pure.

natural length   thinking tokens of a trace up to the first end that the model chose
with w Waits     natural + (all - natural) x w / W, where a measured trace had W Waits and `all` thinking tokens;
                 natural x (1 + w) where only a natural length is known
at a budget      the shorter of that length and the budget, for each trace; never above what the context leaves

Interval: a t interval over questions (Student 1908) of the tokens per question, with the correction for a sample drawn
without replacement from a finite set, under greedy decoding, where a question has one length: the variance is that of
one question times |1/n - 1/N| for n measured and N planned questions, whichever are more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from s1.config.schema import ComputeRequest, Forcing
from s1.generate.methods.registry import method_of

# 97.5% quantiles of Student's t by degrees of freedom; between two of them, the larger value holds.
T_QUANTILES = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228}
T_QUANTILES |= {12: 2.179, 14: 2.145, 16: 2.12, 19: 2.093, 24: 2.064, 29: 2.045, 39: 2.023, 59: 2.001, 119: 1.98}
T_LIMIT = 1.96


@dataclass(frozen=True)
class TraceLength:
    """Tokens of one measured trace."""

    natural_tokens: int  # thinking up to its first end
    thinking_tokens: int  # all of it
    answer_tokens: int


@dataclass(frozen=True)
class Lengths:
    """Measured traces of one model on one task."""

    questions: Sequence[Sequence[TraceLength]]  # traces by question
    waits: int  # Waits of each trace
    budget_tokens: int | None  # longest thinking that they could have; None: no limit but the context
    answer_cap: int | None = None  # longest answer that they could have; None: no limit but the context

    def reaches(self, request: ComputeRequest) -> bool:
        """Whether these lengths say what this request takes: no Wait, no budget, no answer beyond those measured."""
        budget = request.budget
        if budget.waits > self.waits or not self._has_answers(budget.answer_tokens):
            return False
        if self.budget_tokens is None:
            return True
        return budget.max_thinking_tokens is not None and budget.max_thinking_tokens <= self.budget_tokens

    def _has_answers(self, cap: int | None) -> bool:
        """Whether answers under another cap are known: a longer one is, if none of these was cut."""
        if self.answer_cap is None or (cap is not None and cap <= self.answer_cap):
            return True
        return all(each.answer_tokens < self.answer_cap for traces in self.questions for each in traces)


@dataclass(frozen=True)
class TokensOfQuestion:
    """Mean tokens of one trace of a question."""

    thinking: float
    answer: float


def thinking_tokens(request: ComputeRequest, unforced: float, context_tokens: int) -> int:
    """Thinking tokens of a request whose trace would have `unforced` tokens, its Waits included."""
    room = max(1, context_tokens - (request.budget.answer_tokens or 0))
    plain = replace(request, budget=replace(request.budget, waits=0))
    found = method_of(request).expected_thinking_tokens(plain, max(1, round(min(unforced, room))))
    return min(found, room) if request.budget.forcing in (Forcing.BUDGET, Forcing.NONE) else found


def of_published(request: ComputeRequest, natural_tokens: int, context_tokens: int) -> int:
    """Thinking tokens where only a natural length is known: every Wait adds as much again, up to the context."""
    return thinking_tokens(request, natural_tokens * (1 + request.budget.waits), context_tokens)


def of_measured(request: ComputeRequest, lengths: Lengths, context_tokens: int) -> list[TokensOfQuestion]:
    """Tokens of each measured question under a request that the lengths reach."""
    share = request.budget.waits / lengths.waits if lengths.waits else 0.0
    cap = request.budget.answer_tokens
    found: list[TokensOfQuestion] = []
    for traces in lengths.questions:
        unforced = [each.natural_tokens + (each.thinking_tokens - each.natural_tokens) * share for each in traces]
        thinking = [thinking_tokens(request, each, context_tokens) for each in unforced]
        answer = [each.answer_tokens if cap is None else min(cap, each.answer_tokens) for each in traces]
        found.append(TokensOfQuestion(sum(thinking) / len(traces), sum(answer) / len(traces)))
    return found


@dataclass(frozen=True)
class Spread:
    """Relative ends of a 95% interval: the truth lies between `low` and `high` times the estimate."""

    low: float
    high: float


def spread(per_question: Sequence[float], questions: int, is_finite: bool, most: float) -> Spread:
    """The t interval of a total over `questions`, of which these were measured.

    `most`: the most tokens that a question can have. A single question says no more than that.
    """
    n = len(per_question)
    mean = sum(per_question) / n
    if mean == 0 or (is_finite and n == questions):
        return Spread(1.0, 1.0)
    highest = max(1.0, most / mean)
    if n < 2:
        return Spread(0.0, highest)
    variance = sum((each - mean) ** 2 for each in per_question) / (n - 1)
    share = abs(1 / n - 1 / questions) if is_finite else 1 / n  # of questions that are part of the others
    half = t_quantile(n - 1) * math.sqrt(variance * share) / mean
    return Spread(max(0.0, 1 - half), min(highest, 1 + half))


def t_quantile(degrees: int) -> float:
    """The 97.5% quantile of Student's t, rounded up to the next row of the table."""
    below = [each for each in T_QUANTILES if each <= degrees]
    return T_QUANTILES[max(below)] if degrees < 1000 else T_LIMIT
