"""The seam to whatever runs the model: token ids in, token ids out. An engine knows no policy, tokenizer or question.

Continuous: `add` never waits; each `step` advances all open requests and returns those that finished, so nobody waits
for the slowest trace of a round.

Determinism: the token at absolute position p of a request with seed s is a pure function of (logits, s, p). So a stream
that is cut and continued draws the same tokens as one that is not.
"""

from __future__ import annotations

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
    max_tokens: int
    stop_ids: tuple[tuple[int, ...], ...]  # sequences of ids; whichever completes first ends the request
    forbid_stop_first: bool  # mask the first id of every stop at the first position
    sampling: Sampling
    seed: int


@dataclass(frozen=True)
class Completion:
    request: Request
    ids: tuple[int, ...]  # without the stop sequence
    ended_by: tuple[int, ...] | None  # the stop sequence; None: max_tokens reached
    sampled_tokens: int  # engine tokens paid for, the stop sequence included


class Engine(Protocol):
    def add(self, request: Request) -> None:
        """Queue a request. Raises EngineError on an empty prompt, ids outside the vocabulary, or an overfull context."""

    def step(self) -> list[Completion]:
        """Advance all open requests; those that finished, or [] while work goes on."""

    @property
    def is_idle(self) -> bool:
        """No request is open."""
