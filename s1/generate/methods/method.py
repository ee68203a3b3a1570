"""What a method of spending test-time compute says of itself, and the request that it serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

from s1.config.schema import Budget, ComputeRequest
from s1.generate.trace import Policy
from s1.models.thinking_format import Ids, ThinkingFormatIds
from s1.records import ScoreRow

if TYPE_CHECKING:
    from s1.generate.audit import Audit

Amount: TypeAlias = "tuple[float, ...]"


@dataclass(frozen=True)
class Bounds:
    """The range in which the mean thinking tokens of a point are asked to lie (Control; paper, section 3.2)."""

    lowest: int = 0
    highest: int | None = None  # None: none


class Method(Protocol):
    """One module of this folder each. Whoever subclasses it has to say only what has no body here."""

    name: str  # "forcing"

    def serves(self, request: ComputeRequest) -> bool:
        """Whether a request is of this method."""
        raise NotImplementedError

    def check(self, request: ComputeRequest, context_tokens: int) -> None:
        """Raises ConfigError for a request that no model of this context could honour."""

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        """What tells its series from others: all of the request but the amount. None: does not matter for this
        request, which then belongs to every series that agrees in the rest."""
        raise NotImplementedError

    def amount(self, request: ComputeRequest) -> Amount:
        """What points of one family vary in; ordered from the least thinking to the most."""
        raise NotImplementedError

    def label(self, request: ComputeRequest) -> str:
        """The amount in a few words, as it was asked: "max 16"."""
        raise NotImplementedError

    def label_as_measured(self, request: ComputeRequest, audit: Audit) -> str:
        """The label once the traces are there: it claims nothing that mostly did not happen."""
        return self.label(request)

    def bounds(self, request: ComputeRequest) -> Bounds | None:
        """The requested length; None: none is requested."""
        return None

    def policy(self, request: ComputeRequest, ids: ThinkingFormatIds, continuation: Ids, context_tokens: int) -> Policy:
        """How a trace is made. Raises ConfigError for a request that this model cannot honour."""
        raise NotImplementedError

    def problems(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        """The audit: what traces broke of the request, a sentence each; a point with one is invalid."""
        return iter(())

    def unmet(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        """What was asked and did not happen though no rule was broken, a sentence each; the point stays valid."""
        return iter(())

    def expected_thinking_tokens(self, request: ComputeRequest, natural_tokens: int) -> int:
        """Of one trace, for the estimate; `natural_tokens`: of one that is neither cut nor extended."""
        return natural_tokens


def extends(budget: Budget) -> bool:
    """Ends of thinking are held back."""
    return budget.waits > 0 or budget.min_thinking_tokens > 0


def normalised(budget: Budget) -> Budget:
    """Without a continuation string that is never appended: such budgets make the same answers, and share their key."""
    return budget if extends(budget) else replace(budget, continuation="")


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
