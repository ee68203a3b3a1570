"""The seam to whatever runs the model: token ids in, token ids out. An engine knows no policy, tokenizer or question.

Continuous: `add` never waits; each `step` advances all open requests and returns those that finished, so nobody waits
for the slowest trace of a round.

Determinism: the token at absolute position p of a request with seed s is a pure function of (logits, s, p). So a stream
that is cut and continued draws the same tokens as one that is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class EngineError(RuntimeError):
    """A request that the engine cannot serve."""


@dataclass(frozen=True)
class Sampling:
    temperature: float  # 0: greedy
    top_p: float = 1.0


@dataclass(frozen=True)
class Request:
    prompt_ids: tuple[int, ...]
    max_tokens: int  # sampled tokens, the stop sequence included
    stop_ids: tuple[tuple[int, ...], ...]  # sequences of ids; whichever completes first ends the request
    forbid_stop_first: bool  # mask the first id of every stop at the first position
    sampling: Sampling
    seed: int


@dataclass(frozen=True)
class Completion:
    request: Request  # the very object that was added
    ids: tuple[int, ...]  # without the stop sequence
    ended_by: tuple[int, ...] | None  # the stop sequence; None: max_tokens reached

    @property
    def sampled_ids(self) -> tuple[int, ...]:
        """All that the engine sampled and is paid for, the stop sequence included."""
        return self.ids + (self.ended_by or ())


class Engine(Protocol):
    def add(self, request: Request) -> None:
        """Queue a request. Raises EngineError for one that `refuse_unservable` names."""

    def step(self) -> list[Completion]:
        """Advance all open requests; those that finished, or [] while work goes on."""

    @property
    def is_idle(self) -> bool:
        """No request is open."""

    @property
    def context_tokens(self) -> int:
        """The most tokens of a prompt and its completion together."""


def stop_at_end(ids: Sequence[int], stop_ids: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The longest stop sequence that `ids` end in."""
    found = [stop for stop in stop_ids if tuple(ids[-len(stop) :]) == stop]
    return max(found, key=len, default=None)


def refuse_unservable(request: Request, vocabulary: int, context_tokens: int) -> None:
    """Raises EngineError for what no engine can serve: nothing to continue, unknown ids, or an overfull context."""
    prompt_tokens = len(request.prompt_ids)
    if prompt_tokens == 0:
        raise EngineError("prompt_ids (): empty. Give at least one token to continue.")
    if request.max_tokens <= 0:
        raise EngineError(f"max_tokens {request.max_tokens}: not positive. Ask for at least one token.")
    if () in request.stop_ids:
        raise EngineError("stop_ids (): an empty stop sequence is everywhere. Leave it out.")
    outside = [token for token in request.prompt_ids if not 0 <= token < vocabulary]
    if outside:
        raise EngineError(
            f"prompt_ids {outside[0]}: outside the vocabulary of {vocabulary}. Use the model's tokenizer."
        )
    if prompt_tokens + request.max_tokens > context_tokens:
        raise EngineError(
            f"max_tokens {request.max_tokens}: with {prompt_tokens} prompt tokens above the context of"
            f" {context_tokens}. Ask for at most {context_tokens - prompt_tokens}."
        )
