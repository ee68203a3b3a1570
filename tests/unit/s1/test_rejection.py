"""Rejection by length: the first ordinary sample whose thinking ends by itself within the limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s1.config.schema import Budget, ComputeRequest, ConfigError, Forcing, Generate
from s1.evaluate.score import scores
from s1.generate.audit import audit, label_as_measured
from s1.generate.continuations import Continuations
from s1.generate.engine import Sampling
from s1.generate.group import Group
from s1.generate.methods.method import Bounds, GroupContext, GroupMethod
from s1.generate.methods.registry import method_of
from s1.generate.methods.rejection import expected_tries
from s1.generate.rollout import GroupJob, Rollout, TraceJob
from s1.generate.scripted import ScriptedEngine
from s1.generate.trace import Close, Part, Trace
from s1.generate.traces import branch_seed, seed_of
from s1.models.thinking_format import ThinkingFormatIds
from s1.records import AnswerEnd, Ending, Outcome, ScoreRow, read_rows
from s1.report.verdict import verdict
from s1.stages import CurvePoint, ScoresConfig
from sweep.config.compose import compose
from sweep.core.stage import Work
from sweep.errors import InputError
from tests.support.scans import found, measured
from tests.support.words import babbler, budget, policy_of
from tests.unit.s1.test_traces import Opening, answers, finish, work

STOP, WORDS, CONTEXT = 1, 40, 200
IDS = ThinkingFormatIds((30, 31), ((STOP,),), (32,), (32, 33), ((STOP,),), (2,), frozenset({2}), ((30, 31),), ((32,),))
PROMPT = Trace((5, 6))
MODEL = babbler(WORDS, end_every=12, stop=STOP)
SEED = 55  # the thinking of its samples gets shorter and shorter: 15, 15, 24, 12, 9, 8, 3, ... tokens

CONTEXT_OF_GROUP = GroupContext(CONTEXT, (), str, lambda field, texts: ())


def rejection(limit: int, tries: int = 64) -> Budget:
    return Budget(Forcing.REJECTION, limit, 0, 0, "Wait", 4, tries=tries)


def group_job(limit: int, store: Continuations, tries: int = 64, sample: int = 0, samples: int = 1) -> GroupJob:
    request = ComputeRequest(rejection(limit, tries))
    method = method_of(request)
    assert isinstance(method, GroupMethod)
    policy = method.group_policy(request, IDS, CONTEXT_OF_GROUP)
    group = Group("q", sample, samples, PROMPT)
    return GroupJob((limit, sample), str(limit), policy, group, Sampling(1.0), lambda path: seed(path), store)


def seed(path: tuple[int, ...]) -> int:
    return branch_seed(SEED, "q", path)


def ordinary(store: Continuations, count: int) -> list[Close]:
    """Samples of the natural end, as a sampled scan makes them."""
    policy = policy_of(budget(), IDS, (), CONTEXT)
    jobs = [TraceJob(n, "scan", policy, PROMPT, Sampling(1.0), seed_of(SEED, "q", n), store) for n in range(count)]
    closed = {job.name: close for job, close in Rollout(ScriptedEngine(MODEL, WORDS, CONTEXT)).run(jobs)}
    return [closed[n] for n in range(count)]


def run(*jobs: GroupJob) -> tuple[dict[object, Close], Rollout]:
    rollout = Rollout(ScriptedEngine(MODEL, WORDS, CONTEXT))
    return {job.name: close for job, close in rollout.run(jobs)}, rollout


def test_the_answer_is_the_first_ordinary_sample_that_ends_within_the_limit(tmp_path: Path) -> None:
    with Continuations(tmp_path / "scan") as store:
        samples = ordinary(store, 64)
    lengths = [close.trace.thinking_tokens for close in samples]
    for limit in (2, 5, 9, 14, 60):
        first = next(n for n, tokens in enumerate(lengths) if tokens <= limit)
        with Continuations(tmp_path / str(limit)) as store:
            closed, rollout = run(group_job(limit, store))
        close = closed[limit, 0]
        assert close.ending is Ending.NATURAL and close.group is not None
        assert (close.trace, close.group.branches) == (samples[first].trace, first + 1)
        # each reject costs the limit and the token that shows that it goes on
        answer = samples[first].trace.sampled_tokens
        assert rollout.usage.engine_tokens[str(limit)] == first * (limit + 1) + answer == close.group.sampled_tokens
        assert close.group.thinking_tokens == lengths[first] <= limit


def test_a_stored_scan_serves_its_samples_as_tries(tmp_path: Path) -> None:
    with Continuations(tmp_path) as store:
        lengths = [close.trace.thinking_tokens for close in ordinary(store, 16)]
    limits = sorted({tokens for tokens in lengths if tokens})  # each accepts one of the first 16
    with Continuations(tmp_path) as store:
        closed, rollout = run(*(group_job(limit, store) for limit in limits))
    assert len({close.group.branches for close in closed.values() if close.group}) > 3
    assert sum(rollout.usage.engine_tokens.values()) == 0


def test_limits_share_their_tries(tmp_path: Path) -> None:
    with Continuations(tmp_path / "alone") as store:
        alone = sum(run(group_job(limit, store))[1].usage.engine_tokens.total() for limit in (8,))
    with Continuations(tmp_path / "together") as store:
        _, rollout = run(*(group_job(limit, store) for limit in (3, 8, 9)))
    assert rollout.usage.engine_tokens.total() < 2 * alone + 3 * 64


def test_the_limit_itself_is_accepted_and_one_token_more_is_not(tmp_path: Path) -> None:
    with Continuations(tmp_path) as store:
        length = ordinary(store, 1)[0].trace.thinking_tokens
        closed, _ = run(group_job(length, store, tries=1), group_job(length - 1, store, tries=1))
    assert [closed[limit, 0].ending for limit in (length, length - 1)] == [Ending.NATURAL, Ending.NONE]


def test_without_an_accepted_try_there_is_no_answer(tmp_path: Path) -> None:
    silent = ScriptedEngine(babbler(WORDS, end_every=10**9, stop=STOP), WORDS, CONTEXT)
    with Continuations(tmp_path) as store:
        rollout = Rollout(silent)
        ((_, close),) = rollout.run([group_job(10, store, tries=5)])
    assert close.ending is Ending.NONE and close.group is not None
    assert (close.group.branches, close.group.sampled_tokens, close.group.thinking_tokens) == (5, 55, 10)
    assert close.trace.answer_tokens is None
    assert len(close.trace.part_ids(Part.THINKING)) == 10


def test_a_prompt_that_leaves_no_room_has_no_answer_and_costs_nothing(tmp_path: Path) -> None:
    with Continuations(tmp_path) as store:
        job = group_job(10, store, tries=3)
        long = replace(job, group=replace(job.group, start=Trace((5,) * (CONTEXT - 4))))
        closed, rollout = run(long)
    assert closed[10, 0].ending is Ending.NONE
    assert rollout.usage.engine_tokens.total() == 0


def test_tries_of_several_answers_are_different_samples_and_begin_with_the_ordinary_ones(tmp_path: Path) -> None:
    with Continuations(tmp_path) as store:
        lengths = [close.trace.thinking_tokens for close in ordinary(store, 128)]
        closed, rollout = run(*(group_job(6, store, sample=sample, samples=4) for sample in range(4)))
    for sample in range(4):
        own = lengths[sample::4]
        first = next(n for n, tokens in enumerate(own) if tokens <= 6)
        group = closed[6, sample].group
        assert group is not None and (group.branches, group.thinking_tokens) == (first + 1, own[first])
    assert rollout.usage.engine_tokens.total() == 0


def test_a_longer_end_may_begin_at_the_limit(tmp_path: Path) -> None:
    """An end of two tokens after exactly `limit` tokens of thinking is within the limit."""
    ids = replace(IDS, thinking_stops=((7, 8),), answer_stops=((STOP,),))
    request = ComputeRequest(rejection(5, tries=1))
    method = method_of(request)
    assert isinstance(method, GroupMethod)

    def script(text: object, *_: object) -> int:
        thought = list(text)[4:]  # type: ignore[call-overload]
        if 32 in thought:
            return STOP
        return 9 if len(thought) < 5 else 7 if len(thought) == 5 else 8

    policy = method.group_policy(request, ids, CONTEXT_OF_GROUP)
    with Continuations(tmp_path) as store:
        job = replace(group_job(5, store, tries=1), policy=policy)
        ((_, close),) = Rollout(ScriptedEngine(script, WORDS, CONTEXT)).run([job])
    assert (close.ending, close.trace.thinking_tokens) == (Ending.NATURAL, 5)


# ------------------------------------------------------------------------------------------- through the stages


WARM = Generate(samples=1, temperature=1.0, top_p=1.0, seed=0, share=True)
OTHER = replace(WARM, seed=5)  # no question thinks for one token in its first three samples


def test_rows_count_tries_and_rejects_and_a_missing_answer_is_wrong(tmp_path: Path) -> None:
    opening = Opening(random_words=True)
    short, long = work(tmp_path, "short", rejection(1, tries=3), OTHER), work(tmp_path, "long", rejection(60), OTHER)
    summaries = finish([short, long], opening)
    for made in (short, long):
        for row in answers(made):
            assert row.branches is not None and row.sampled_tokens >= row.thinking_tokens
            accepted = row.ending is Ending.NATURAL
            assert accepted == (row.answer_tokens is not None)
            assert accepted or (row.branches, row.answer, row.answer_end) == (3, "", AnswerEnd.NONE)
    assert {row.ending for row in answers(short)} == {Ending.NONE}
    assert {row.ending for row in answers(long)} == {Ending.NATURAL}
    assert summaries["short"]["sampled_tokens"] == 3 * 3 * 2
    out = tmp_path / "scores"
    out.mkdir()
    inputs = {"questions": short.inputs["questions"], "traces": (short.out,)}
    config = ScoresConfig("dial", samples=1)
    list(scores([Work("s", config, inputs, out, out, out, settings={}, report=lambda *_: None)]))
    rows = read_rows(out / "scores.jsonl", ScoreRow)
    assert [(row.correct, row.outcome, row.branches) for row in rows] == [(False, Outcome.NONE, 3)] * 3


def test_a_scan_of_sixteen_samples_leaves_no_token_to_sample(tmp_path: Path) -> None:
    scan = work(tmp_path, "scan", budget(), replace(WARM, samples=16))
    finish([scan], Opening(random_words=True))
    lengths = {f"q{i}": [r.thinking_tokens for r in answers(scan) if r.question_id == f"q{i}"] for i in range(3)}
    limit = max(min(each) for each in lengths.values())
    made = work(tmp_path, "reject", rejection(limit), WARM)
    summary = finish([made], Opening(random_words=True))["reject"]
    assert summary["engine_tokens"] == 0
    assert [row.thinking_tokens for row in answers(made)] == [
        next(tokens for tokens in each if tokens <= limit) for each in lengths.values()
    ]


# ------------------------------------------------------------------------------------------------- the method


def accepted(question: str, tokens: int, tries: int, correct: bool = True) -> ScoreRow:
    sampled = (tries - 1) * 11 + tokens + 4
    ends = (Ending.NATURAL, tokens, 3, AnswerEnd.STOP, 0, 0, sampled)
    return ScoreRow(question, 0, "7", "7" if correct else "8", correct, Outcome.ANSWERED, *ends, branches=tries)


REJECTED = replace(
    accepted("q3", 10, 64, correct=False),
    outcome=Outcome.NONE,
    extracted=None,
    ending=Ending.NONE,
    answer_tokens=None,
    answer_end=AnswerEnd.NONE,
    sampled_tokens=64 * 11,
)


def test_the_audit_reports_rejects_and_questions_without_an_accepted_try() -> None:
    request = ComputeRequest(rejection(10))
    found = audit([accepted("q1", 10, 1), accepted("q2", 4, 5, correct=False), REJECTED], request)
    assert found.valid and found.mean_branches == 70 / 3
    assert found.unmet == [
        "68 of 70 tries (97.1%) were rejected, because their thinking did not end within 10 tokens: 23.3 tries per"
        " answer.",
        "1 of 3 answers: none of 64 tries was accepted, so they count as wrong (first: question q3). Of the"
        " other 2, 50.0% are right.",
    ]
    nothing = audit([REJECTED], request).unmet
    assert nothing[1] == ("1 of 1 answers: none of 64 tries was accepted, so they count as wrong (first: question q3).")
    assert label_as_measured(request, found) == "reject > 10"
    assert audit([accepted("q1", 10, 1)], request).unmet == []


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (accepted("q", 11, 1), "1 of 1 answers think longer than 10 tokens (first: question q)."),
        (replace(accepted("q", 9, 1), branches=None), "1 of 1 answers have no number of tries (first: question q)."),
        (accepted("q", 9, 65), "1 of 1 answers have no number of tries (first: question q)."),
        (
            replace(accepted("q", 9, 1), ending=Ending.FORCED),
            "1 of 1 answers were forced to end, and should be rejected (first: question q).",
        ),
    ],
)
def test_what_no_rejection_makes_is_invalid(row: ScoreRow, problem: str) -> None:
    assert audit([row], ComputeRequest(rejection(10))).problems == [problem]


def test_limits_are_one_family_and_a_bound_on_the_tries_is_part_of_it() -> None:
    asked = [ComputeRequest(rejection(limit)) for limit in (3500, 4000, 16000)]
    method = method_of(asked[0])
    assert [method.label(each) for each in asked] == ["reject > 3500", "reject > 4000", "reject > 16000"]
    assert [method.bounds(each) for each in asked] == [Bounds(0, 3500), Bounds(0, 4000), Bounds(0, 16000)]
    assert sorted([asked[1], asked[2], asked[0]], key=method.amount) == asked
    assert method.family(asked[0]) == method.family(asked[2])
    assert method.family(asked[0]) != method.family(ComputeRequest(rejection(3500, tries=8)))


def test_the_plan_expects_the_tries_that_the_paper_needed() -> None:
    assert [round(expected_tries(limit / 5300)) for limit in (3500, 5000, 16000)] == [649, 8, 1]
    assert expected_tries(0.001) == pytest.approx(10**9)
    request = ComputeRequest(rejection(4000, tries=64))
    expected = method_of(request).expected_thinking_tokens(request, 5300)
    assert expected == 63 * 4001 + 4000
    within = ComputeRequest(rejection(40_000, tries=64))
    assert method_of(within).expected_thinking_tokens(within, 5300) == 5300


def test_inverse_scaling_shows_in_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figure 6: the higher the limit, the longer the thinking and the lower the accuracy."""
    monkeypatch.setattr("s1.report.curve.read_engine", lambda directory: {"engine": "scripted"})
    points = {
        limit: CurvePoint(f"reject > {limit}", {"budget.max_thinking_tokens": limit}, asked(limit))
        for limit in (3500, 5000, 16000)
    }
    shares = {3500: (200, 2974), 5000: (160, 4344), 16000: (100, 5293)}
    scored = [measured(points[limit], range(right), tokens, 300) for limit, (right, tokens) in shares.items()]
    scored = [
        replace(each, scores=[replace(row, branches=1, ending=Ending.NATURAL) for row in each.scores])
        for each in scored
    ]
    (series,) = found(scored).series
    assert [point.label for point in series.points] == ["reject > 3500", "reject > 5000", "reject > 16000"]
    assert verdict(series)[0].startswith("Accuracy falls with more thinking, from 66.7% (reject > 3500, 2,975 tokens)")
    assert "to 33.3% (reject > 16000, 5,294 tokens): -33.3 points" in verdict(series)[0]
    scaling = series.metrics.scaling
    assert scaling is not None and scaling.hi is not None and scaling.hi < 0
    control = series.metrics.control
    assert control is not None and control.value == 1


