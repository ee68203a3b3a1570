"""Run many traces through one engine until all are closed. Policies decide what happens, the engine samples tokens.

Each iteration advances every trace that can go on, serves requests from the store, submits one engine request per
stream for the largest missing part, and steps the engine. Each delta goes to the store at once, so a trace continues as
soon as the tokens it needs exist, whichever trace requested them: small budgets finish while larger ones are still
thinking, and an interruption costs little.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from s1.generate.continuations import Continuations, stream_key
from s1.generate.engine import Completion, Delta, Engine, GenerationRequest, Sampling
from s1.generate.trace import Close, Policy, Sample, Trace, absorb, advance

StreamId: TypeAlias = "tuple[int, str]"  # identity of a store, key of a stream in it


@dataclass(frozen=True)
class TraceJob:
    """One trace to run until it closes."""

    name: Any  # chosen by the caller; returned with the closed trace
    owner: str  # whose usage counts the tokens generated for this job
    policy: Policy
    trace: Trace
    sampling: Sampling
    seed: int
    store: Continuations


@dataclass(frozen=True)
class _Demand:
    """A job that waits for tokens."""

    job: TraceJob
    trace: Trace
    sample: Sample
    request: GenerationRequest
    key: str  # of its stream

    @property
    def stream(self) -> StreamId:
        """Demands on the same stream share one engine request."""
        return id(self.job.store), self.key

    def completion(self) -> Completion | None:
        """The requested tokens; None while some are missing."""
        return self.job.store.serve(self.key, self.request)


@dataclass
class TokenUsage:
    """Tokens of engine work for each owner."""

    engine_tokens: Counter[str] = field(default_factory=Counter)  # sampled
    prompt_tokens: Counter[str] = field(default_factory=Counter)  # in the prompts of engine requests
    cached_tokens: Counter[str] = field(default_factory=Counter)  # prompt tokens found in the engine's cache
    # read from the files of the store when it was opened
    continuation_tokens_reused: Counter[str] = field(default_factory=Counter)

    def add(self, owner: str, delta: Delta) -> None:
        self.engine_tokens[owner] += len(delta.ids)
        if delta.end:
            self.prompt_tokens[owner] += len(delta.request.prompt_ids)
            self.cached_tokens[owner] += delta.end.cached_tokens


class Rollout:
    """Runs jobs on one engine and counts their usage."""

    def __init__(self, engine: Engine) -> None:
        self.usage = TokenUsage()
        self._engine = engine
        self._waiting: dict[StreamId, list[_Demand]] = {}
        self._unrequested: list[StreamId] = []  # streams with demands but no request in flight
        self._in_flight: dict[int, tuple[GenerationRequest, _Demand]] = {}  # by identity: equal requests may be open

    def run(self, jobs: Iterable[TraceJob]) -> Iterator[tuple[TraceJob, Close]]:
        """Yield each job with its closed trace as soon as it closes."""
        ready = deque((job, job.trace) for job in jobs)
        while ready or self._waiting:
            while ready:
                job, trace = ready.popleft()
                trace, move = advance(trace, job.policy)
                if isinstance(move, Close):
                    yield job, move
                    continue
                demand = _demand_of(job, trace, move)
                if (extended := self._extended(demand)) is not None:
                    ready.append((job, extended))
                else:
                    self._enqueue(demand)
            self._submit_requests()
            for delta in [] if self._engine.is_idle else self._engine.step():
                ready.extend(self._on_delta(delta))

    def _extended(self, demand: _Demand) -> Trace | None:
        """The trace with the requested tokens; None while some are missing."""
        if (completion := demand.completion()) is None:
            return None
        tokens = len(completion.ids) + len(completion.ended_by or ())
        reused = demand.job.store.read_tokens(demand.key, tokens)
        self.usage.continuation_tokens_reused[demand.job.owner] += reused
        return absorb(demand.trace, demand.sample, completion.ids, completion.ended_by)

    def _enqueue(self, demand: _Demand) -> None:
        if demand.stream not in self._waiting:
            self._waiting[demand.stream] = []
            self._unrequested.append(demand.stream)
        self._waiting[demand.stream].append(demand)

    def _submit_requests(self) -> None:
        """Submit the largest demand of each stream that has no request in flight."""
        for stream in self._unrequested:
            largest = max(self._waiting[stream], key=lambda demand: demand.request.max_tokens)
            request = largest.job.store.missing(largest.key, largest.request)
            self._in_flight[id(request)] = (request, largest)
            self._engine.add(request)
        self._unrequested.clear()

    def _on_delta(self, delta: Delta) -> Iterator[tuple[TraceJob, Trace]]:
        """Store the tokens and yield the jobs that now have all they need."""
        _, requester = self._in_flight[id(delta.request)]
        requester.job.store.append(requester.key, delta)
        self.usage.add(requester.job.owner, delta)
        waiting = []
        for demand in self._waiting.pop(requester.stream):
            if (extended := self._extended(demand)) is not None:
                yield demand.job, extended
            else:
                waiting.append(demand)
        if waiting:
            self._waiting[requester.stream] = waiting
        if delta.end:
            del self._in_flight[id(delta.request)]
            if waiting:  # demands that arrived while the request was open and need more than it requested
                self._unrequested.append(requester.stream)


def _demand_of(job: TraceJob, trace: Trace, sample: Sample) -> _Demand:
    request = GenerationRequest(
        prompt_ids=trace.ids,
        max_tokens=sample.max_tokens,
        stop_ids=sample.stop_ids,
        forbid_stop_first=sample.forbid_stop_first,
        sampling=job.sampling,
        seed=job.seed,
    )
    return _Demand(job, trace, sample, request, stream_key(request))
