"""Interface of a method that spends test-time compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from s1.config.reward import RewardForm
from s1.config.schema import Budget, ComputeRequest, Generate
from s1.generate.group import GroupPolicy
from s1.generate.trace import Close, Policy
from s1.models.thinking_format import Ids, ThinkingFormatIds
from s1.records import ScoreRow

if TYPE_CHECKING:
    from s1.generate.audit import Audit

Amount: TypeAlias = "tuple[float, ...]"


@dataclass(frozen=True)
class GroupContext:
    """What a group policy may use besides the request and the ids of the thinking format."""

    context_tokens: int
    continuation: Ids  # budget.continuation
    answer_text: Callable[[Close], str]  # the text of a closed branch that would be graded
    stops_of: Callable[[str, Sequence[str]], tuple[Ids, ...]]  # every tokenization of the texts of a field


@dataclass(frozen=True)
class Bounds:
    """Requested range of the mean thinking tokens of a point (Control; paper, section 3.2)."""

    lowest: int = 0
    highest: int | None = None  # None: no upper bound


class Method(Protocol):
    """A method of test-time compute, one module of this folder each: a TraceMethod or a GroupMethod.

    Subclasses must implement the members that raise NotImplementedError.
    """

    name: str  # "forcing"
    warns: bool = False  # whether its policy inserts the warning of a thinking format
    extends: bool = False  # whether the thinking of each amount of a family begins with that of the amount before

    def serves(self, request: ComputeRequest) -> bool:
        """Whether this method serves the request."""
        raise NotImplementedError

    def check(self, request: ComputeRequest, context_tokens: int) -> None:
        """Raise ConfigError for a request that no model with this context could fulfill."""

    def check_samples(self, request: ComputeRequest, generate: Generate) -> None:
        """Raise ConfigError if samples drawn like this cannot serve the request."""

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        """Identify the series of a request by everything but the amount.

        A value of None has no effect for this request, which then belongs to every series that agrees in the rest.
        """
        raise NotImplementedError

    def amount(self, request: ComputeRequest) -> Amount:
        """Sort key of points within a family, from the least thinking to the most."""
        raise NotImplementedError

    def label(self, request: ComputeRequest) -> str:
        """Short label of the requested amount: "max 16"."""
        raise NotImplementedError

    def label_as_measured(self, request: ComputeRequest, audit: Audit) -> str:
        """Label after the traces were audited; claims only what mostly happened."""
        return self.label(request)

    def bounds(self, request: ComputeRequest) -> Bounds | None:
        """Requested length; None if none was requested."""
        return None

    def effective_budget(self, request: ComputeRequest) -> Budget:
        """The budget that enters the key of the traces and that the policy receives.

        Clear fields without effect, so that requests for equal traces share a key.
        """
        return request.budget

    def reward_form(self, request: ComputeRequest) -> RewardForm | None:
        """The form of the reward model that the policy asks while it generates; None: it asks none."""
        return None

    def problems(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        """Audit: yield a sentence for each rule that traces broke. One makes the point invalid."""
        return iter(())

    def unmet(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        """Audit: yield a sentence for each unfulfilled request that broke no rule. The point stays valid."""
        return iter(())

    def expected_thinking_tokens(self, request: ComputeRequest, natural_tokens: int) -> int:
        """Expected thinking tokens of a trace, for cost estimates; `natural_tokens`: of an unforced trace."""
        return natural_tokens


@runtime_checkable
class TraceMethod(Method, Protocol):
    """A method that runs one trace for an answer."""

    def policy(self, request: ComputeRequest, ids: ThinkingFormatIds, continuation: Ids, context_tokens: int) -> Policy:
        """Build the policy that makes traces. Raises ConfigError for a request that this model cannot fulfill."""
        raise NotImplementedError


@runtime_checkable
class GroupMethod(Method, Protocol):
    """A method that runs several traces of a question for one answer (s1/generate/group.py)."""

    def group_policy(self, request: ComputeRequest, ids: ThinkingFormatIds, context: GroupContext) -> GroupPolicy:
        """Build the policy that makes groups. Raises ConfigError for a request that this model cannot fulfill."""
        raise NotImplementedError


def suppresses_ends(budget: Budget) -> bool:
    """Whether the budget suppresses ends of thinking."""
    return budget.waits > 0 or budget.min_thinking_tokens > 0


def conditions(request: ComputeRequest) -> dict[str, str | None]:
    """The fields of a family that are not an amount under any method."""
    budget = request.budget
    return {
        "instruction": request.instruction or "none",
        "answer_tokens": _in_words(budget.answer_tokens),
        "answer_reserve": _in_words(budget.answer_reserve),
    }


def _in_words(value: int | None) -> str:
    return "null" if value is None else str(value)
