"""A group: all traces that a method runs to answer one question once, such as the tries of rejection sampling.

A group policy looks at the traces that have closed and decides what happens next. Each trace of a group is a *branch*:
an ordinary policy runs it from where it starts, and its path decides its seed. A branch may start from the prompt, or
fork from any prefix of another branch's trace.

    policy.next(group) -> Run         run these branches until all of them are closed
                        | Score       request rewards for these closed branches
                        | CloseGroup  the group is finished; this trace is the answer

The driver (s1/generate/rollout.py) runs the branches of all groups together with ordinary traces, serves them from the
same store, and calls `next` again when everything that a move requested is there. So a policy is a pure function of the
group, and a group that is run again follows the same branches without new tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from s1.generate.trace import Close, GroupTotals, Policy, Trace

Path: TypeAlias = "tuple[int, ...]"  # (3,) has the seed of ordinary sample 3; a longer path has a seed of its own
Rewards: TypeAlias = "tuple[float, ...]"  # one per step of a trace, in order; a single one if it is judged as a whole


@dataclass(frozen=True)
class Branch:
    """A trace to run: `policy` continues `trace` until it closes."""

    trace: Trace  # Group.start, or the prefix of another branch's trace to fork
    policy: Policy
    path: Path  # decides the seed; branches that continue the same prefix need different paths


@dataclass(frozen=True)
class ClosedBranch:
    branch: Branch
    close: Close

    @property
    def sampled_tokens(self) -> int:
        """Tokens sampled for this branch alone, without the prefix that it was forked from."""
        return self.close.trace.sampled_tokens - self.branch.trace.sampled_tokens

    @property
    def thinking_tokens(self) -> int:
        """Thinking of this branch alone, without the prefix that it was forked from."""
        return self.close.trace.thinking_tokens - self.branch.trace.thinking_tokens


@dataclass(frozen=True)
class Group:
    """Everything that is known about one group."""

    question_id: str
    sample: int  # which of the `samples` answers to this question
    samples: int
    start: Trace  # the prompt, and the delimiter that opens the thinking if the chat template writes it
    rounds: tuple[tuple[ClosedBranch, ...], ...] = ()  # one per `Run`, in its order
    rewards: Mapping[int, Rewards] = field(default_factory=dict, hash=False)  # by index into `closed`

    @property
    def closed(self) -> tuple[ClosedBranch, ...]:
        """The branches of all rounds, in order."""
        return tuple(each for closed in self.rounds for each in closed)

    @property
    def sampled_tokens(self) -> int:
        """Tokens sampled for all branches; a forked prefix counts once."""
        return sum(each.sampled_tokens for each in self.closed)

    @property
    def thinking_tokens(self) -> int:
        """Thinking of all branches; a forked prefix counts once."""
        return sum(each.thinking_tokens for each in self.closed)

    def with_round(self, closed: Sequence[ClosedBranch]) -> Group:
        return replace(self, rounds=(*self.rounds, tuple(closed)))

    def with_rewards(self, rewards: Mapping[int, Rewards]) -> Group:
        return replace(self, rewards={**self.rewards, **rewards})


@dataclass(frozen=True)
class Run:
    """Run these branches, at least one. `next` is called when all of them are closed."""

    branches: tuple[Branch, ...]

    def __post_init__(self) -> None:
        if not self.branches:
            raise ValueError("branches (): a round without branches never ends. Close the group instead.")


@dataclass(frozen=True)
class Score:
    """Request the rewards of these branches (indices into Group.closed), at least one."""

    branches: tuple[int, ...]


@dataclass(frozen=True)
class CloseGroup:
    """The group is finished, and `close` is its answer; it need not be the trace of a branch."""

    close: Close
    thinking_tokens: int | None = None  # of the row; None: those of the trace in `close`


GroupMove: TypeAlias = "Run | Score | CloseGroup"


class GroupPolicy(Protocol):
    """Decides the next move as a pure function of the group; sees no engine, tokenizer or store."""

    def next(self, group: Group) -> GroupMove: ...


@dataclass(frozen=True)
class RewardRequest:
    """A closed branch of a group whose rewards are requested."""

    question_id: str
    trace: Trace


class Scorer(Protocol):
    """Judges traces with a reward model. Must not depend on which traces are judged together."""

    def score(self, requests: Sequence[RewardRequest]) -> Sequence[Rewards]:
        """The rewards of each trace, in the order of the requests."""
        ...


def closed_with_totals(group: Group, move: CloseGroup) -> Close:
    """The answer of a group together with what all its branches took."""
    thinking = move.close.trace.thinking_tokens if move.thinking_tokens is None else move.thinking_tokens
    return replace(move.close, group=GroupTotals(len(group.closed), group.sampled_tokens, thinking))
