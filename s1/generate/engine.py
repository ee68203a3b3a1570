"""The seam to whatever runs the model: token ids in, token ids out. An engine knows no policy, tokenizer or question.

Continuous: `add` never waits; each `step` advances all open requests and returns what they wrote, so nobody waits for
the slowest trace of a round. An open request is heard of about every `PORTION_TOKENS` tokens, and when it ends.

A stream that is cut and continued is asked for as one whose last `already` prompt tokens were sampled before: a stop
may have begun in them. Where the engine can, the token at absolute position p of a request with seed s is a pure
function of (logits, s, p), and the continued stream draws what the uncut one would have drawn (`seeds_positions`).
Where it cannot (vLLM on CPU), the seed of each request is derived from s and its position: reproducible, as long as the
same requests are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Protocol

from sweep.errors import SweepError

DELTA_TOKENS = 16


class EngineError(SweepError, RuntimeError):
    """A request that the engine cannot serve."""


@dataclass(frozen=True)
class Sampling:
    temperature: float  # 0: greedy
    top_p: float = 1.0


@dataclass(frozen=True)
class GenerationRequest:
    prompt_ids: tuple[int, ...]
    max_tokens: int  # sampled tokens, the stop sequence included
    stop_ids: tuple[tuple[int, ...], ...]  # sequences of ids; whichever completes first ends the request
    forbid_stop_first: bool  # mask the first id of every stop at the first position
    sampling: Sampling
    seed: int
    already: int = 0  # of the prompt's last tokens: sampled in this stream before

    def stop_after(self, written: Sequence[int]) -> tuple[int, ...] | None:
        """The longest stop sequence that the stream ends in, once it goes on with `written`, not empty."""
        candidates = self._stops_by_last_id.get(written[-1], ())
        if not candidates:
            return None
        longest = len(candidates[0])
        before = self.prompt_ids[len(self.prompt_ids) - min(self.already, longest) :]
        tail = (*before, *written[-longest:])
        return next((stop for stop in candidates if tail[-len(stop) :] == stop), None)

    @cached_property
    def _stops_by_last_id(self) -> dict[int, list[tuple[int, ...]]]:
        """Longest first; looked into for every token, and a thinking format in plain text has a hundred spellings."""
        stops: dict[int, list[tuple[int, ...]]] = {}
        for stop in sorted(self.stop_ids, key=len, reverse=True):
            stops.setdefault(stop[-1], []).append(stop)
        return stops

    @property
    def forbidden_first(self) -> tuple[int, ...]:
        """Ids that may not be sampled at the first position."""
        return tuple(dict.fromkeys(stop[0] for stop in self.stop_ids)) if self.forbid_stop_first else ()


@dataclass(frozen=True)
class RequestEnd:
    stop: tuple[int, ...] | None  # the stop sequence; None: max_tokens reached
    cached_tokens: int = 0  # of the prompt: those whose keys and values the engine still had


@dataclass(frozen=True)
class Delta:
    """What an open request wrote since its last portion."""

    request: GenerationRequest  # the very object that was added
    ids: tuple[int, ...]  # all that was sampled, the stop sequence included
    end: RequestEnd | None = None  # None: it goes on


@dataclass(frozen=True)
class Completion:
    ids: tuple[int, ...]  # without the stop sequence
    ended_by: tuple[int, ...] | None  # the stop sequence; None: max_tokens reached


@dataclass
class OpenRequest:
    """An open request, as an engine of ours keeps it: what was written, and how much of that was told."""

    request: GenerationRequest
    cached_tokens: int = 0
    ids: list[int] = field(default_factory=list)
    told: int = 0

    def write(self, tokens: Sequence[int]) -> Delta | None:
        """Append what was sampled, a stop at its end at most; what there is to tell: the end, or PORTION_TOKENS."""
        self.ids.extend(tokens)
        stop = self.request.stop_after(self.ids)
        is_over = stop is not None or len(self.ids) == self.request.max_tokens
        if not is_over and len(self.ids) - self.told < DELTA_TOKENS:
            return None
        untold, self.told = tuple(self.ids[self.told :]), len(self.ids)
        return Delta(self.request, untold, RequestEnd(stop, self.cached_tokens) if is_over else None)


class Engine(Protocol):
    def add(self, request: GenerationRequest) -> None:
        """Queue a request. Raises EngineError for one that `refuse_unservable` names."""
        ...

    def step(self) -> list[Delta]:
        """Advance all open requests; what they wrote, or [] while work goes on unheard. Returns at once if idle."""
        ...

    @property
    def is_idle(self) -> bool:
        """No request is open."""
        ...

    @property
    def vocabulary(self) -> int:
        """How many ids the model knows; those of a padded embedding count, for the model may sample them."""
        ...

    @property
    def context_tokens(self) -> int:
        """The most tokens of a prompt and its completion together."""
        ...

    @property
    def seeds_positions(self) -> bool:
        """What is drawn at a position depends on the seed and the position, not on where a request began."""
        ...

    @property
    def kernels(self) -> Mapping[str, str]:
        """What decides its roundings besides library versions, dtype and kind of device: processor, attention."""
        ...

    def close(self) -> None:
        """Give back processes and memory."""
        ...


def completion(portions: Sequence[Delta]) -> Completion:
    """What the portions of one request add up to; the last one must be its end."""
    ids, end = tuple(chain.from_iterable(portion.ids for portion in portions)), portions[-1].end
    if end is None:
        raise EngineError("portions: the last one is not the end of its request. Step the engine until it is idle.")
    return Completion(ids, None) if end.stop is None else Completion(ids[: max(0, len(ids) - len(end.stop))], end.stop)


def position_bits(seed: int, position: int) -> int:
    """64 random bits that depend on these two alone, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {position}".encode("ascii"), digest_size=8).digest(), "big")


def refuse_unservable(request: GenerationRequest, vocabulary: int, context_tokens: int) -> None:
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
