"""REBASE: tree search over steps, steered by a process reward model (Wu et al. 2024; paper, section 5.3, Figure 7).

    round 1     `width` branches think one step each
    each round  a branch that has ended its thinking has its answer, and its share of the width is spent; the rest of
                the width is shared among the open branches, by rewards, and each continues that often
    end         no branch is open; the answers vote

The shares of a round are those of the original code (thu-wyz/rebase): from the highest reward r down, a branch gets
ceil(rest of the width x its part of the sum of exp(r / temperature) over the branches that have not got theirs yet).
They add up to the rest of the width, so branches of low reward may get none. Of equal rewards, the earlier goes first.

A step ends at one of `step_ends`, which belongs to it. After `steps_max` steps, the thinking of open branches is ended
and they answer; the original drops them. The context limits each branch as in budget forcing (forcing.py).

The thinking tokens of an answer are those of all branches (Figure 7 counts so). The path of a branch decides its seed,
so a rerun finds every branch in the store. Rewards judge the thinking, not the answer behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from s1.config.reward import RewardForm
from s1.config.schema import Budget, Compat, ComputeRequest, ConfigError, Forcing, Generate, Rebase, RebaseVote
from s1.evaluate.graders import stated
from s1.generate.group import Branch, ClosedBranch, CloseGroup, Group, GroupMove, GroupPolicy, Run, Score
from s1.generate.methods.forcing import BudgetForcing, answer_reserve, require_fit
from s1.generate.methods.method import Amount, GroupContext, GroupMethod, conditions
from s1.generate.token_ids import joined
from s1.generate.trace import Close, Force, Move, Part, Sample, Trace
from s1.models.thinking_format import Ids, ThinkingFormatIds
from s1.records import Ending, ScoreRow

ROUNDING = 1e-9  # shares that exceed a whole number by less than this are that number


class RebaseMethod(GroupMethod):
    """REBASE; its amount is the width."""

    name = "rebase"

    def serves(self, request: ComputeRequest) -> bool:
        return request.budget.forcing is Forcing.REBASE

    def check(self, request: ComputeRequest, context_tokens: int) -> None:
        budget = request.budget
        if budget.compat is not Compat.CORRECTED:
            raise ConfigError("budget.compat s1: of budget forcing. Set budget.compat=corrected, or choose budget=max.")
        for field in ("max_thinking_tokens", "min_thinking_tokens", "waits"):
            if value := getattr(budget, field):
                raise ConfigError(
                    f"budget.{field} {value}: budget=rebase forces no length. Choose budget=max, or set it to"
                    f" {'null' if field == 'max_thinking_tokens' else 0}."
                )
        require_fit(budget, answer_reserve(budget, context_tokens), context_tokens)

    def check_samples(self, request: ComputeRequest, generate: Generate) -> None:
        if generate.temperature == 0 and _settings(request).width > 1:
            raise ConfigError(
                "generate.temperature 0: the branches of budget=rebase would be equal. Choose generate=sampled"
                " generate.samples=1."
            )

    def family(self, request: ComputeRequest) -> Mapping[str, str | None]:
        settings = _settings(request)
        return {
            "method": self.name,
            "vote": settings.vote.value,
            "temperature": str(settings.temperature),
            "steps_max": str(settings.steps_max),
            "step_ends": repr(settings.step_ends),
            **conditions(request),
        }

    def amount(self, request: ComputeRequest) -> Amount:
        return (_settings(request).width,)

    def label(self, request: ComputeRequest) -> str:
        settings = _settings(request)
        weighted = " weighted" if settings.vote is RebaseVote.WEIGHTED else ""
        return f"REBASE {settings.width}{weighted}"

    def effective_budget(self, request: ComputeRequest) -> Budget:
        """Without the continuation string, which is never appended."""
        return replace(request.budget, continuation="")

    def reward_form(self, request: ComputeRequest) -> RewardForm | None:
        return RewardForm.PROCESS

    def problems(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        width = _settings(request).width
        few = [score for score in scores if (score.branches or 0) < width]
        if few:
            yield (
                f"{len(few)} of {len(scores)} answers come from fewer than {width} branches"
                f" (first: question {few[0].question_id})."
            )

    def unmet(self, request: ComputeRequest, scores: Sequence[ScoreRow]) -> Iterator[str]:
        cut = [score for score in scores if score.ending is Ending.FORCED]
        if cut:
            yield (
                f"{len(cut)} of {len(scores)} answers come from thinking that was cut after"
                f" {_settings(request).steps_max} steps or by the context (first: question {cut[0].question_id})."
            )

    def expected_thinking_tokens(self, request: ComputeRequest, natural_tokens: int) -> int:
        return natural_tokens * _settings(request).width

    def group_policy(self, request: ComputeRequest, ids: ThinkingFormatIds, context: GroupContext) -> GroupPolicy:
        settings = _settings(request)
        step_ends = context.stops_of("budget.rebase.step_ends", settings.step_ends)
        forcing = BudgetForcing(request.budget, ids, (), context.context_tokens)
        return RebaseSearch(settings, forcing, step_ends, context)


METHOD = RebaseMethod()


def _settings(request: ComputeRequest) -> Rebase:
    if request.budget.rebase is None:
        raise ConfigError("budget.rebase null: nothing says how to search. Choose budget=rebase.")
    return request.budget.rebase


# ------------------------------------------------------------------------------------------------- one branch


@dataclass(frozen=True)
class OneStep:
    """Think up to the end of one step, and answer if the thinking ends before."""

    forcing: BudgetForcing
    step_ends: tuple[Ids, ...]
    segments_before: int  # of the trace that it continues

    def next(self, trace: Trace) -> Move:
        last = trace.segments[-1] if len(trace.segments) > self.segments_before else None
        if last is not None and last.part is Part.THINKING and last.ended_by and last.ended_by in self._only_steps:
            whole = replace(last, ids=joined((last.ids, last.ended_by)), ended_by=None)
            return Close(replace(trace, segments=(*trace.segments[:-1], whole)), Ending.NONE)
        move = self.forcing.next(trace)
        if isinstance(move, Sample) and move.part is Part.THINKING:
            return replace(move, stop_ids=(*move.stop_ids, *self._only_steps))
        return move

    @property
    def _only_steps(self) -> tuple[Ids, ...]:
        return tuple(each for each in self.step_ends if each not in self.forcing.ids.ends_of_thinking)


@dataclass(frozen=True)
class EndThinking:
    """End the thinking where it is, and answer."""

    forcing: BudgetForcing

    def next(self, trace: Trace) -> Move:
        if trace.segments[-1].part is Part.THINKING:
            return Force(self.forcing.ids.on_new_line(self.forcing.ids.forced_end, trace.ids[-1]), Part.DELIMITER)
        return self.forcing.next(trace)


# --------------------------------------------------------------------------------------------------- the search


@dataclass(frozen=True)
class RebaseSearch:
    """The policy of a group. A branch of the group is one step; it is open if it has no answer yet."""

    settings: Rebase
    forcing: BudgetForcing
    step_ends: tuple[Ids, ...]
    context: GroupContext

    def next(self, group: Group) -> GroupMove:
        if not group.rounds:
            return Run(tuple(self._step(group.start, (group.sample, number)) for number in range(self.settings.width)))
        numbered = list(enumerate(group.closed))
        opened = [(index, each) for index, each in numbered[-len(group.rounds[-1]) :] if _is_open(each)]
        leaves = [(index, each) for index, each in numbered if not _is_open(each)]
        asked = [index for index, _ in self._to_score(opened, leaves) if index not in group.rewards]
        if asked:
            return Score(tuple(asked))
        if not opened:
            return CloseGroup(self._elected(group, leaves), group.thinking_tokens)
        if len(group.rounds) >= self.settings.steps_max:
            return Run(tuple(Branch(each.close.trace, EndThinking(self.forcing), _path(each, 0)) for _, each in opened))
        rewards = [group.rewards[index][-1] if len(opened) > 1 else 0.0 for index, _ in opened]
        widths = shares(rewards, self.settings.width - len(leaves), self.settings.temperature)
        return Run(
            tuple(
                self._step(each.close.trace, _path(each, child))
                for (_, each), width in zip(opened, widths, strict=True)
                for child in range(width)
            )
        )

    def _to_score(
        self, opened: Sequence[tuple[int, ClosedBranch]], leaves: Sequence[tuple[int, ClosedBranch]]
    ) -> Sequence[tuple[int, ClosedBranch]]:
        """Branches whose rewards decide something now: those that compete for the width, or vote by weight."""
        if opened:
            return opened if len(opened) > 1 else ()
        return leaves if self.settings.vote is RebaseVote.WEIGHTED else ()

    def _step(self, trace: Trace, path: tuple[int, ...]) -> Branch:
        return Branch(trace, OneStep(self.forcing, self.step_ends, len(trace.segments)), path)

    def _elected(self, group: Group, leaves: Sequence[tuple[int, ClosedBranch]]) -> Close:
        """The first answer of the largest vote; an unreadable one does not vote. The first of all if none can."""
        votes: dict[str, float] = {}
        first: dict[str, Close] = {}
        for index, leaf in leaves:
            answer = stated(self.context.answer_text(leaf.close))
            if answer is not None:
                first.setdefault(answer, leaf.close)
                weight = 1.0 if self.settings.vote is RebaseVote.MAJORITY else group.rewards[index][-1]
                votes[answer] = votes.get(answer, 0.0) + weight
        return first[max(votes, key=lambda answer: votes[answer])] if votes else leaves[0][1].close


def shares(rewards: Sequence[float], width: int, temperature: float) -> list[int]:
    """How often each open branch continues, in the order of `rewards`; they add up to `width`."""
    highest = max(rewards)
    weights = [math.exp((reward - highest) / temperature) for reward in rewards]
    order = sorted(range(len(rewards)), key=lambda index: -rewards[index])
    result = [0] * len(rewards)
    for place, index in enumerate(order):
        rest = sum(weights[later] for later in order[place:])
        part = weights[index] / rest if rest else 1.0  # weights far below the highest round to 0
        result[index] = min(width, math.ceil(width * part - ROUNDING))
        width -= result[index]
    return result


def _is_open(each: ClosedBranch) -> bool:
    return each.close.trace.segments[-1].part is Part.THINKING


def _path(each: ClosedBranch, child: int) -> tuple[int, ...]:
    return (*each.branch.path, child)
