"""Drive many traces through one engine until all are closed. Decisions are the policies', tokens the engine's.

Each turn: advance every trace that can be, serve what the store holds, ask the engine once per stream for the largest
missing part that anyone waits for, let it take a step, repeat. Nobody waits for a trace that it shares no stream with.
A long part is asked for in pieces: each is in the store before the next is begun, so an interruption costs little, and
small budgets go on while large ones are still thinking.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from s1.generate.continuations import Continuations, stream_key
from s1.generate.engine import Completion, Engine, Request, Sampling
from s1.generate.move import Close, Policy, Sample, absorb, advance
from s1.generate.trace import Trace

PIECE_TOKENS = 1024  # most tokens of one engine request


@dataclass(frozen=True)
class Job:
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

    job: Job
    trace: Trace
    sample: Sample
    request: Request
    key: str  # of its stream

    @property
    def line(self) -> tuple[int, str]:
        """Demands on one line are served by one engine request: same store, same stream."""
        return id(self.job.store), self.key


class Rollout:
    """`engine_tokens[owner]` counts new tokens, `prompt_tokens[owner]` those of the prompts that they continued."""

    def __init__(self, engine: Engine, piece_tokens: int = PIECE_TOKENS) -> None:
        self.engine_tokens: Counter[str] = Counter()
        self.prompt_tokens: Counter[str] = Counter()
        self._engine = engine
        self._piece_tokens = piece_tokens
        self._waiting: dict[tuple[int, str], list[_Demand]] = {}
        self._unasked: list[tuple[int, str]] = []  # lines that wait without a request in flight
        self._in_flight: dict[int, tuple[Request, _Demand]] = {}  # by identity: equal requests may be open

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Close]]:
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
                if completion := job.store.serve(demand.key, demand.request):
                    ready.append((job, absorb(trace, move, completion.ids, completion.ended_by)))
                else:
                    self._wait(demand)
            self._ask()
            for completion in self._engine.step():
                ready.extend((demand.job, demand.trace) for demand in self._answered(completion))

    def _wait(self, demand: _Demand) -> None:
        if demand.line not in self._waiting:
            self._waiting[demand.line] = []
            self._unasked.append(demand.line)
        self._waiting[demand.line].append(demand)

    def _ask(self) -> None:
        """One request for each stream that has none in flight, as large as anyone needs."""
        for line in self._unasked:
            largest = max(self._waiting[line], key=lambda demand: demand.request.max_tokens)
            missing = largest.job.store.missing(largest.key, largest.request)
            request = replace(missing, max_tokens=min(missing.max_tokens, self._piece_tokens))
            self._in_flight[id(request)] = (request, largest)
            self._engine.add(request)
        self._unasked.clear()

    def _answered(self, completion: Completion) -> list[_Demand]:
        """Keep the tokens; all who waited for the stream look again."""
        request, asked = self._in_flight.pop(id(completion.request))
        asked.job.store.learn(asked.key, asked.request, completion)
        self.engine_tokens[asked.job.owner] += len(completion.sampled_ids)
        self.prompt_tokens[asked.job.owner] += len(request.prompt_ids)
        return self._waiting.pop(asked.line)


def _demand(job: Job, trace: Trace, sample: Sample) -> _Demand:
    request = Request(
        prompt_ids=trace.ids,
        max_tokens=sample.max_tokens,
        stop_ids=sample.stop_ids,
        forbid_stop_first=sample.forbid_stop_first,
        sampling=job.sampling,
        seed=job.seed,
    )
    return _Demand(job, trace, sample, request, stream_key(request))