def asked(limit: int) -> ComputeRequest:
    return ComputeRequest(rejection(limit))


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (["generate=greedy"], r"generate\.temperature 0: with greedy decoding all tries"),
        (["generate=greedy", "task.instruction='Think for up to 64 tokens.'"], r"generate\.temperature 0"),
        (["budget.max_thinking_tokens=null"], r"max_thinking_tokens null: budget=rejection needs one"),
        (["budget.tries=null"], r"budget\.tries null: budget=rejection needs one"),
        (["budget.tries=0"], r"budget\.tries 0"),
        (["budget.waits=1"], r"budget\.waits 1: budget=rejection suppresses no end"),
        (["budget.min_thinking_tokens=4"], r"budget\.min_thinking_tokens 4: budget=rejection suppresses no end"),
        (["budget.compat=s1"], r"budget\.compat s1: has no effect on budget=rejection"),
        (["budget.max_thinking_tokens=500"], r"max_thinking_tokens 500: with 128 tokens reserved"),
        (["budget=max", "budget.tries=8"], r"budget\.tries 8: only budget=rejection makes tries"),
    ],
)
def test_what_no_rejection_could_honour_is_refused(changed: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        compose(["budget=rejection", "generate=sampled", *changed])


def test_a_policy_for_a_context_that_is_too_short_is_refused() -> None:
    request = asked(190)
    method = method_of(request)
    assert isinstance(method, GroupMethod)
    with pytest.raises(ConfigError, match="max_thinking_tokens 190"):
        method.group_policy(
            replace(request, budget=replace(request.budget, answer_tokens=None)),
            IDS,
            CONTEXT_OF_GROUP,
        )
