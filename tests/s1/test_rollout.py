"""Driving many traces at once: one request per stream, the largest, and every trace out as soon as it is closed."""

from __future__ import annotations

from pathlib import Path

import pytest
from words import DIALECT, Storyteller, WordTokenizer, budget

from s1.config import Budget
from s1.dialect import dialect_ids
from s1.generate.continuations import Continuations
from s1.generate.engine import EngineError, Sampling
from s1.generate.policy import policy_of
from s1.generate.rollout import Job, Rollout
from s1.generate.scripted import ScriptedEngine
from s1.generate.trace import Part, Trace

CONTEXT = 200
STORY = " Six plus seven .\n| Six and four is ten .\n| Three more .\n| Thirteen .\n| So it is .\n|"


@pytest.fixture
def tokenizer() -> WordTokenizer:
    return WordTokenizer()


@pytest.fixture
def engine(tokenizer: WordTokenizer) -> ScriptedEngine:
    return ScriptedEngine(Storyteller(tokenizer, STORY), len(tokenizer), CONTEXT)


def jobs(tokenizer: WordTokenizer, store: Continuations, *budgets: Budget) -> list[Job]:
    ids = dialect_ids(DIALECT, tokenizer)
    prompt = Trace(tuple(tokenizer.encode("<|im_start|>assistant\n")))
    return [
        Job(
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
    assert rollout.engine_tokens.total() == 6 + 8 + answers - 2  # 4 and 5 force the same text, by the newline rule


def test_tokens_are_charged_to_the_demand_that_caused_them(
    tmp_path: Path, tokenizer: WordTokenizer, engine: ScriptedEngine
) -> None:
    with Continuations(tmp_path) as store:
        rollout = Rollout(engine)
        list(rollout.run(jobs(tokenizer, store, budget(2), budget(3))))
    assert rollout.engine_tokens == {"owner 0": 2, "owner 1": 3 + 2}


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
    assert rollout.engine_tokens.total() == one.trace.sampled_tokens + other.trace.sampled_tokens


def test_a_trace_comes_out_before_the_slower_ones_are_done(
    tmp_path: Path, tokenizer: WordTokenizer, engine: ScriptedEngine
) -> None:
    with Continuations(tmp_path) as store:
        closed = Rollout(engine).run(jobs(tokenizer, store, budget(waits=4), budget(3)))
        job, _ = next(closed)
        assert job.name == "1"
        assert not engine.is_idle


@pytest.mark.parametrize("piece_tokens", [1, 2, 3, 7])
def test_pieces_change_no_trace_and_no_cost(
    tmp_path: Path, tokenizer: WordTokenizer, engine: ScriptedEngine, piece_tokens: int
) -> None:
    wanted = [budget(3), budget(9), budget(waits=3), budget(waits=3, continuation="")]
    with Continuations(tmp_path / "whole") as one, Continuations(tmp_path / "pieces") as other:
        whole, pieces = Rollout(engine), Rollout(engine, piece_tokens)
        expected = {job.name: close for job, close in whole.run(jobs(tokenizer, one, *wanted))}
        assert {job.name: close for job, close in pieces.run(jobs(tokenizer, other, *wanted))} == expected
    assert pieces.engine_tokens.total() == whole.engine_tokens.total()


def test_what_the_engine_refuses_ends_the_run(tmp_path: Path, tokenizer: WordTokenizer) -> None:
    short = ScriptedEngine(Storyteller(tokenizer, STORY), len(tokenizer), 20)
    with Continuations(tmp_path) as store, pytest.raises(EngineError, match="above the context of 20"):
        list(Rollout(short).run(jobs(tokenizer, store, budget(100))))
