"""Budget forcing as decisions over token ids: golden traces to read, properties to trust."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1.config.schema import Budget, Compat, ConfigError, Forcing
from s1.generate.continuations import Continuations
from s1.generate.engine import Sampling
from s1.generate.methods.s1_original import auto_cap
from s1.generate.rollout import Rollout, TraceJob
from s1.generate.scripted import Script, ScriptedEngine
from s1.generate.trace import Close, Force, Part, Sample, Segment, TokenOrigin, Trace, advance
from s1.generate.trace_row import answer_end
from s1.models.thinking_format import ThinkingFormatIds, thinking_format_ids
from s1.records import AnswerEnd, Ending
from tests.support.words import THINKING_FORMAT, Storyteller, WordTokenizer, babbler, budget, policy_of, told

CONTEXT = 200
STORY = " Six plus seven .\n| Six and four is ten .\n| Three more .\n| Thirteen .\n| So it is .\n|"
S1 = Compat.S1

CASES: dict[str, tuple[str, Budget]] = {
    "ends-by-itself": (STORY, budget()),
    "reaches-the-cap": (STORY, budget(3)),
    "cap-at-a-line-end": (STORY, budget(5)),
    "waits-twice": (STORY, budget(waits=2)),
    "waits-until-the-cap": (STORY, budget(15, waits=4)),
    "continuation-cut-to-the-cap": (STORY, budget(6, waits=1, continuation="Wait , really ?")),
    "suppressed-without-string": (STORY, budget(waits=2, continuation="")),
    "minimum": (STORY, budget(min_thinking_tokens=14)),
    "end-of-turn-ends-the-thinking": (" Six plus seven .\n@", budget()),
    "end-exactly-at-the-cap": (" Six plus seven .|", budget(4)),
    "answer-runs-out": (STORY, budget(answer_tokens=1)),
    "no-forcing": (STORY, Budget(Forcing.NONE, None, 0, 0, "", 4)),
    "s1-ends-by-itself": (STORY, budget(50, compat=S1)),
    "s1-reaches-the-cap": (STORY, budget(3, compat=S1)),
    "s1-cap-at-a-line-end": (STORY, budget(6, compat=S1)),
    "s1-waits-twice": (STORY, budget(50, waits=2, compat=S1)),
    "s1-length-leaves-the-wait-loop": (STORY, budget(3, waits=2, compat=S1)),
    "s1-cut-after-a-stop-has-the-plain-marker": (STORY, budget(9, waits=1, compat=S1)),
    "s1-suppressed-without-string": (STORY, budget(50, waits=2, continuation="", compat=S1)),
    "s1-end-of-turn-is-ignored-too": (" Six plus seven .\n@ Thirteen .\n|", budget(50, waits=1, compat=S1)),
}


@contextmanager
def store() -> Iterator[Continuations]:
    with tempfile.TemporaryDirectory() as directory, Continuations(Path(directory)) as continuations:
        yield continuations


def close(story: str, wanted: Budget) -> tuple[Close, WordTokenizer]:
    tokenizer = WordTokenizer()
    ids = thinking_format_ids(THINKING_FORMAT, tokenizer)
    policy = policy_of(wanted, ids, tuple(tokenizer.encode(wanted.continuation)), CONTEXT)
    prompt = tuple(tokenizer.encode("<|im_start|>user\n6 + 7 ?<|im_end|>\n<|im_start|>assistant\n"))
    engine = ScriptedEngine(Storyteller(tokenizer, story), len(tokenizer), CONTEXT)
    with store() as continuations:
        job = TraceJob("only", "", policy, Trace(prompt), Sampling(0.0), 0, continuations)
        ((_, closed),) = Rollout(engine).run([job])
    return closed, tokenizer


@pytest.mark.parametrize("name", CASES)
def test_the_trace_reads_as_agreed(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"traces/{name}.txt", told(*close(*CASES[name])))


def test_a_question_too_long_for_the_context_closes_without_asking_anything() -> None:
    ids = thinking_format_ids(THINKING_FORMAT, WordTokenizer())
    for wanted in (budget(), budget(8, compat=S1), Budget(Forcing.NONE, None, 0, 0, "", 4)):
        _, move = advance(Trace((5,) * CONTEXT), policy_of(wanted, ids, (), CONTEXT))
        assert isinstance(move, Close)


def test_the_cap_of_a_question_leaves_room_for_markers_and_answer() -> None:
    closed, _ = close(" on and" + " on" * 300, budget(None, answer_tokens=7))
    markers = sum(len(segment.ids) for segment in closed.trace.segments_of(Part.DELIMITER))
    assert closed.ending is Ending.FORCED
    assert len(closed.trace.prompt_ids) + markers + closed.trace.thinking_tokens + 7 == CONTEXT


@pytest.mark.parametrize(("wanted", "reserve"), [(budget(answer_tokens=None), CONTEXT // 4), (budget(None), 4)])
def test_thinking_without_an_end_leaves_the_reserve(wanted: Budget, reserve: int) -> None:
    closed, _ = close(" on and" + " on" * 300, wanted)
    trace = closed.trace
    markers = sum(len(segment.ids) for segment in trace.segments_of(Part.DELIMITER))
    assert len(trace.prompt_ids) + markers + trace.thinking_tokens + reserve == CONTEXT
    assert trace.segments[-1].ended_by is not None


@pytest.mark.parametrize("compat", Compat)
def test_an_answer_goes_on_to_the_end_of_the_context_unless_it_is_capped(compat: Compat) -> None:
    lengths = {}
    for cap in (None, 7):
        wanted = budget(8, answer_tokens=cap, compat=compat)
        with store() as continuations:
            (closed,), _ = run([job(0, wanted, (5, 6), continuations)], babbler(WORDS, 10**9, STOP))
        assert answer_end(closed.trace, wanted) is (AnswerEnd.CONTEXT if cap is None else AnswerEnd.CAP)
        lengths[cap] = (closed.trace.length, closed.trace.answer_tokens)
    assert lengths[None][0] == CONTEXT
    assert lengths[7][1] == 7


def test_auto_of_the_original_depends_on_the_longest_prompt() -> None:
    """32768 leaves about 32,660 less the longest prompt; ours depends on the question's own."""
    ids = thinking_format_ids(THINKING_FORMAT, WordTokenizer())
    assert auto_cap(32768, 0, ids) == 32768 - 100 - len(ids.thinking_start) - len(ids.forced_end)
    assert auto_cap(32768, 500, ids) == auto_cap(32768, 0, ids) - 500


