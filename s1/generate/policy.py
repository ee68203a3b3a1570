"""The policy of a budget."""

from __future__ import annotations

from s1.config import Budget
from s1.dialect import DialectIds
from s1.generate.methods.method import ComputeRequest
from s1.generate.methods.registry import method_of
from s1.generate.move import Policy


def policy_of(budget: Budget, ids: DialectIds, continuation: tuple[int, ...], context_tokens: int) -> Policy:
    """`continuation` is `budget.continuation` as ids. Raises ConfigError."""
    request = ComputeRequest(budget)
    return method_of(request).policy(request, ids, continuation, context_tokens)
