"""Answers, read: how they ended, what of them is thinking that was opened again, and what is graded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from s1.config.schema import Budget, Forcing, ThinkingFormat
from s1.generate.trace import Close, Part, Segment, TokenOrigin, Trace
from s1.generate.trace_row import answer_end, graded_text, reopened, thinks_on_tokens
from s1.models.thinking_format import decode, encode
from s1.records import AnswerEnd, Ending
from sweep.config.compose import compose
from tests.support.speakers import thinking_format_of, tokenizer_of
from tests.support.words import THINKING_FORMAT, budget
from tests.unit.s1.test_thinking_format import CONTEXT, graded_row

NO_FORCING = Budget(Forcing.NONE, None, 0, 0, "", None)


def trace_of(*parts: tuple[Part, int, bool], prompt: int = 10) -> Trace:
    """Segments of so many tokens, each stopped by the model or not."""
    segments = (
        Segment((7,) * count, part, TokenOrigin.SAMPLED, (1,) if stopped else None) for part, count, stopped in parts
    )
    return Trace((5,) * prompt, tuple(segments))


THOUGHT = (Part.THINKING, 20, True)
END_CASES: Mapping[str, tuple[Budget, Trace, AnswerEnd]] = {
    "the model ended it": (budget(answer_tokens=9), trace_of(THOUGHT, (Part.ANSWER, 5, True)), AnswerEnd.STOP),
    "ended at the very cap": (budget(answer_tokens=5), trace_of(THOUGHT, (Part.ANSWER, 5, True)), AnswerEnd.STOP),
    "empty, but ended": (budget(answer_tokens=5), trace_of(THOUGHT, (Part.ANSWER, 0, True)), AnswerEnd.STOP),
    "cut by the cap": (budget(answer_tokens=5), trace_of(THOUGHT, (Part.ANSWER, 5, False)), AnswerEnd.CAP),
    "cut by the context": (budget(answer_tokens=None), trace_of(THOUGHT, (Part.ANSWER, 70, False)), AnswerEnd.CONTEXT),
    "by the context below the cap": (
        budget(answer_tokens=71),
        trace_of(THOUGHT, (Part.ANSWER, 70, False)),
        AnswerEnd.CONTEXT,
    ),
    "by both": (budget(answer_tokens=70), trace_of(THOUGHT, (Part.ANSWER, 70, False)), AnswerEnd.CAP),
    "never asked": (budget(answer_tokens=5), trace_of((Part.THINKING, 90, False)), AnswerEnd.NONE),
    "plain, cut by the context": (NO_FORCING, trace_of((Part.ANSWER, 90, False)), AnswerEnd.CONTEXT),
    "plain has no cap": (
        replace(NO_FORCING, answer_tokens=4),
        trace_of((Part.ANSWER, 90, False)),
        AnswerEnd.CONTEXT,
    ),
    "plain, thinking never closed": (NO_FORCING, trace_of((Part.THINKING, 90, False)), AnswerEnd.NONE),
}


@pytest.mark.parametrize("name", END_CASES)
def test_how_an_answer_ended_is_read_off_the_trace(name: str) -> None:
    wanted, trace, end = END_CASES[name]
    assert answer_end(trace, wanted) is end


# --- thinking that was opened again


def answered(model: str, text: str, ending: Ending = Ending.FORCED) -> tuple[ThinkingFormat, Close]:
    """A closed trace whose answer is that text, of a model's own tokenizer."""
    tokenizer = tokenizer_of(model)
    answer = Segment(encode(text, tokenizer), Part.ANSWER, TokenOrigin.SAMPLED, None)
    return thinking_format_of(model), Close(Trace((5,), (answer,)), ending)


QWEN, SKY, LAPTOP = "qwen3_8b", "sky_t1_32b", "qwen2_5_7b"
SKY_START, SKY_END = "<|begin_of_thought|>", "<|end_of_thought|>\n\n<|begin_of_solution|>\n\n"

# model, the answer, what is thinking in it, what is graded
REOPENED: Mapping[str, tuple[str, str, list[str], str]] = {
    "none": (QWEN, " 13", [], "Final Answer: 13"),
    "closed and answered again": (QWEN, " 12.\n<think>\nNo, 14?\n</think>\n\nIt is 13.", ["No, 14?\n"], "It is 13."),
    "never closed": (QWEN, " 12.\n<think>\nIt is \\boxed{14}.", ["It is \\boxed{14}."], "Final Answer: 12.\n"),
    "without the line end": (QWEN, " 12 <think>The box\\boxed{14}</think> 13", ["The box\\boxed{14}"], " 13"),
    "closed, and silent after it": (QWEN, " 12 <think>\n14</think>\n\n", ["14"], "Final Answer: 12 "),
    "nothing outside": (QWEN, "<think>\n\\boxed{14}</think>", ["\\boxed{14}"], "Final Answer:"),
    "twice, the second never closed": (
        QWEN,
        " 1 <think>\n2</think>\n\n3 <think>\n4",
        ["2", "4"],
        "3 ",
    ),
    "opened within": (QWEN, " 1 <think>\n2 <think>\n3</think>\n\n4", ["2 <think>\n3"], "4"),
    "an end without a start": (QWEN, " so 12</think>\n\n13", [], "Final Answer: so 12</think>\n\n13"),
    "delimiters of several tokens": (
        SKY,
        f" 12.{SKY_START}\n\nWait, {{14}}.{SKY_END}It is 13.",
        ["Wait, {14}."],
        "It is 13.",
    ),
    "delimiters of several tokens, in one line": (SKY, f" 12{SKY_START}So 14.<|end_of_thought|>13", ["So 14."], "13"),
    "s1": (LAPTOP, " 12\n<|im_start|>think\n14\n<|im_start|>answer\n13", ["14\n"], "13"),
    "s1 repeats its end marker": (LAPTOP, "<|im_start|>answer\n13", [], "Final Answer:<|im_start|>answer\n13"),
}


