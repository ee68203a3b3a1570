"""No forcing: the model opens and closes its thinking itself; afterwards the text is split at the delimiters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from s1.config.schema import Budget, Compat, ComputeRequest, ConfigError, Forcing
from s1.generate.methods.method import Amount, TraceMethod, conditions
from s1.generate.trace import Close, Move, Part, Policy, Sample, Segment, TokenOrigin, Trace
from s1.models.thinking_format import Ids, ThinkingFormatIds
from s1.records import Ending


class NoForcing(TraceMethod):
    """Plain generation."""

    name = "none"

    def serves(self, request: ComputeRequest) -> bool:
        return request.budget.forcing is Forcing.NONE

    def check(self, request: ComputeRequest, context_tokens: int) -> None:
        budget = request.budget
        for field in ("max_thinking_tokens", "min_thinking_tokens", "waits"):
            if value := getattr(budget, field):
                raise ConfigError(f"budget.{field} {value}: budget=none forces nothing. Choose budget=max.")
        for field in ("answer_tokens", "answer_reserve"):
            if value := getattr(budget, field):
                raise ConfigError(
                    f"budget.{field} {value}: budget=none generates thinking and answer as one text. Set it to null."
                )

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        return {"method": self.name, **conditions(request)}

    def amount(self, request: ComputeRequest) -> Amount:
        return ()

    def label(self, request: ComputeRequest) -> str:
        return "no forcing"

    def effective_budget(self, request: ComputeRequest) -> Budget:
        return replace(request.budget, continuation="", compat=Compat.CORRECTED)

    def policy(self, request: ComputeRequest, ids: ThinkingFormatIds, continuation: Ids, context_tokens: int) -> Policy:
        return Plain(ids, context_tokens)


METHOD = NoForcing()


@dataclass(frozen=True)
class Plain:
    """Generate without forcing, up to the end of the context."""

    ids: ThinkingFormatIds
    context_tokens: int

    def next(self, trace: Trace) -> Move:
        room = self.context_tokens - trace.length
        if trace.segments_of(Part.ANSWER) or room <= 0:
            return self._close(trace)
        return Sample(room, self.ids.answer_stops, Part.ANSWER)

    def _close(self, trace: Trace) -> Close:
        """Split the sampled text at its delimiters; the chat template may already have opened the thinking."""
        if not trace.segments_of(Part.ANSWER):
            return Close(trace, Ending.NONE)
        *opened, written = trace.segments
        ids = tuple(written.ids)
        opening = (0, 0) if opened else _find(ids, self.ids.written_starts, 0)
        if opening is None:
            return Close(trace, Ending.NONE)
        closing = _find(ids, self.ids.written_ends, opening[1])
        parts = [] if opened else [(Part.DELIMITER, 0, opening[1])]
        if closing is None:
            parts += [(Part.THINKING, opening[1], None)]
        else:
            parts += [(Part.THINKING, opening[1], closing[0])]
            parts += [(Part.DELIMITER, *closing), (Part.ANSWER, closing[1], None)]
        segments = [Segment(written.ids[start:end], part, TokenOrigin.SAMPLED) for part, start, end in parts]
        segments[-1] = replace(segments[-1], ended_by=written.ended_by)
        ending = Ending.NONE if closing is None else Ending.NATURAL
        return Close(replace(trace, segments=(*opened, *segments)), ending)


def _find(ids: Ids, spellings: tuple[Ids, ...], start: int) -> tuple[int, int] | None:
    """Begin and end of the first spelling at or after `start`; the longest if several start at the same position."""
    firsts = {spelling[0] for spelling in spellings}
    for begin in range(start, len(ids)):
        if ids[begin] not in firsts:
            continue
        lengths = [len(spelling) for spelling in spellings if ids[begin : begin + len(spelling)] == spelling]
        if lengths:
            return begin, begin + max(lengths)
    return None
