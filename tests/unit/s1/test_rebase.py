"""REBASE: how the width is shared, the tree over a scripted model and judge, and what a second run costs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from s1.config.schema import Budget, ComputeRequest, Forcing, Rebase, RebaseVote
from s1.generate.audit import audit
from s1.generate.continuations import Continuations
from s1.generate.engine import GenerationRequest, Sampling
from s1.generate.group import Group, GroupMove, GroupPolicy, RewardRequest
from s1.generate.methods.method import GroupContext
from s1.generate.methods.rebase import METHOD, shares
from s1.generate.methods.registry import method_of
from s1.generate.rollout import GroupJob, Rollout
from s1.generate.scripted import ScriptedEngine
from s1.generate.trace import Close, Part, new_trace
from s1.generate.traces import branch_seed
from s1.models.thinking_format import decode, stops_of, thinking_format_ids
from s1.records import AnswerEnd, Ending, Outcome, ScoreRow
from tests.support.words import THINKING_FORMAT, WordTokenizer

CONTEXT = 200
WORDS = (" seven", " eight", " nine")


def rebase(
    width: int, vote: RebaseVote = RebaseVote.MAJORITY, steps_max: int = 9, temperature: float = 0.2
) -> ComputeRequest:
    search = Rebase(width, temperature, steps_max, ["\n"], vote)
    return ComputeRequest(Budget(Forcing.REBASE, None, 0, 0, "", 4, rebase=search))


# --------------------------------------------------------------------------------------------------- allocation


@pytest.mark.parametrize(
    ("rewards", "width", "expected"),
    [
        # exp(r / 0.2), divided by the first: 1, e^-2, e^-2, e^-4. 16/1.28898 = 12.41, 3 of 0.28898: 1.40, 1 of 0.15365
        ([0.9, 0.1, 0.5, 0.5], 16, [13, 0, 2, 1]),
        ([1.0, 1.0, 1.0], 16, [6, 5, 5]),  # ceil 16/3, ceil 10/2, 5
        ([0.5] * 16, 16, [1] * 16),
        ([0.0, 0.2], 10, [2, 8]),  # e/(1 + e) = 0.731: ceil 7.31, the rest
        ([0.8, 0.9], 1, [0, 1]),
        ([0.0, 1000.0], 5, [0, 5]),  # exp(5000) has no float
        ([0.3], 7, [7]),
    ],
)
def test_the_width_is_shared_from_the_highest_reward_down(
    rewards: list[float], width: int, expected: list[int]
) -> None:
    assert shares(rewards, width, 0.2) == expected


def test_shares_add_up_to_the_width_for_any_rewards() -> None:
    for number in range(300):
        rewards = [_unit(f"{number} {place}") for place in range(1 + number % 16)]
        width = 1 + number % 23
        given = shares(rewards, width, 0.05 + number / 100)
        assert sum(given) == width
        assert min(given) >= 0
        by_reward = [given[place] for place in sorted(range(len(rewards)), key=lambda place: -rewards[place])]
        assert by_reward == sorted(by_reward, reverse=True)


def _unit(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


# ------------------------------------------------------------------------------------------------------ the tree


class Liner:
    """Thinks `lines` lines of one word that the seed chooses, ends, and answers the number of its last word."""

    def __init__(self, tokenizer: WordTokenizer, lines: int = 2) -> None:
        self.start, self.stop, self.newline = tokenizer.encode("<|im_start|><|im_end|>\n")
        self.think, self.answer = (tokenizer.encode(word)[0] for word in ("think", "answer"))
        self.words = [tokenizer.encode(word)[0] for word in WORDS]
        self.numbers = [tokenizer.encode(number)[0] for number in (" 7", " 8", " 9")]
        self.lines = lines

    def __call__(self, ids: Sequence[int], request: GenerationRequest, forbidden: frozenset[int]) -> int:
        thinking = list(ids[ids.index(self.think) + 2 :])
        if self.answer in thinking:
            return self._answers(thinking)
        if thinking and thinking[-1] in self.words:
            return self.newline
        if thinking.count(self.newline) == self.lines:
            return self.start
        return self.words[int(_unit(f"{request.seed} {len(thinking)}") * 3)]

    def _answers(self, thinking: list[int]) -> int:
        if thinking[-1] in self.numbers:
            return self.stop
        words = [token for token in thinking if token in self.words] or self.words
        return self.numbers[self.words.index(words[-1])]


class LastWord:
    """The reward of a trace is a number by its last word."""

    def __init__(self, tokenizer: WordTokenizer, rewards: Sequence[float]) -> None:
        self.by_word: dict[str, float] = dict(zip(WORDS, rewards, strict=True))
        self.tokenizer = tokenizer
        self.judged: list[str] = []

    def score(self, requests: Sequence[RewardRequest]) -> Sequence[tuple[float, ...]]:
        texts = [decode(each.trace.part_ids(Part.THINKING), self.tokenizer) for each in requests]
        self.judged += texts
        return [(self.by_word[f" {text.split()[-1]}"],) for text in texts]


class Watched:
    """A policy, and the groups that it was asked about."""

    def __init__(self, policy: GroupPolicy) -> None:
        self.policy, self.groups = policy, list[Group]()

    def next(self, group: Group) -> GroupMove:
        self.groups.append(group)
        return self.policy.next(group)


class Search:
    """One question under REBASE, with a scripted model and judge."""

    def __init__(self, request: ComputeRequest, rewards: Sequence[float] = (0.1, 0.5, 0.9), lines: int = 2) -> None:
        self.tokenizer = WordTokenizer()
        self.engine = ScriptedEngine(Liner(self.tokenizer, lines), len(self.tokenizer), CONTEXT)
        self.judge = LastWord(self.tokenizer, rewards)
        ids = thinking_format_ids(THINKING_FORMAT, self.tokenizer)
        context = GroupContext(CONTEXT, (), self._answer, lambda field, texts: stops_of(field, texts, self.tokenizer))
        self.policy = Watched(METHOD.group_policy(request, ids, context))

    def _answer(self, close: Close) -> str:
        return "Final Answer:" + decode(close.trace.part_ids(Part.ANSWER), self.tokenizer)

    def run(self, store: Path, sample: int = 0) -> Close:
        prompt = tuple(self.tokenizer.encode("<|im_start|>user\n6 + 7 ?<|im_end|>\n<|im_start|>assistant\n"))
        group = Group("q0", sample, samples=2, start=new_trace(prompt))
        with Continuations(store) as continuations:
            job = GroupJob(
                "only",
                "owner",
                self.policy,
                group,
                Sampling(1.0),
                lambda path: branch_seed(0, "q0", path),
                continuations,
                self.judge,
            )
            self.rollout = Rollout(self.engine)
            ((_, closed),) = self.rollout.run([job])
        return closed

    @property
    def group(self) -> Group:
        return self.policy.groups[-1]

    def thinking(self, close: Close) -> list[str]:
        return decode(close.trace.part_ids(Part.THINKING), self.tokenizer).split()


def test_open_branches_share_the_width_by_their_rewards(tmp_path: Path) -> None:
    search = Search(rebase(width=6))
    search.run(tmp_path)
    first, second, third = search.group.rounds
    words = [search.thinking(each.close)[0] for each in first]
    reward = {"seven": 0.1, "eight": 0.5, "nine": 0.9}
    expected = shares([reward[word] for word in words], 6, 0.2)
    children = [sum(each.branch.path[:-1] == parent.branch.path for each in second) for parent in first]
    assert len(set(words)) > 1
    assert children == expected
    assert [each.branch.path for each in first] == [(0, number) for number in range(6)]
    assert all(each.branch.trace == first[each.branch.path[1]].close.trace for each in second)
    assert len(third) == 6  # each line ends in a new line, so one more step ends the thinking
    assert all(each.close.ending is Ending.NATURAL for each in third)


def test_all_branches_are_paid_for_and_a_shared_step_once(tmp_path: Path) -> None:
    search = Search(rebase(width=6))
    close = search.run(tmp_path)
    assert close.group is not None
    assert close.group.branches == 18
    assert close.group.thinking_tokens == 12 * 2  # a word and its new line; the third step thinks nothing
    assert close.group.sampled_tokens == 12 * 2 + 6 * (1 + 2)  # the end of the thinking; a number and its stop
    assert search.rollout.usage.engine_tokens["owner"] == close.group.sampled_tokens
    assert search.thinking(close)[0] in ("seven", "eight", "nine")


def test_branches_vote(tmp_path: Path) -> None:
    search = Search(rebase(width=6))
    close = search.run(tmp_path)
    last = [search.thinking(each.close)[-1] for each in search.group.rounds[-1]]
    winner = max(dict.fromkeys(last), key=last.count)
    assert search.thinking(close)[-1] == winner


def test_rewards_weigh_votes_if_asked_to(tmp_path: Path) -> None:
    """At this temperature every branch goes on; one word is worth everything, the more common ones nothing."""
    even = rebase(width=6, temperature=1e12)
    last = _last_words(search := Search(even), search.run(tmp_path / "even"))
    rare = min(set(last), key=last.count)
    rewards = [float(word.strip() == rare) for word in WORDS]
    weighted = Search(rebase(width=6, temperature=1e12, vote=RebaseVote.WEIGHTED), rewards)
    close = weighted.run(tmp_path / "weighted")
    assert _last_words(weighted, close) == last
    assert last.count(rare) < 3
    assert weighted.thinking(close)[-1] == rare


def _last_words(search: Search, close: Close) -> list[str]:
    """Of all branches that voted for the answer or another one."""
    assert close.group is not None
    return [search.thinking(each.close)[-1] for each in search.group.rounds[-1]]


def test_a_rerun_takes_every_branch_from_the_store(tmp_path: Path) -> None:
    first, second = Search(rebase(width=6)), Search(rebase(width=6))
    closed = first.run(tmp_path)
    assert second.run(tmp_path) == closed
    assert second.engine.requests == []
    assert second.group.rounds == first.group.rounds


def test_samples_of_a_question_are_searches_of_their_own(tmp_path: Path) -> None:
    searches = [Search(rebase(width=6)), Search(rebase(width=6))]
    for sample, search in enumerate(searches):
        search.run(tmp_path, sample)
    paths = [{each.branch.path for each in search.group.closed} for search in searches]
    assert not paths[0] & paths[1]
    assert searches[1].engine.requests


def test_the_last_step_ends_the_thinking_of_open_branches(tmp_path: Path) -> None:
    search = Search(rebase(width=4, steps_max=2), lines=30)
    close = search.run(tmp_path)
    assert [len(each) for each in search.group.rounds] == [4, 4, 4]
    assert all(each.close.ending is Ending.FORCED for each in search.group.rounds[-1])
    assert len(search.thinking(close)) == 2
    assert close.trace.segments_of(Part.ANSWER)


def test_a_single_branch_is_an_ordinary_trace_and_asks_no_judge(tmp_path: Path) -> None:
    search = Search(rebase(width=1))
    close = search.run(tmp_path)
    assert search.judge.judged == []
    assert (close.ending, len(search.thinking(close))) == (Ending.NATURAL, 2)
    assert close.trace.waits == 0  # the end of a step is no suppressed end of the thinking


def test_a_thinking_that_ends_within_a_step_is_answered_at_once(tmp_path: Path) -> None:
    search = Search(rebase(width=3), lines=0)
    search.run(tmp_path)
    (only,) = search.group.rounds
    assert [each.close.ending for each in only] == [Ending.NATURAL] * 3


# ---------------------------------------------------------------------------------------------------- the method


def test_a_series_is_ordered_by_width() -> None:
    wide, narrow = rebase(16), rebase(4)
    assert method_of(wide) is METHOD
    assert METHOD.family(wide) == METHOD.family(narrow)
    assert METHOD.amount(narrow) < METHOD.amount(wide)
    assert [METHOD.label(each) for each in (narrow, rebase(16, RebaseVote.WEIGHTED))] == [
        "REBASE 4",
        "REBASE 16 weighted",
    ]
    assert METHOD.family(rebase(4, RebaseVote.WEIGHTED)) != METHOD.family(narrow)
    assert METHOD.expected_thinking_tokens(wide, 30) == 480


def test_answers_of_fewer_branches_than_requested_make_the_point_invalid() -> None:
    row = ScoreRow("q0", 0, "7", "7", True, Outcome.ANSWERED, Ending.NATURAL, 40, 2, AnswerEnd.STOP, 0, 0, 60)
    rows = [replace(row, branches=9), replace(row, question_id="q1", branches=7)]
    assert audit(rows, rebase(8)).problems == ["1 of 2 answers come from fewer than 8 branches (first: question q1)."]
    assert audit(rows, rebase(7)).valid
