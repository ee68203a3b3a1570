"""Registry of methods of test-time compute: every module of this folder that defines one of these constants.

    METHOD        serves a request by itself
    WRAPPER       serves a request on top of the method that serves the rest of it; is tried before all methods
    AGGREGATOR    makes one answer of several samples that any of these made; is tried before all others

To add a method, write a file here whose METHOD implements `serves`, a yaml in conf/budget, and a test.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from s1.config.reward import RewardForm
from s1.config.schema import Aggregation, Budget, ComputeRequest, ConfigError, Generate
from s1.generate import methods as package
from s1.generate.methods.method import Amount, Bounds, Method
from s1.records import ScoreRow

if TYPE_CHECKING:
    from s1.generate.audit import Audit

CONSTANTS = ("METHOD", "WRAPPER", "AGGREGATOR")


def methods() -> tuple[Method, ...]:
    """All methods, sorted by module name."""
    return _named("METHOD", tuple(package.__path__))


def wrappers() -> tuple[Method, ...]:
    """All wrappers and aggregators, each sorted by module name."""
    places = tuple(package.__path__)
    return (*_named("WRAPPER", places), *_named("AGGREGATOR", places))


def method_of(request: ComputeRequest) -> Method:
    """Find the method that serves a request. Raises ConfigError unless there is exactly one."""
    places = tuple(package.__path__)
    for constant in reversed(CONSTANTS):  # the outermost first
        serving = [each for each in _named(constant, places) if each.serves(request)]
        if serving:
            break
    if len(serving) != 1:
        names = ", ".join(method.name for method in serving) or "none"
        raise ConfigError(
            f"budget {request.budget}: served by {names} instead of exactly one method."
            " Correct `serves` of the methods in s1/generate/methods."
        )
    return serving[0]


def inserts_warning(budget: Budget) -> bool:
    """Whether traces of this budget get the warning of a thinking format: a method must insert it before a maximum."""
    request = ComputeRequest(budget)
    generated = method_of(request).effective_budget(request)
    return generated.max_thinking_tokens is not None and method_of(ComputeRequest(generated)).warns


def code_roots() -> tuple[str, ...]:
    """Code that a stage reaches through this registry rather than by imports (sweep/source/digest.py)."""
    return tuple(f"{package.__name__}.{name}:{constant}" for name, constant in _found(tuple(package.__path__)))


@cache
def _named(constant: str, places: tuple[str, ...]) -> tuple[Method, ...]:
    return tuple(getattr(_module(name), constant) for name, each in _found(places) if each == constant)


@cache
def _found(places: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Pairs of module name and constant for everything that is registered."""
    names = sorted(each.name for each in pkgutil.iter_modules(places) if each.name != "registry")
    return tuple((name, each) for name in names for each in CONSTANTS if hasattr(_module(name), each))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{package.__name__}.{name}")


# ------------------------------------------------------------------------------- methods on top of other methods


class Wrapper(Method, Protocol):
    """A method that changes what another says of a request; the rest is as the other method says."""

    def plain(self, request: ComputeRequest) -> ComputeRequest:
        """The request that the other method serves."""
        raise NotImplementedError

    def under(self, request: ComputeRequest) -> tuple[Method, ComputeRequest]:
        """The other method, and the request that it serves."""
        plain = self.plain(request)
        return method_of(plain), plain

    def check(self, request: ComputeRequest, context_tokens: int) -> None:
        method, plain = self.under(request)
        method.check(plain, context_tokens)

    def check_samples(self, request: ComputeRequest, generate: Generate) -> None:
        method, plain = self.under(request)
        method.check_samples(plain, generate)

    def bounds(self, request: ComputeRequest) -> Bounds | None:
        method, plain = self.under(request)
        return method.bounds(plain)

    def effective_budget(self, request: ComputeRequest) -> Budget:
        method, plain = self.under(request)
        return method.effective_budget(plain)

    def reward_form(self, request: ComputeRequest) -> RewardForm | None:
        method, plain = self.under(request)
        return method.reward_form(plain)

    def problems(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        method, plain = self.under(request)
        return method.problems(plain, scores)

    def unmet(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        method, plain = self.under(request)
        return method.unmet(plain, scores)

    def expected_thinking_tokens(self, request: ComputeRequest, natural_tokens: int) -> int:
        method, plain = self.under(request)
        return method.expected_thinking_tokens(plain, natural_tokens)


@runtime_checkable
class Aggregator(Wrapper, Protocol):
    """A method that makes one answer of several samples of a question, after they were scored.

    It needs no tokens of its own: traces and scores are those of the samples, and every number of votes shares them.
    Bounds and expected tokens are those of one sample.
    """

    kind: Aggregation
    title: str  # "majority"
    needs_rewards = False

    def expected(self, scores_S: Sequence[ScoreRow], votes: int) -> float:
        """Probability that the answer from `votes` of these samples of one question is right, over all choices.

        Raises ConfigError for samples without rewards if it needs them.
        """
        raise NotImplementedError

    def choices(self, samples: int, votes: int) -> str:
        """Which choices of samples `expected` averages over, in a few words."""
        return f"all choices from {samples} samples"

    def serves(self, request: ComputeRequest) -> bool:
        return request.budget.aggregation is self.kind

    def plain(self, request: ComputeRequest) -> ComputeRequest:
        return replace(request, budget=replace(request.budget, aggregation=Aggregation.NONE, votes=None))

    def check_samples(self, request: ComputeRequest, generate: Generate) -> None:
        votes = request.budget.votes
        if generate.temperature == 0:
            raise ConfigError(
                f"budget.aggregation {self.kind.value}: greedy samples are all equal. Choose generate=sampled."
            )
        if votes is not None and votes > generate.samples:
            raise ConfigError(
                f"budget.votes {votes}: there are only {generate.samples} samples. Lower it, or raise generate.samples."
            )
        super().check_samples(request, generate)

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        method, plain = self.under(request)
        family = method.family(plain)
        return {**family, "method": f"{self.name.replace('_', ' ')} of {family['method']}"}

    def amount(self, request: ComputeRequest) -> Amount:
        """The number of votes, then the amount underneath."""
        method, plain = self.under(request)
        votes = request.budget.votes
        return (math.inf if votes is None else votes, *method.amount(plain))

    def sample_label(self, request: ComputeRequest) -> str:
        """Label of one sample: "max 1024"."""
        method, plain = self.under(request)
        return method.label(plain)

    def label(self, request: ComputeRequest) -> str:
        return f"{self.sample_label(request)}, {self._words(request)}"

    def label_as_measured(self, request: ComputeRequest, audit: Audit) -> str:
        method, plain = self.under(request)
        return f"{method.label_as_measured(plain, audit)}, {self._words(request)}"

    def _words(self, request: ComputeRequest) -> str:
        votes = request.budget.votes
        return f"{self.title} of {'all' if votes is None else votes}"


def label_of_traces(request: ComputeRequest) -> str:
    """Label of the traces of a request, which all aggregations of them share."""
    method = method_of(request)
    return method.sample_label(request) if isinstance(method, Aggregator) else method.label(request)


def reward_of(score: ScoreRow) -> float:
    """The reward of a sample. Raises ConfigError if it has none, or one that cannot be compared."""
    if score.reward is None:
        raise ConfigError(
            f"reward null: question {score.question_id} sample {score.sample} has no reward. Choose a reward model with"
            " reward=NAME."
        )
    if not math.isfinite(score.reward):
        raise ConfigError(
            f"reward {score.reward}: of question {score.question_id} sample {score.sample}, is not a number. Choose"
            " another reward model with reward=NAME."
        )
    return score.reward
