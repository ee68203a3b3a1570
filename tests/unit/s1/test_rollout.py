"""Driving many traces at once: one request per stream, the largest, and every trace out as soon as it is closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from s1.config.schema import Budget
from s1.generate.continuations import Continuations
from s1.generate.engine import EngineError, Sampling
from s1.generate.rollout import Rollout, TraceJob
from s1.generate.scripted import ScriptedEngine
from s1.generate.trace import Close, Keep, Move, Part, Sample, Trace
from s1.models.thinking_format import thinking_format_ids
from s1.records import Ending
from tests.support.words import THINKING_FORMAT, Storyteller, WordTokenizer, babbler, budget, policy_of

CONTEXT = 200
STORY = " Six plus seven .\n| Six and four is ten .\n| Three more .\n| Thirteen .\n| So it is .\n|"


@pytest.fixture
def tokenizer() -> WordTokenizer:
    return WordTokenizer()


@pytest.fixture
def engine(tokenizer: WordTokenizer) -> ScriptedEngine:
    return ScriptedEngine(Storyteller(tokenizer, STORY), len(tokenizer), CONTEXT)


def jobs(tokenizer: WordTokenizer, store: Continuations, *budgets: Budget) -> list[TraceJob]:
    ids = thinking_format_ids(THINKING_FORMAT, tokenizer)
    prompt = Trace(tuple(tokenizer.encode("<|im_start|>assistant\n")))
    return [
        TraceJob(
            str(i),
            f"owner {i}",
            policy_of(each, ids, tuple(tokenizer.encode("Wait")), CONTEXT),
            prompt,
            Sampling(0),
            0,
            store,
        )
        for i, each in enumerate(budgets)
    ]


def test_budgets_of_one_question_think_once(tmp_path: Path, tokenizer: WordTokenizer, engine: ScriptedEngine) -> None:
    """Six budgets and a Wait: the thinking costs what the longest costs, the answers a few tokens each."""
    wanted = [budget(most) for most in (1, 2, 3, 4, 5, None)] + [budget(waits=1)]
    with Continuations(tmp_path) as store:
        rollout = Rollout(engine)
        closed = {job.name: close.trace for job, close in rollout.run(jobs(tokenizer, store, *wanted))}
    thinking = [request for request in engine.requests if len(request.stop_ids) == 2]
    assert len(thinking) == 2  # the first thought, and what follows Wait
    assert [closed[str(i)].thinking_tokens for i in range(7)] == [1, 2, 3, 4, 5, 5, 13]
    answers = sum(trace.segments_of(Part.ANSWER)[0].sampled_tokens for trace in closed.values())
    assert (
        rollout.usage.engine_tokens.total() == 6 + 8 + answers - 2
    )  # 4 and 5 force the same text, by the newline rule


def test_tokens_are_charged_to_the_demand_that_caused_them(
    tmp_path: Path, tokenizer: WordTokenizer, engine: ScriptedEngine
) -> None:
    with Continuations(tmp_path) as store:
        rollout = Rollout(engine)
        list(rollout.run(jobs(tokenizer, store, budget(2), budget(3))))
    assert rollout.usage.engine_tokens == {"owner 0": 2, "owner 1": 3 + 2}


def test_a_second_run_asks_the_engine_for_nothing(
    tmp_path: Path, tokenizer: WordTokenizer, engine: ScriptedEngine
) -> None:
    with Continuations(tmp_path) as store:
        first = [close for _, close in Rollout(engine).run(jobs(tokenizer, store, budget(4), budget(waits=3)))]
    asked = len(engine.requests)
    with Continuations(tmp_path) as store:
        second = [close for _, close in Rollout(engine).run(jobs(tokenizer, store, budget(4), budget(waits=3)))]
    assert len(engine.requests) == asked
    assert sorted(map(repr, first)) == sorted(map(repr, second))


def test_stores_that_are_not_shared_do_not_share(
    tmp_path: Path, tokenizer: WordTokenizer, engine: ScriptedEngine
) -> None:
    with Continuations(tmp_path / "a") as a, Continuations(tmp_path / "b") as b:
        rollout = Rollout(engine)
        alike = [*jobs(tokenizer, a, budget(4)), *jobs(tokenizer, b, budget(4))]
        one, other = [close for _, close in rollout.run(alike)]
    assert one == other
    assert rollout.usage.engine_tokens.total() == one.trace.sampled_tokens + other.trace.sampled_tokens


def test_a_trace_comes_out_before_the_slower_ones_are_done(
    tmp_path: Path, tokenizer: WordTokenizer, engine: ScriptedEngine
) -> None:
    with Continuations(tmp_path) as store:
        closed = Rollout(engine).run(jobs(tokenizer, store, budget(waits=4), budget(3)))
        job, _ = next(closed)
        assert job.name == "1"
        assert not engine.is_idle


def test_a_small_budget_is_answered_while_the_large_one_is_still_thinking(
    tmp_path: Path, tokenizer: WordTokenizer
) -> None:
    """Both wait for one stream and one request; the small one does not wait for that request's end."""
    engine = ScriptedEngine(Storyteller(tokenizer, " on and on" * 30), len(tokenizer), CONTEXT)
    with Continuations(tmp_path) as store:
        closed = Rollout(engine).run(jobs(tokenizer, store, budget(90), budget(10)))
        job, close = next(closed)
        assert (job.name, close.trace.thinking_tokens) == ("1", 10)
        thinking = [request for request in engine.requests if len(request.stop_ids) == 2]
        assert [request.max_tokens for request in thinking] == [90]
        assert not engine.is_idle
        assert [job.name for job, _ in closed] == ["0"]


class Rehearsing:
    """Thinks a little with other stops, which is another stream, takes that back, and then wants `tokens`."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def next(self, trace: Trace) -> Move:
        if trace.segments:
            return Close(trace, Ending.NATURAL) if trace.dropped else Keep(0)
        return Sample(self.tokens if trace.dropped else 3, () if trace.dropped else ((1,),), Part.THINKING)


class Direct(Rehearsing):
    def next(self, trace: Trace) -> Move:
        return Close(trace, Ending.NATURAL) if trace.segments else Sample(self.tokens, (), Part.THINKING)


def test_who_comes_later_and_wants_more_asks_for_the_rest_only(tmp_path: Path) -> None:
    """A demand that meets an open request of its stream, too small for it, continues it afterwards."""
    engine = ScriptedEngine(babbler(90, end_every=1000, stop=1), 96, CONTEXT)
    with Continuations(tmp_path) as store:
        late, early = (
            TraceJob(each.tokens, "", each, Trace((5, 6)), Sampling(0), 0, store)
            for each in (Rehearsing(40), Direct(20))
        )
        traces = {job.name: close.trace for job, close in Rollout(engine).run([late, early])}
    assert traces[40].ids[:22] == traces[20].ids
    assert [(len(each.prompt_ids), each.max_tokens, each.already_sampled) for each in engine.requests] == [
        (2, 3, 0),
        (2, 20, 0),
        (22, 20, 20),
    ]


def test_what_the_engine_refuses_ends_the_run(tmp_path: Path, tokenizer: WordTokenizer) -> None:
    short = ScriptedEngine(Storyteller(tokenizer, STORY), len(tokenizer), 20)
    with Continuations(tmp_path) as store, pytest.raises(EngineError, match="exceeds the context of 20"):
        list(Rollout(short).run(jobs(tokenizer, store, budget(100))))
