"""An engine whose model is a function: the double at the engine seam, for tests and for rehearsals without a model.

It honours everything a real engine does: stops of any length, a forbidden first stop, refusals. One `step` advances
each open request by one token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from s1.generate.engine import Completion, Request, refuse_unservable, stop_at_end

Script: TypeAlias = Callable[[Sequence[int], Request, frozenset[int]], int]


@dataclass
class _Open:
    request: Request
    written: list[int] = field(default_factory=list)


class ScriptedEngine:
    """`script(ids_so_far, request, forbidden_ids)` names the next token; `ids_so_far` begins with the prompt."""

    def __init__(self, script: Script, vocabulary: int, context_tokens: int) -> None:
        self._script = script
        self._vocabulary = vocabulary
        self.context_tokens = context_tokens
        self._open: list[_Open] = []
        self.requests: list[Request] = []  # all that were ever added

    def add(self, request: Request) -> None:
        refuse_unservable(request, self._vocabulary, self.context_tokens)
        self.requests.append(request)
        self._open.append(_Open(request))

    def step(self) -> list[Completion]:
        finished = {id(each): completion for each in self._open if (completion := self._advance(each))}
        self._open = [each for each in self._open if id(each) not in finished]
        return list(finished.values())

    @property
    def is_idle(self) -> bool:
        return not self._open

    def _advance(self, each: _Open) -> Completion | None:
        request, written = each.request, each.written
        at_first = request.forbid_stop_first and not written
        forbidden = frozenset(stop[0] for stop in request.stop_ids) if at_first else frozenset()
        written.append(self._script((*request.prompt_ids, *written), request, forbidden))
        stop = stop_at_end(written, request.stop_ids)
        if stop is not None:
            return Completion(request, tuple(written[: -len(stop)]), stop)
        if len(written) == request.max_tokens:
            return Completion(request, tuple(written), None)
        return None
