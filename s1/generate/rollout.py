"""Run many traces through one engine until all are closed. Policies decide what happens, the engine samples tokens.

A job is one trace, or a group of traces (s1/generate/group.py) whose branches are run as traces of their own: a trace
that closes is yielded, or goes back to its group, which then names the next branches, requests rewards, or closes.

Each iteration advances every trace that can go on, serves requests from the store, submits one engine request per
stream for the largest missing part, and steps the engine. Each delta goes to the store at once, so a trace continues as
soon as the tokens it needs exist, whichever trace requested them: small budgets finish while larger ones are still
thinking, and an interruption costs little.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, TypeAlias

from s1.config.schema import ConfigError
from s1.generate.continuations import Continuations, stream_key
from s1.generate.engine import Completion, Delta, Engine, GenerationRequest, Sampling
from s1.generate.group import (
    Branch,
    ClosedBranch,
    CloseGroup,
    Group,
    GroupPolicy,
    Path,
    RewardRequest,
    Run,
    Score,
    Scorer,
    closed_with_totals,
)
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
class GroupJob:
    """One group to run until it closes."""

    name: Any  # chosen by the caller; returned with the answer of the group
    owner: str  # whose usage counts the tokens generated for all its branches
    policy: GroupPolicy
    group: Group
    sampling: Sampling
    seed_of: Callable[[Path], int]
    store: Continuations
    scorer: Scorer | None = None  # None: the policy requests no rewards


Job: TypeAlias = "TraceJob | GroupJob"


class _OpenGroup:
    """A group that waits for branches or rewards."""

    def __init__(self, job: GroupJob) -> None:
        self.job = job
        self.group = job.group
        self._branches: tuple[Branch, ...] = ()  # of the current round
        self._closes: dict[int, Close] = {}  # those that have closed, by their place in the round

    def start(self, run: Run) -> Iterator[tuple[TraceJob, Trace]]:
        """Begin a round, and yield its branches."""
        job, self._branches, self._closes = self.job, run.branches, {}
        for place, branch in enumerate(run.branches):
            name, seed = _BranchName(self, place), job.seed_of(branch.path)
            yield TraceJob(name, job.owner, branch.policy, branch.trace, job.sampling, seed, job.store), branch.trace

    def add(self, place: int, close: Close) -> bool:
        """Add a closed branch; True if it was the last one of its round, which then enters the group."""
        self._closes[place] = close
        if len(self._closes) < len(self._branches):
            return False
        closed = [ClosedBranch(branch, self._closes[place]) for place, branch in enumerate(self._branches)]
        self.group = self.group.with_round(closed)
        return True


@dataclass(frozen=True)
class _BranchName:
    """Name of a branch's job: its group, and its place in the current round."""

    group: _OpenGroup
    place: int


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