def test_the_original_has_no_minimum_of_tokens() -> None:
    with pytest.raises(ConfigError, match="min_thinking_tokens 9"):
        policy_of(
            budget(min_thinking_tokens=9, compat=S1), thinking_format_ids(THINKING_FORMAT, WordTokenizer()), (), CONTEXT
        )


# --- properties, with a model of pseudo-random tokens

STOP, WORDS, NEWLINE = 1, 40, 2
IDS = ThinkingFormatIds(
    thinking_start=(30, 31),
    thinking_stops=((STOP,),),
    thinking_end=(32,),
    forced_end=(32, 33, 34),
    answer_stops=((STOP,),),
    newline=(NEWLINE,),
    newline_final=frozenset({NEWLINE, 17}),
    written_starts=((30, 31),),
    written_ends=((32,),),
)
budgets = st.builds(
    budget,
    st.integers(1, 60) | st.none(),
    min_thinking_tokens=st.integers(0, 40),
    waits=st.integers(0, 4),
    continuation=st.sampled_from(["", "Wait"]),
    answer_tokens=st.integers(1, 8) | st.none(),
    answer_reserve=st.integers(1, 60) | st.none(),
)
original = st.builds(
    budget,
    st.integers(1, 60) | st.none(),
    waits=st.integers(0, 4),
    continuation=st.sampled_from(["", "Wait"]),
    answer_tokens=st.integers(1, 8) | st.none(),
    compat=st.just(S1),
)
prompts = st.lists(st.integers(3, WORDS - 1), min_size=1, max_size=12).map(tuple)
models = st.builds(babbler, st.just(WORDS), st.integers(2, 30), st.just(STOP))


def run(jobs: list[TraceJob], model: Script) -> tuple[list[Close], ScriptedEngine]:
    engine = ScriptedEngine(model, WORDS, CONTEXT)
    closed = dict(Rollout(engine).run(jobs))
    return [closed[job] for job in jobs], engine


def job(
    name: int, wanted: Budget, prompt: tuple[int, ...], continuations: Continuations, heat: float = 0.0
) -> TraceJob:
    continuation = (20, 21) if wanted.continuation else ()
    return TraceJob(
        name, "", policy_of(wanted, IDS, continuation, CONTEXT), Trace(prompt), Sampling(heat), 7, continuations
    )


