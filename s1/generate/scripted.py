"""An engine whose model is a Python function, for tests and dry runs without a model.

It supports everything a real engine does: stops of any length, a forbidden first stop, refused requests. One `step`
advances each open request by one token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from s1.generate.engine import Delta, GenerationRequest, OpenRequest, refuse_unservable

Script: TypeAlias = Callable[[Sequence[int], GenerationRequest, frozenset[int]], int]


class ScriptedEngine:
    """`script(ids_so_far, request, forbidden_ids)` returns the next token; `ids_so_far` begins with the prompt."""

    def __init__(self, script: Script, vocabulary: int, context_tokens: int) -> None:
        self._script = script
        self.vocabulary = vocabulary
        self.context_tokens = context_tokens
        self.seeds_positions = True
        self.kernels: Mapping[str, str] = {"processor": "none"}
        self._open: list[OpenRequest] = []
        self.requests: list[GenerationRequest] = []  # every request that was added

    def add(self, request: GenerationRequest) -> None:
        refuse_unservable(request, self.vocabulary, self.context_tokens)
        self.requests.append(request)
        self._open.append(OpenRequest(request))

    def step(self) -> list[Delta]:
        deltas = [delta for each in self._open if (delta := each.write([self._next(each)]))]
        ended = {id(delta.request) for delta in deltas if delta.end}
        self._open = [each for each in self._open if id(each.request) not in ended]
        return deltas

    @property
    def is_idle(self) -> bool:
        return not self._open

    def close(self) -> None:
        self._open.clear()

    def _next(self, each: OpenRequest) -> int:
        forbidden = frozenset() if each.ids else frozenset(each.request.forbidden_first)
        return self._script((*each.request.prompt_ids, *each.ids), each.request, forbidden)
