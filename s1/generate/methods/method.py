"""What a method of spending test-time compute says of itself, and the request that it serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from s1.config import Budget
from s1.dialect import DialectIds, Ids
from s1.generate.move import Policy
from s1.records import Score

Amount: TypeAlias = "tuple[float, ...]"


@dataclass(frozen=True)
class ComputeRequest:
    """What a point asks of test-time compute: what is done to the thinking, and what the prompt says of it."""

    budget: Budget
    instruction: str | None = None  # in the prompt: "Think for up to 1024 tokens."


@dataclass(frozen=True)
class Bounds:
    """The range in which the mean thinking tokens of a point are asked to lie (Control; paper, section 3.2)."""

    lowest: int = 0
    highest: int | None = None  # None: none


class Method(Protocol):
    name: str  # "forcing"

    def serves(self, request: ComputeRequest) -> bool:
        """Whether a request is of this method."""

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        """What tells its series from others: all of the request but the amount. None: does not matter for this
        request, which then belongs to every series that agrees in the rest."""

    def amount(self, request: ComputeRequest) -> Amount:
        """What points of one family vary in; ordered from the least thinking to the most."""

    def label(self, request: ComputeRequest) -> str:
        """The amount in a few words: "max 16"."""

    def bounds(self, request: ComputeRequest) -> Bounds | None:
        """The requested length; None: none is requested."""

    def policy(self, request: ComputeRequest, ids: DialectIds, continuation: Ids, context_tokens: int) -> Policy:
        """How a trace is made. Raises ConfigError for a request that this model cannot honour."""

    def problems(self, request: ComputeRequest, scores: Sequence[Score]) -> Iterator[str]:
        """The audit: what traces broke of the request, a sentence each; a point with one is invalid."""

    def expected_thinking_tokens(self, request: ComputeRequest, natural_tokens: int) -> int:
        """Of one trace, for the estimate; `natural_tokens`: of one that is neither cut nor extended."""


def conditions(request: ComputeRequest) -> dict[str, str | None]:
    """Of a family: what is no amount under any method, by name and in words."""
    budget = request.budget
    return {
        "instruction": request.instruction or "none",
        "answer_tokens": _in_words(budget.answer_tokens),
        "answer_reserve": _in_words(budget.answer_reserve),
    }


def _in_words(value: int | None) -> str:
    return "null" if value is None else str(value)
