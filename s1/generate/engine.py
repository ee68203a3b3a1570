"""The interface of inference engines: token ids in, token ids out. An engine knows no policy, tokenizer or question.

Batching is continuous: `add` never blocks, and each `step` advances all open requests and returns their new tokens, so
no trace waits for the slowest one of a batch. An open request emits a `Delta` about every `DELTA_TOKENS` tokens, and
one when it ends.

A request that continues a cut stream says how many of its last prompt tokens were sampled before (`already_sampled`),
because a stop sequence may have started in them. Where the engine supports it (`seeds_positions`), the token at
absolute position p of a request with seed s is a pure function of (logits, s, p), so the continued stream draws the
same tokens as an uncut one. Where it does not (vLLM on CPU), the seed of each request is derived from s and its
position: the result is reproducible as long as the same requests are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Protocol

from s1.generate.token_ids import first_outside
from sweep.errors import SweepError

DELTA_TOKENS = 16


class EngineError(SweepError, RuntimeError):
    """The engine cannot serve a request."""


@dataclass(frozen=True)
class Sampling:
    temperature: float  # 0: greedy
    top_p: float = 1.0


@dataclass(frozen=True)
class GenerationRequest:
    prompt_ids: Sequence[int]  # a tuple, or TokenIds
    max_tokens: int  # sampled tokens, the stop sequence included
    stop_ids: tuple[tuple[int, ...], ...]  # sequences of ids; whichever completes first ends the request
    forbid_stop_first: bool  # mask the first id of every stop at the first position
    sampling: Sampling
    seed: int
    already_sampled: int = 0  # how many of the last prompt tokens were sampled in this stream before

    def stop_after(self, written: Sequence[int]) -> tuple[int, ...] | None:
        """The longest stop sequence at the end of the stream plus `written`, which must not be empty; None: no stop."""
        candidates = self._stops_by_last_id.get(written[-1], ())
        if not candidates:
            return None
        longest = len(candidates[0])
        before = self.prompt_ids[len(self.prompt_ids) - min(self.already_sampled, longest) :]
        tail = (*before, *written[-longest:])
        return next((stop for stop in candidates if tail[-len(stop) :] == stop), None)

    @cached_property
    def _stops_by_last_id(self) -> dict[int, list[tuple[int, ...]]]:
        """Longest first. Indexed because every token is looked up, and a plain-text thinking format has a hundred
        spellings."""
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
    cached_tokens: int = 0  # prompt tokens whose keys and values were still in the engine's cache


@dataclass(frozen=True)
class Delta:
    """Tokens that an open request sampled since its previous delta."""

    request: GenerationRequest  # the same object that was added
    ids: tuple[int, ...]  # every sampled token, the stop sequence included
    end: RequestEnd | None = None  # None: the request is still open


@dataclass(frozen=True)
class Completion:
    ids: Sequence[int]  # a tuple, or TokenIds; without the stop sequence
    ended_by: tuple[int, ...] | None  # the stop sequence; None: max_tokens reached


@dataclass
class OpenRequest:
    """State of an open request in our engines: the sampled tokens, and how many of them were emitted."""

    request: GenerationRequest
    cached_tokens: int = 0
    ids: list[int] = field(default_factory=list)
    emitted: int = 0  # of `ids`

    def write(self, tokens: Sequence[int]) -> Delta | None:
        """Append sampled tokens, which may contain a stop only at their end.

        Returns a Delta if the request ends or DELTA_TOKENS are pending, otherwise None.
        """
        self.ids.extend(tokens)
        stop = self.request.stop_after(self.ids)
        is_over = stop is not None or len(self.ids) == self.request.max_tokens
        if not is_over and len(self.ids) - self.emitted < DELTA_TOKENS:
            return None
        new_ids, self.emitted = tuple(self.ids[self.emitted :]), len(self.ids)
        return Delta(self.request, new_ids, RequestEnd(stop, self.cached_tokens) if is_over else None)


class Engine(Protocol):
    def add(self, request: GenerationRequest) -> None:
        """Queue a request. Raises EngineError if `refuse_unservable` rejects it."""
        ...

    def step(self) -> list[Delta]:
        """Advance all open requests and return their new deltas; [] if none is due. Returns at once if idle."""
        ...

    @property
    def is_idle(self) -> bool:
        """No request is open."""
        ...

    @property
    def vocabulary(self) -> int:
        """Number of token ids. Padding of the embedding matrix counts, because the model may sample those ids."""
        ...

    @property
    def context_tokens(self) -> int:
        """Maximum tokens of a prompt and its completion together."""
        ...

    @property
    def seeds_positions(self) -> bool:
        """Whether the draw at a position depends only on seed and position, not on where the request started."""
        ...

    @property
    def kernels(self) -> Mapping[str, str]:
        """What decides numerics besides library versions, dtype and kind of device: processor, attention kernels."""
        ...

    def close(self) -> None:
        """Release processes and memory."""
        ...


def completion(deltas: Sequence[Delta]) -> Completion:
    """Join all deltas of one request. Raises EngineError if the last one does not end it."""
    ids, end = tuple(chain.from_iterable(delta.ids for delta in deltas)), deltas[-1].end
    if end is None:
        raise EngineError("deltas: the last one does not end its request. Step the engine until it is idle.")
    return Completion(ids, None) if end.stop is None else Completion(ids[: max(0, len(ids) - len(end.stop))], end.stop)


def position_bits(seed: int, position: int) -> int:
    """64 pseudo-random bits from seed and position, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {position}".encode("ascii"), digest_size=8).digest(), "big")


def refuse_unservable(request: GenerationRequest, vocabulary: int, context_tokens: int) -> None:
    """Raise EngineError for a request no engine can serve: no prompt, unknown ids, or more than the context holds."""
    prompt_tokens = len(request.prompt_ids)
    if prompt_tokens == 0:
        raise EngineError("prompt_ids (): empty. Give at least one token to continue.")
    if request.max_tokens <= 0:
        raise EngineError(f"max_tokens {request.max_tokens}: not positive. Ask for at least one token.")
    if () in request.stop_ids:
        raise EngineError("stop_ids (): an empty stop sequence matches everywhere. Leave it out.")
    if (outside := first_outside(request.prompt_ids, vocabulary)) is not None:
        raise EngineError(f"prompt_ids {outside}: outside the vocabulary of {vocabulary}. Use the model's tokenizer.")
    if prompt_tokens + request.max_tokens > context_tokens:
        raise EngineError(
            f"max_tokens {request.max_tokens}: with {prompt_tokens} prompt tokens it exceeds the context of"
            f" {context_tokens}. Ask for at most {context_tokens - prompt_tokens}."
        )