class _Waiting:
    """The demands that wait for one stream."""

    def __init__(self) -> None:
        self._fewest_first: list[tuple[int, int, _Demand]] = []  # a heap of tokens, arrival, demand
        self._arrived = 0

    def __bool__(self) -> bool:
        return bool(self._fewest_first)

    def add(self, demand: _Demand) -> None:
        self._arrived += 1
        heappush(self._fewest_first, (demand.request.max_tokens, self._arrived, demand))

    def largest(self) -> _Demand:
        """The demand for the most tokens; of equal ones the one that arrived first."""
        return max(self._fewest_first, key=lambda each: (each[0], -each[1]))[2]

    def pop(self, tokens: int | None) -> list[_Demand]:
        """Remove the demands for at most so many tokens, None: all of them; in the order of their arrival."""
        popped: list[tuple[int, int, _Demand]] = []
        while self._fewest_first and (tokens is None or self._fewest_first[0][0] <= tokens):
            popped.append(heappop(self._fewest_first))
        return [demand for _, _, demand in sorted(popped, key=lambda each: each[1])]


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
        self._ready: deque[tuple[TraceJob, Trace]] = deque()
        self._unscored: list[tuple[_OpenGroup, Score]] = []
        self._waiting: dict[StreamId, _Waiting] = {}
        self._unrequested: list[StreamId] = []  # streams with demands but no request in flight
        self._in_flight: dict[int, tuple[GenerationRequest, _Demand]] = {}  # by identity: equal requests may be open

    def run(self, jobs: Iterable[Job], on_step: Callable[[], None] = lambda: None) -> Iterator[tuple[Job, Close]]:
        """Yield each job with its closed trace, or the answer of its group, as soon as it closes.

        Calls `on_step` after each step of the engine.
        """
        for job in jobs:
            if isinstance(job, TraceJob):
                self._ready.append((job, job.trace))
            else:
                yield from self._advance_group(_OpenGroup(job))
        while self._ready or self._waiting or self._unscored:
            while self._ready:
                job, trace = self._ready.popleft()
                trace, move = advance(trace, job.policy)
                if isinstance(move, Close):
                    yield from self._on_close(job, move)
                    continue
                demand = _demand_of(job, trace, move)
                if (extended := self._extended(demand)) is not None:
                    self._ready.append((job, extended))
                else:
                    self._enqueue(demand)
            for group in self._scored():
                yield from self._advance_group(group)
            self._submit_requests()
            for delta in [] if self._engine.is_idle else self._engine.step():
                self._ready.extend(self._on_delta(delta))
            on_step()

    def _on_close(self, job: TraceJob, close: Close) -> Iterator[tuple[Job, Close]]:
        """Yield a trace that was run alone; give any other back to its group."""
        if not isinstance(job.name, _BranchName):
            yield job, close
        elif job.name.group.add(job.name.place, close):
            yield from self._advance_group(job.name.group)

    def _advance_group(self, opened: _OpenGroup) -> Iterator[tuple[Job, Close]]:
        """Apply the next move of a group; yield the group if that closes it."""
        move = opened.job.policy.next(opened.group)
        if isinstance(move, CloseGroup):
            yield opened.job, closed_with_totals(opened.group, move)
        elif isinstance(move, Score):
            self._unscored.append((opened, move))
        else:
            self._ready.extend(opened.start(move))

    def _scored(self) -> list[_OpenGroup]:
        """Request all rewards that groups wait for, with one call per reward model; returns these groups."""
        waiting, self._unscored = self._unscored, []
        by_scorer: dict[int, list[tuple[_OpenGroup, Score]]] = {}
        for opened, move in waiting:
            by_scorer.setdefault(id(opened.job.scorer), []).append((opened, move))
        for members in by_scorer.values():
            _add_rewards(members)
        return [opened for opened, _ in waiting]

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
            self._waiting[demand.stream] = _Waiting()
            self._unrequested.append(demand.stream)
        self._waiting[demand.stream].add(demand)

    def _submit_requests(self) -> None:
        """Submit the largest demand of each stream that has no request in flight."""
        for stream in self._unrequested:
            largest = self._waiting[stream].largest()
            request = largest.job.store.missing(largest.key, largest.request)
            self._in_flight[id(request)] = (request, largest)
            self._engine.add(request)
        self._unrequested.clear()

    def _on_delta(self, delta: Delta) -> Iterator[tuple[TraceJob, Trace]]:
        """Store the tokens and yield the jobs that now have all they need."""
        _, requester = self._in_flight[id(delta.request)]
        stream = requester.stream
        known = requester.job.store.append(requester.key, delta)
        self.usage.add(requester.job.owner, delta)
        waiting = self._waiting[stream]
        for demand in waiting.pop(None if delta.end and delta.end.stop else known):
            extended = self._extended(demand)
            assert extended is not None, "the store has the tokens that it counts"
            yield demand.job, extended
        if not waiting:
            del self._waiting[stream]
        if delta.end:
            del self._in_flight[id(delta.request)]
            if waiting:  # demands that arrived while the request was open and need more than it requested
                self._unrequested.append(stream)


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


def _add_rewards(members: list[tuple[_OpenGroup, Score]]) -> None:
    """Request the rewards of groups that have the same reward model. Raises ConfigError if they have none."""
    scorer = members[0][0].job.scorer
    if scorer is None:
        raise ConfigError("reward null: this method asks a reward model. Choose one of conf/reward.")
    requests = [
        RewardRequest(opened.group.question_id, opened.group.closed[index].close.trace)
        for opened, move in members
        for index in move.branches
    ]
    rewards = iter(scorer.score(requests))
    for opened, move in members:
        opened.group = opened.group.with_rewards({index: next(rewards) for index in move.branches})
