"""Cut sentences and warnings: what is forced, what is graded, what they share, and what they must not retrain."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1.config.schema import Budget, Dial
from s1.dial import Family
from s1.generate.audit import audit
from s1.generate.continuations import Continuations
from s1.generate.engine import GenerationRequest, Sampling
from s1.generate.rollout import Rollout, TraceJob
from s1.generate.scripted import Script, ScriptedEngine
from s1.generate.trace import Close, Part, Segment, TokenOrigin, Trace
from s1.generate.trace_row import graded_text, trace_row
from s1.models.location import CHAT_PIECES, piece_tokenizer
from s1.models.thinking_format import ThinkingFormatIds, decode, encode, thinking_format_ids
from s1.pipeline import stages_of
from s1.records import Ending, TraceRow, read_rows, write_rows
from s1.report.findings import MeasuredPoint
from s1.stages import TracesConfig
from sweep.config.compose import compose
from sweep.errors import InputError
from tests.support.scans import point, rows, run, series_of
from tests.support.speakers import tokenizer_of
from tests.support.words import babbler, budget, policy_of

CONTEXT, WORDS, STOP, NEWLINE = 200, 40, 1, 2
WARNING = (25, 26, 27)
IDS = ThinkingFormatIds(
    thinking_start=(30, 31),
    thinking_stops=((STOP,),),
    thinking_end=(32,),
    forced_end=(32, 33, 34),
    answer_stops=((STOP,),),
    newline=(NEWLINE,),
    newline_final=frozenset({NEWLINE}),
    written_starts=((30, 31),),
    written_ends=((32,),),
)
WARNED = replace(IDS, warning=WARNING, warning_share=0.5)
STOP_SENTENCE = (
    "Considering the limited time by the user, I have to give the solution based on the thinking directly now."
)


@contextmanager
def store() -> Iterator[Continuations]:
    with tempfile.TemporaryDirectory() as directory, Continuations(Path(directory)) as continuations:
        yield continuations


def closed_by(
    wanted: Budget, model: Script, formats: list[ThinkingFormatIds], prompt: tuple[int, ...] = (5, 6)
) -> tuple[list[Close], ScriptedEngine]:
    """A trace per format, all from one store."""
    engine = ScriptedEngine(model, WORDS, CONTEXT)
    continuation = (20, 21) if wanted.continuation else ()
    with store() as continuations:
        jobs = [
            TraceJob(
                place, "", policy_of(wanted, ids, continuation, CONTEXT), Trace(prompt), Sampling(0.0), 7, continuations
            )
            for place, ids in enumerate(formats)
        ]
        closed = {job.name: each for job, each in Rollout(engine).run(jobs)}
    return [closed[place] for place in range(len(formats))], engine


def thinking_of(closed: Close) -> list[Segment]:
    return list(closed.trace.segments_of(Part.THINKING))


# ---------------------------------------------------------------------------------------------- the warning


def test_a_warning_is_inserted_once_at_its_share_of_the_maximum_and_counts_as_thinking() -> None:
    (closed,), _ = closed_by(budget(20), babbler(WORDS, 10**9, STOP), [WARNED])
    before, warning, after = thinking_of(closed)
    assert (len(before.ids), warning.ids, len(after.ids)) == (10, WARNING, 7)
    assert warning.origin is TokenOrigin.FORCED and closed.trace.is_warned
    assert (closed.trace.thinking_tokens, closed.ending) == (20, Ending.FORCED)


def test_thinking_that_ends_before_the_share_is_not_warned() -> None:
    model = babbler(WORDS, 3, STOP)
    (closed, plain), _ = closed_by(budget(60), model, [WARNED, IDS])
    assert closed == plain and closed.trace.thinking_tokens < 30 and not closed.trace.is_warned


def test_a_model_may_end_right_after_the_warning() -> None:
    def script(ids: Sequence[int], request: GenerationRequest, forbidden: frozenset[int]) -> int:
        return STOP if tuple(ids[-3:]) == WARNING or 32 in ids else 9

    (closed,), _ = closed_by(budget(20), script, [WARNED])
    assert (closed.trace.thinking_tokens, closed.ending) == (13, Ending.NATURAL)
    assert closed.trace.is_warned and closed.trace.waits == 0


def test_the_maximum_cuts_the_warning() -> None:
    (closed,), _ = closed_by(budget(4), babbler(WORDS, 10**9, STOP), [WARNED])
    assert [each.ids for each in thinking_of(closed)][1:] == [WARNING[:2]]
    assert closed.trace.thinking_tokens == 4


def test_without_a_maximum_there_is_no_warning() -> None:
    (closed, plain), _ = closed_by(budget(None, answer_tokens=4), babbler(WORDS, 10**9, STOP), [WARNED, IDS])
    assert closed == plain and not closed.trace.is_warned


def test_a_wait_is_not_a_warning_and_a_warning_is_no_wait() -> None:
    wanted = budget(60, waits=3)
    (closed, plain), _ = closed_by(wanted, babbler(WORDS, 8, STOP), [WARNED, IDS])
    assert plain.trace.waits and not plain.trace.is_warned
    forced = [each.ids for each in thinking_of(closed) if each.origin is TokenOrigin.FORCED]
    assert forced.count(WARNING) == 1 and closed.trace.waits == len(forced) - 1


def test_points_with_and_without_a_warning_share_the_thinking_before_it() -> None:
    wanted, model = budget(40, answer_tokens=2), babbler(WORDS, 10**9, STOP)
    (warned, plain), engine = closed_by(wanted, model, [WARNED, IDS])
    assert thinking_of(warned)[0].ids == plain.trace.part_ids(Part.THINKING)[:20]
    sampled = sum(request.max_tokens for request in engine.requests)
    assert sampled == 40 + 17 + 2 + 2  # the thinking once, what follows the warning, two answers


budgets = st.builds(
    budget,
    st.integers(1, 60),
    min_thinking_tokens=st.just(0) | st.integers(0, 1),
    waits=st.integers(0, 4),
    continuation=st.sampled_from(["", "Wait"]),
    answer_tokens=st.integers(1, 8) | st.none(),
)
models = st.builds(babbler, st.just(WORDS), st.integers(2, 30), st.just(STOP))


@settings(deadline=None)
@given(budgets, st.floats(0.01, 0.99), models)
def test_a_warned_trace_keeps_every_rule(wanted: Budget, share: float, model: Script) -> None:
    (closed,), _ = closed_by(wanted, model, [replace(WARNED, warning_share=share)])
    trace, most = closed.trace, wanted.max_thinking_tokens or 0
    assert trace.thinking_tokens <= most and trace.waits <= wanted.waits + wanted.min_thinking_tokens
    forced = [each for each in thinking_of(closed) if each.origin is TokenOrigin.FORCED]
    warnings = [each for each in forced if each.ids and WARNING[: len(each.ids)] == each.ids]
    assert len(warnings) == trace.is_warned
    if trace.is_warned:
        assert trace.thinking_tokens >= max(1, int(share * most))
    assert trace.segments[-1].part is Part.ANSWER


# --------------------------------------------------------------------------------- what is written and graded


def format_of(name: str, model: str = "qwen3_8b"):
    return (
        compose([f"model={model}", f"thinking_format@model.thinking_format={name}", "data=none", "task=dial"])
        .points[0]
        .model.thinking_format
    )


FORMATS = ("s1_qwen3_stop", "think_qwen3_stop", "s1_warned", "think_warned")


@pytest.mark.parametrize("name", FORMATS)
def test_every_tokenizer_writes_the_sentences_exactly(name: str) -> None:
    thinking_format = format_of(name)
    laptop = piece_tokenizer((*CHAT_PIECES, *Family(Dial()).pieces()))
    for tokenizer in (tokenizer_of("qwen3_8b"), *([laptop] if name.startswith("s1") else [])):
        ids = thinking_format_ids(thinking_format, tokenizer)
        assert decode(ids.forced_end, tokenizer) == thinking_format.forced_end
        assert decode(ids.warning, tokenizer) == (thinking_format.warning or "")


@pytest.mark.parametrize(
    ("name", "end"), [("think_qwen3_stop", "</think>\n\n"), ("s1_qwen3_stop", "<|im_start|>answer\n")]
)
def test_the_stop_sentence_follows_a_blank_line_and_is_not_graded(name: str, end: str) -> None:
    tokenizer, thinking_format = tokenizer_of("qwen3_8b"), format_of(name)
    ids = thinking_format_ids(thinking_format, tokenizer)
    for thinking in ("Six plus seven is", "Six plus seven.\n"):
        last = encode(thinking, tokenizer)
        written = thinking + decode(ids.on_new_line(ids.forced_end, last[-1]), tokenizer)
        assert written.rstrip("\n") == f"{thinking.rstrip()}\n\n{STOP_SENTENCE}\n{end}".rstrip("\n")
    answer = Segment(encode("It is 13.", tokenizer), Part.ANSWER, TokenOrigin.SAMPLED)
    assert graded_text(thinking_format, Close(Trace((1,), (answer,)), Ending.FORCED), tokenizer) == "It is 13."
    final = format_of(name.partition("_")[0])
    assert graded_text(final, Close(Trace((1,), (answer,)), Ending.FORCED), tokenizer) == "Final Answer:It is 13."


# ------------------------------------------------------------------------------------------- keys and checks


def planned(*overrides: str):
    composition = compose(["+experiment=smoke", "also=[]", *overrides, "-m"])
    return [stages_of(each) for each in composition.points]


def test_no_cut_sentence_or_warning_trains_a_model_of_its_own() -> None:
    axis = "thinking_format@model.thinking_format=s1,s1_qwen3_stop,s1_warned"
    for control in ("none", "tokens"):
        stages = planned(axis, f"data.control={control}", "budget.max_thinking_tokens=16")
        assert len({each.training.checkpoint.key for each in stages}) == 1
        assert len({each.evaluation.traces.key for each in stages}) == 3
        assert len({each.evaluation.traces.batch for each in stages}) == 1


def test_a_warning_without_a_maximum_changes_no_request() -> None:
    axis = "thinking_format@model.thinking_format=s1,s1_warned"
    for overrides in (["budget.max_thinking_tokens=null"], ["budget=none", "budget.max_thinking_tokens=null"]):
        assert len({each.evaluation.traces.key for each in planned(axis, *overrides)}) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.thinking_format.warning=Soon."], r"warning_share null: no place for the warning\. Give a share"),
        (["model.thinking_format.warning_share=0.5"], r"warning_share 0\.5: there is no warning\. Write one"),
        (
            ["model.thinking_format.warning='Soon <|im_end|>'", "model.thinking_format.warning_share=0.5"],
            r"model\.thinking_format\.warning 'Soon <\|im_end\|>': contains the delimiter '<\|im_end\|>'",
        ),
        (
            ["thinking_format@model.thinking_format=s1_warned", "budget.compat=s1", "budget.max_thinking_tokens=8"],
            r"the method s1_original never inserts it\. Choose a thinking format without a warning",
        ),
        (["thinking_format@model.thinking_format=s1_warned", "model.thinking_format.warning_share=1"], "below 1"),
    ],
)
def test_a_warning_that_cannot_be_given_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compose(overrides)


# ------------------------------------------------------------------------------------------------ the report


def test_rows_say_whether_they_were_warned_only_where_a_format_warns(tmp_path: Path) -> None:
    tokenizer, template = tokenizer_of("qwen3_8b"), planned("budget.max_thinking_tokens=16")[0].evaluation.traces.config
    assert isinstance(template, TracesConfig)
    (closed,), _ = closed_by(budget(20), babbler(WORDS, 10**9, STOP), [WARNED])
    for thinking_format, expected in ((format_of("s1"), None), (format_of("s1_warned"), True)):
        row = trace_row("q", 0, closed, replace(template, thinking_format=thinking_format), tokenizer)
        write_rows(tmp_path / "traces.jsonl", [row])
        assert ("warned" in (tmp_path / "traces.jsonl").read_text(encoding="utf-8")) is (expected is not None)
        assert read_rows(tmp_path / "traces.jsonl", TraceRow)[0].warned is expected


def test_the_share_of_warned_traces_is_in_the_audit_and_the_notes(tmp_path: Path) -> None:
    scores = [replace(row, warned=index < 3) for index, row in enumerate(rows(4, 12, 9, 8))]
    assert audit(scores, point(8, 0).request).warned_share == 0.25
    assert audit(rows(4, 12, 9, 8), point(8, 0).request).warned_share is None
    (series,) = series_of(run(tmp_path, [point(8, 0), point(16, 0)], [scores, rows(6, 12, 9, 16)]))
    assert "Warned in their thinking that the maximum is near: max 8 (25.0% of traces)." in series.notes
    shares = [each.audit.warned_share for each in series.points if isinstance(each, MeasuredPoint)]
    assert shares == [0.25, None]