@settings(deadline=None)
@given(budgets | original, prompts, models)
def test_thinking_never_exceeds_the_cap_and_every_trace_is_answered(
    wanted: Budget, prompt: tuple[int, ...], model: Script
) -> None:
    with store() as continuations:
        (closed,), engine = run([job(0, wanted, prompt, continuations)], model)
    trace = closed.trace
    assert trace.thinking_tokens <= (wanted.max_thinking_tokens or CONTEXT)
    assert trace.length <= CONTEXT
    assert trace.segments[-1].part is Part.ANSWER
    assert len(trace.segments_of(Part.DELIMITER)) == 2
    assert all(request.max_tokens > 0 for request in engine.requests)
    assert closed.ending is (Ending.NATURAL if trace.segments_of(Part.DELIMITER)[1].ids[-1] == 32 else Ending.FORCED)


@settings(deadline=None)
@given(budgets, prompts, models)
def test_waits_are_as_many_as_requested_unless_the_cap_comes_first(
    wanted: Budget, prompt: tuple[int, ...], model: Script
) -> None:
    with store() as continuations:
        (closed,), _ = run([job(0, wanted, prompt, continuations)], model)
    if wanted.min_thinking_tokens == 0:
        assert closed.trace.waits <= wanted.waits
    if closed.ending is Ending.NATURAL:
        assert closed.trace.waits >= wanted.waits
        assert closed.trace.thinking_tokens >= wanted.min_thinking_tokens
    else:
        assert wanted.max_thinking_tokens is None or closed.trace.thinking_tokens == wanted.max_thinking_tokens


@settings(deadline=None)
@given(st.lists(budgets | original, min_size=2, max_size=5), prompts, models, st.sampled_from([0.0, 1.0]))
def test_traces_with_sharing_equal_traces_without(
    wanted: list[Budget], prompt: tuple[int, ...], model: Script, heat: float
) -> None:
    with store() as shared:
        together, engine = run([job(i, each, prompt, shared, heat) for i, each in enumerate(wanted)], model)
    alone, from_scratch = [], 0
    for index, each in enumerate(wanted):
        with store() as own:
            (closed,), engine_alone = run([job(index, each, prompt, own, heat)], model)
        alone.append(closed)
        from_scratch += len(engine_alone.requests)
    assert together == alone
    assert len(engine.requests) <= from_scratch


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), prompts, models, st.integers(0, 3))
def test_a_smaller_budget_is_a_prefix_of_a_larger_one(
    one: int, other: int, prompt: tuple[int, ...], model: Script, waits: int
) -> None:
    small, large = sorted((one, other))
    with store() as continuations:
        jobs = [job(most, budget(most, waits=waits), prompt, continuations) for most in {small, large}]
        closed = {each.name: result for each, result in zip(jobs, run(jobs, model)[0], strict=True)}
    shorter, longer = (closed[most].trace.part_ids(Part.THINKING) for most in (small, large))
    assert longer[: len(shorter)] == shorter


segments = st.builds(
    Segment,
    st.lists(st.integers(0, WORDS - 1), max_size=6).map(tuple),
    st.sampled_from(Part),
    st.sampled_from(TokenOrigin),
    st.sampled_from([None, (STOP,)]),
)


@given(budgets, st.sampled_from(Compat), prompts, st.lists(segments, max_size=6).map(tuple))
def test_every_trace_has_one_next_move(
    wanted: Budget, compat: Compat, prompt: tuple[int, ...], written: tuple[Segment, ...]
) -> None:
    """Also one that no policy of ours has begun: next() is total and deterministic."""
    fields = {**vars(wanted), "compat": compat, "min_thinking_tokens": 0, "answer_reserve": None}
    policy = policy_of(Budget(**fields), IDS, (20, 21), CONTEXT)
    trace = Trace(prompt, written)
    move = policy.next(trace)
    assert move == policy.next(trace)
    assert not isinstance(move, Sample) or 0 < move.max_tokens <= CONTEXT - trace.length
    assert not isinstance(move, Force) or trace.append(Segment(move.ids, move.part, TokenOrigin.FORCED)) != trace


@given(st.lists(segments, max_size=6).map(tuple), st.integers(0, 20))
def test_what_a_prefix_leaves_out_is_kept_aside_and_paid_for(written: tuple[Segment, ...], tokens: int) -> None:
    trace = Trace((1,), written)
    cut = trace.keep_thinking(tokens)
    thinking = trace.part_ids(Part.THINKING)
    assert cut.part_ids(Part.THINKING) == thinking[:tokens]
    dropped = [token for each in cut.dropped for token in each.ids]
    assert (*cut.part_ids(Part.THINKING), *dropped) == thinking
    assert cut.sampled_tokens == trace.sampled_tokens
