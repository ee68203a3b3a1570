"""Groups of traces: branches run beside ordinary traces and share their store; rewards are requested in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from s1.config.schema import ConfigError
from s1.generate.continuations import Continuations
from s1.generate.engine import Sampling
from s1.generate.group import Branch, CloseGroup, Group, GroupMove, GroupPolicy, RewardRequest, Run, Score, Scorer
from s1.generate.rollout import GroupJob, Rollout, TraceJob
from s1.generate.scripted import ScriptedEngine
from s1.generate.trace import Close, Move, Part, Sample, Trace
from s1.generate.traces import branch_seed, seed_of
from s1.records import Ending
from tests.support.words import babbler

SAMPLING = Sampling(1.0)
PROMPT = Trace((5, 6))


@dataclass(frozen=True)
class Upto:
    """Thinks up to `tokens` in all."""

    tokens: int

    def next(self, trace: Trace) -> Move:
        missing = self.tokens - trace.thinking_tokens
        return Sample(missing, (), Part.THINKING) if missing > 0 else Close(trace, Ending.NONE)


@dataclass(frozen=True)
class Tree:
    """Two branches of 4 tokens; the one with the higher reward forks into three of 8, and the best of these wins."""

    def next(self, group: Group) -> GroupMove:
        closed = len(group.closed)
        if not closed:
            return Run(tuple(Branch(group.start, Upto(4), (n,)) for n in range(2)))
        unjudged = tuple(index for index in range(closed) if index not in group.rewards)
        if unjudged:
            return Score(unjudged)
        best = max(range(closed), key=lambda index: group.rewards[index][-1])
        trace = group.closed[best].close.trace
        if closed == 2:
            return Run(tuple(Branch(trace, Upto(8), (best, n)) for n in range(3)))
        return CloseGroup(group.closed[best].close, group.thinking_tokens)


@dataclass(frozen=True)
class Pair:
    """Two branches of 4 tokens; the second is the answer."""

    def next(self, group: Group) -> GroupMove:
        if group.closed:
            return CloseGroup(group.closed[1].close)
        return Run((Branch(group.start, Upto(4), (0,)), Branch(group.start, Upto(4), (1,))))


class LastToken:
    """The reward of a trace is its last token."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def score(self, requests: Sequence[RewardRequest]) -> Sequence[tuple[float, ...]]:
        self.calls.append([each.question_id for each in requests])
        return [(0.0, float(each.trace.ids[-1])) for each in requests]


def group_job(name: str, store: Continuations, policy: GroupPolicy, scorer: Scorer | None = None) -> GroupJob:
    group = Group(name, sample=0, samples=1, start=PROMPT)
    return GroupJob(name, "owner", policy, group, SAMPLING, lambda path: branch_seed(0, name, path), store, scorer)


def engine() -> ScriptedEngine:
    return ScriptedEngine(babbler(90, end_every=10**9, stop=1), 96, 200)


def test_rounds_forks_and_rewards_lead_to_the_best_branch(tmp_path: Path) -> None:
    with Continuations(tmp_path) as store:
        rollout = Rollout(engine())
        ((job, close),) = rollout.run([group_job("q", store, Tree(), LastToken())])
    assert job.name == "q" and close.group is not None
    # 2 branches of 4 tokens, and 3 forks that sample 4 more each: the forked prefix counts once
    assert (close.group.branches, close.group.sampled_tokens, close.group.thinking_tokens) == (5, 20, 20)
    assert close.trace.thinking_tokens in (4, 8)
    assert rollout.usage.engine_tokens == {"owner": 20}


def test_groups_that_wait_for_rewards_are_judged_in_one_call(tmp_path: Path) -> None:
    scorer = LastToken()
    with Continuations(tmp_path) as store:
        names = [job.name for job, _ in Rollout(engine()).run(group_job(q, store, Tree(), scorer) for q in "ab")]
    assert sorted(names) == ["a", "b"]
    assert scorer.calls == [["a", "a", "b", "b"], ["a"] * 3 + ["b"] * 3]


def test_groups_of_different_reward_models_are_judged_by_their_own(tmp_path: Path) -> None:
    one, other = LastToken(), LastToken()
    with Continuations(tmp_path) as store:
        list(Rollout(engine()).run([group_job("a", store, Tree(), one), group_job("b", store, Tree(), other)]))
    assert (one.calls, other.calls) == ([["a"] * 2, ["a"] * 3], [["b"] * 2, ["b"] * 3])


def test_a_group_that_runs_again_samples_nothing(tmp_path: Path) -> None:
    closes = []
    for tokens in (20, 0):
        with Continuations(tmp_path) as store:
            rollout = Rollout(engine())
            ((_, close),) = rollout.run([group_job("q", store, Tree(), LastToken())])
        closes.append(close)
        assert rollout.usage.engine_tokens["owner"] == tokens
    assert closes[0] == closes[1]


def test_a_branch_and_an_ordinary_sample_of_the_same_number_share_their_tokens(tmp_path: Path) -> None:
    with Continuations(tmp_path) as store:
        running = engine()
        ordinary = TraceJob("plain", "", Upto(10), PROMPT, SAMPLING, seed_of(0, "q", 1), store)
        closed = dict(Rollout(running).run([ordinary, replace(group_job("q", store, Pair()), name="group")]))
        traces = {job.name: close.trace for job, close in closed.items()}
    assert traces["group"].ids == traces["plain"].ids[:6]
    assert len(running.requests) == 2  # sample 0 of the group, and sample 1 once for both


def test_the_thinking_of_an_answer_is_that_of_its_trace_unless_the_policy_says_otherwise(tmp_path: Path) -> None:
    with Continuations(tmp_path) as store:
        ((_, close),) = Rollout(engine()).run([group_job("q", store, Pair())])
    assert close.group is not None
    assert (close.group.sampled_tokens, close.group.thinking_tokens) == (8, 4)


def test_paths_have_seeds_of_their_own() -> None:
    assert branch_seed(3, "q", (2,)) == seed_of(3, "q", 2)
    paths = [(2,), (2, 0), (20,), (0, 2), (2, 0, 0)]
    assert len({branch_seed(3, "q", path) for path in paths}) == len(paths)


def test_rewards_without_a_reward_model_are_refused(tmp_path: Path) -> None:
    with Continuations(tmp_path) as store, pytest.raises(ConfigError, match="reward null"):
        list(Rollout(engine()).run([group_job("q", store, Tree())]))


def test_a_round_without_branches_is_a_fault_of_the_policy() -> None:
    with pytest.raises(ValueError, match="without branches"):
        Run(())