@pytest.mark.parametrize("name", REOPENED)
def test_thinking_in_an_answer_is_counted_and_not_graded(name: str) -> None:
    model, text, thoughts, graded = REOPENED[name]
    tokenizer = tokenizer_of(model)
    thinking_format, close = answered(model, text)
    if model == LAPTOP:
        thinking_format = compose(["model=laptop"]).points[0].model.thinking_format
    assert decode(close.trace.part_ids(Part.ANSWER), tokenizer) == text
    assert [text[each.begins : each.ends] for each in reopened(thinking_format, text)] == thoughts
    assert graded_text(thinking_format, close, tokenizer) == graded
    counted = thinks_on_tokens(thinking_format, close.trace, tokenizer)
    assert bool(counted) == bool(thoughts)
    assert counted <= sum(len(encode(each, tokenizer)) for each in thoughts)


def test_tokens_inside_are_counted_without_their_delimiters() -> None:
    tokenizer = tokenizer_of(QWEN)
    thinking_format, close = answered(QWEN, " 12 <think>\nSix plus seven</think>\n\n13")
    assert thinks_on_tokens(thinking_format, close.trace, tokenizer) == len(encode("Six plus seven", tokenizer)) == 3


def test_characters_of_several_tokens_do_not_shift_the_count() -> None:
    """The tokenizer of these tests has no token for an emoji or a kanji, only for their bytes."""
    tokenizer = tokenizer_of(QWEN)
    for text in ("\U0001f600\u6570" * 20, "\ufffd" * 20, "x"):
        thinking_format, close = answered(QWEN, f" {text}<think>\nSix plus seven</think>\n\n{text}<think>\nIt is")
        assert thinks_on_tokens(thinking_format, close.trace, tokenizer) == 5


def test_a_model_that_reopens_its_thinking_a_thousand_times_is_counted() -> None:
    thinking_format, close = answered(QWEN, "<think>\nIt is thirteen</think>\n\n" * 1000)
    assert thinks_on_tokens(thinking_format, close.trace, tokenizer_of(QWEN)) == 3000


def test_a_countdown_that_goes_on_in_the_answer_is_thinking_again() -> None:
    thinking_format = (
        compose(["model=laptop", "thinking_format@model.thinking_format=s1_steps_forced"])
        .points[0]
        .model.thinking_format
    )
    text = " 12\n<|im_start|>1 steps left\n14\n<|im_start|>answer\n13"
    assert [text[each.begins : each.ends] for each in reopened(thinking_format, text)] == ["1 steps left\n14\n"]
    assert reopened(thinking_format, "<|im_start|>answer\n13") == []


def test_a_dialect_without_an_opening_never_thinks_again() -> None:
    plain = replace(THINKING_FORMAT, thinking_start="", thinking_stops=[])
    assert reopened(plain, "12 <think> \\boxed{14} </think> 13") == []


def test_the_words_before_a_stop_are_outside_only_if_the_thinking_was_closed() -> None:
    """Sky-T1 may spell the end of its solution with the mark before it; that mark is then part of the answer."""
    tokenizer = tokenizer_of(SKY)
    stop = encode(".<|end_of_solution|>", tokenizer)
    for text, graded in (("13", "Final Answer:13."), (f"12{SKY_START}\n\n14", "Final Answer:12")):
        segment = Segment(encode(text, tokenizer), Part.ANSWER, TokenOrigin.SAMPLED, stop)
        close = Close(Trace((5,), (segment,)), Ending.FORCED)
        assert graded_text(thinking_format_of(SKY), close, tokenizer) == graded


@pytest.mark.parametrize(
    ("again", "text", "tokens", "end"),
    [
        ("12 <think>\nSix plus seven</think>\n\nIt is 13.<|im_end|>", "It is 13.", 3, AnswerEnd.STOP),
        ("12 <think>\nSix plus seven", "Final Answer:12 ", 3, AnswerEnd.CAP),
    ],
)
def test_the_stage_writes_them_with_the_answer(
    again: str, text: str, tokens: int, end: AnswerEnd, tmp_path: Path
) -> None:
    cap = len(encode(again, tokenizer_of(QWEN)))
    row = graded_row((QWEN, "<think>\nSix plus seven", "</think>\n\n", again, budget(2, answer_tokens=cap)), tmp_path)
    assert (row.ending, row.answer, row.thinks_on_tokens, row.answer_end) == (Ending.FORCED, text, tokens, end)
    assert row.thinking_tokens == 2 and cap < CONTEXT
