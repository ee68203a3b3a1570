"""Drive many traces through one engine until all are closed. Decisions are the policies', tokens the engine's.

Each turn: advance every trace that can be, serve what the store holds, ask the engine once per stream for the largest
missing part that anyone waits for, let it take a step, repeat. What the engine writes is in the store as soon as it is
heard of, so a trace goes on once the tokens exist that it waits for, whoever asked for them: small budgets are
answered while larger ones are still thinking, and an interruption costs little.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from s1.generate.continuations import Continuations, stream_key
from s1.generate.engine import Completion, Delta, Engine, GenerationRequest, Sampling
from s1.generate.trace import Close, Policy, Sample, Trace, absorb, advance

Line: TypeAlias = "tuple[int, str]"  # a store, by identity, and a stream of it


@dataclass(frozen=True)
class TraceJob:
    """One trace to be brought to its end."""

    name: Any  # the caller's; comes back with the closed trace
    owner: str  # who pays for tokens that are generated on its demand
    policy: Policy
    trace: Trace
    sampling: Sampling
    seed: int
    store: Continuations


@dataclass(frozen=True)
class _Demand:
    """A job that wants tokens."""

    job: TraceJob
    trace: Trace
    sample: Sample
    request: GenerationRequest
    key: str  # of its stream

    @property
    def line(self) -> Line:
        """Demands on one line are served by one engine request: same store, same stream."""
        return id(self.job.store), self.key

    def served(self) -> Completion | None:
        """What was wanted; None while some of it is missing."""
        return self.job.store.serve(self.key, self.request)


@dataclass
class TokenUsage:
    """What was newly done for an owner, in tokens."""

    engine_tokens: Counter[str] = field(default_factory=Counter)  # sampled
    prompt_tokens: Counter[str] = field(default_factory=Counter)  # of the prompts that they continued
    cached_tokens: Counter[str] = field(default_factory=Counter)  # of those, not read again
    # served from what the files of the store held when they were opened
    continuation_tokens_reused: Counter[str] = field(default_factory=Counter)

    def add(self, owner: str, portion: Delta) -> None:
        self.engine_tokens[owner] += len(portion.ids)
        if portion.end:
            self.prompt_tokens[owner] += len(portion.request.prompt_ids)
            self.cached_tokens[owner] += portion.end.cached_tokens


class Rollout:
    """One drive; `usage` grows with it."""

    def __init__(self, engine: Engine) -> None:
        self.usage = TokenUsage()
        self._engine = engine
        self._waiting: dict[Line, list[_Demand]] = {}
        self._unasked: list[Line] = []  # lines that wait without a request in flight
        self._in_flight: dict[int, tuple[GenerationRequest, _Demand]] = {}  # by identity: equal requests may be open

    def run(self, jobs: Iterable[TraceJob]) -> Iterator[tuple[TraceJob, Close]]:
        """Each job with its closed trace, as soon as it is closed."""
        ready = deque((job, job.trace) for job in jobs)
        while ready or self._waiting:
            while ready:
                job, trace = ready.popleft()
                trace, move = advance(trace, job.policy)
                if isinstance(move, Close):
                    yield job, move
                    continue
                demand = _demand(job, trace, move)
                if (served := self._served(demand)) is not None:
                    ready.append((job, served))
                else:
                    self._wait(demand)
            self._ask()
            for portion in [] if self._engine.is_idle else self._engine.step():
                ready.extend(self._heard(portion))

    def _served(self, demand: _Demand) -> Trace | None:
        """The trace with what was wanted; None while some of it is missing."""
        if (taken := demand.served()) is None:
            return None
        tokens = len(taken.ids) + len(taken.ended_by or ())
        reused = demand.job.store.read_tokens(demand.key, tokens)
        self.usage.continuation_tokens_reused[demand.job.owner] += reused
        return absorb(demand.trace, demand.sample, taken.ids, taken.ended_by)

    def _wait(self, demand: _Demand) -> None:
        if demand.line not in self._waiting:
            self._waiting[demand.line] = []
            self._unasked.append(demand.line)
        self._waiting[demand.line].append(demand)

    def _ask(self) -> None:
        """One request for each stream that has none in flight, as large as anyone needs."""
        for line in self._unasked:
            largest = max(self._waiting[line], key=lambda demand: demand.request.max_tokens)
            request = largest.job.store.missing(largest.key, largest.request)
            self._in_flight[id(request)] = (request, largest)
            self._engine.add(request)
        self._unasked.clear()

    def _heard(self, portion: Delta) -> Iterator[tuple[TraceJob, Trace]]:
        """Keep the tokens; those who waited for no more than these go on."""
        _, asked = self._in_flight[id(portion.request)]
        asked.job.store.learn(asked.key, portion)
        self.usage.add(asked.job.owner, portion)
        waiting = []
        for demand in self._waiting.pop(asked.line):
            if (served := self._served(demand)) is not None:
                yield demand.job, served
            else:
                waiting.append(demand)
        if waiting:
            self._waiting[asked.line] = waiting
        if portion.end:
            del self._in_flight[id(portion.request)]
            if waiting:  # came while the request was open, and want more than it brought
                self._unasked.append(asked.line)


def _demand(job: TraceJob, trace: Trace, sample: Sample) -> _Demand:
    request = GenerationRequest(
        prompt_ids=trace.ids,
        max_tokens=sample.max_tokens,
        stop_ids=sample.stop_ids,
        forbid_stop_first=sample.forbid_stop_first,
        sampling=job.sampling,
        seed=job.seed,
    )
    return _Demand(job, trace, sample, request, stream_key(request))
