"""Conditional control: the texts of the paper to the letter, and what a countdown may never do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.config.data import Control
from s1.config.schema import ConfigError, ThinkingFormat
from s1.data.conditional import (
    Length,
    amount_of,
    conditioned,
    conditioned_rows,
    instruction,
    power_of_two_from,
    prompted,
    steps_of,
)
from s1.generate.continuations import Continuations
from s1.generate.engine import Sampling
from s1.generate.rollout import Rollout, TraceJob
from s1.generate.scripted import ScriptedEngine
from s1.generate.trace import Trace
from s1.models.location import CHAT_PIECES, piece_tokenizer
from s1.models.thinking_format import encode, prompt_of, prompt_text, thinking_format_ids, training_text
from s1.pipeline import stages_of
from s1.records import Ending, Example, read_rows, write_rows
from s1.stages import ConditionedConfig
from s1.train.text_audit import defect, delimited_once
from sweep.config.compose import compose
from sweep.core.stage import Work
from tests.support.speakers import Reciter
from tests.support.words import budget, policy_of, told

STEP = "<|im_start|>"
TRACES = [
    "Six and four is ten.\n\nThree more.\n\n\n\nSo thirteen.",
    "Thirteen.",
    "\nFirst the tens:\n  none.\n\nThen the ones: six, seven.\n\nThey make thirteen.\n\nAgain: 7 + 6.\n\nThirteen.\n",
]
EXAMPLES = [Example(f"{i}", f"What is six plus seven, {i}? ", trace, "13") for i, trace in enumerate(TRACES)]
TOKENIZER = piece_tokenizer((*CHAT_PIECES, "steps", " left"))


@cache
def thinking_format(name: str) -> ThinkingFormat:
    return compose(["model=laptop", f"thinking_format@model.thinking_format={name}"]).points[0].model.thinking_format


def lengths(examples: list[Example]) -> list[int]:
    return [len(encode(example.thinking.strip(), TOKENIZER)) for example in examples]


@pytest.mark.parametrize(
    ("control", "name"),
    [(Control.TOKENS, "s1"), (Control.CLASS, "s1"), (Control.STEPS, "s1_steps")],
    ids=lambda value: getattr(value, "value", value),
)
def test_the_training_text_is_the_papers(control: Control, name: str, golden: Callable[[str, str], None]) -> None:
    spoken = thinking_format(name)
    texts = []
    for example in conditioned(EXAMPLES, lengths(EXAMPLES), control, spoken):
        prompt = prompt_text(spoken, example.question, TOKENIZER)
        text = training_text(spoken, prompt, example.thinking, example.answer)
        texts.append(f"{text.prompt}[loss begins]{text.completion}")
    golden(f"data/control_{control.value}.txt", "\n\n----\n\n".join(texts) + "\n")


def test_evaluation_asks_in_the_words_of_training(golden: Callable[[str, str], None]) -> None:
    asked = [(Control.TOKENS, 1024), (Control.STEPS, 64), (Control.CLASS, Length.SHORT), (Control.CLASS, Length.LONG)]
    golden("prompts/control.txt", "\n---\n".join(prompted("What is six plus seven? ", *each) for each in asked) + "\n")


@pytest.mark.parametrize(
    ("control", "amount"),
    [(Control.TOKENS, 0), (Control.STEPS, Length.LONG), (Control.CLASS, 64), (Control.NONE, 64), (Control.TOKENS, -8)],
)
def test_an_amount_that_no_sentence_fits_is_refused(control: Control, amount: int | Length) -> None:
    with pytest.raises(ConfigError, match="they do not match"):
        instruction(control, amount)


@given(
    st.tuples(st.sampled_from([Control.TOKENS, Control.STEPS]), st.integers(1, 10**12))
    | st.tuples(st.just(Control.CLASS), st.sampled_from(Length))
)
def test_what_an_instruction_asks_for_is_read_back(asked: tuple[Control, int | Length]) -> None:
    text = instruction(*asked)
    assert amount_of(text) == amount_of(f" {text}\n") == asked


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "Think step by step.",
            "Think for up to 0 tokens.",
            "Think for up to -8 tokens.",
            "Think for up to 8 words.",
        ),
        *(
            "Think for up to 08 steps.",
            "Think for up to 1,024 tokens.",
            "Think for up to 64 tokens",
            "think for up to 64 tokens.",
        ),
        *(
            "Think for up to 64 tokens. Be brief.",
            "Answer after a short amount of thinking.",
            "Think for up to \u0664 steps.",
        ),
    ],
)
def test_any_other_text_asks_for_no_amount(text: str) -> None:
    assert amount_of(text) is None


@given(st.integers(1, 10**9))
def test_a_count_is_rounded_up_to_a_power_of_two(count: int) -> None:
    rounded = power_of_two_from(count)
    assert rounded & (rounded - 1) == 0
    assert rounded // 2 < count <= rounded


@given(st.lists(st.text("ab \n", min_size=1).filter(lambda text: text.strip()), min_size=1, max_size=70))
def test_a_trace_counts_down_from_the_number_of_its_prompt_and_never_reaches_zero(parts: list[str]) -> None:
    example = Example("0", "Why?", "\n\n".join(parts), "13")
    (made,) = conditioned([example], [1], Control.STEPS, thinking_format("s1_steps"))
    steps = made.thinking.split(STEP)
    counts = [int(step.split(" ", 1)[0]) for step in steps]
    assert made.question == f"Why?\n\nThink for up to {counts[0]} steps."
    assert counts == list(range(counts[0], counts[0] - len(counts), -1)) and counts[-1] > 0
    assert counts[0] < 2 * len(counts)
    assert [step.split("left\n", 1)[1].strip("\n") for step in steps] == steps_of(example.thinking)


def test_longer_than_the_median_is_long() -> None:
    made = conditioned([EXAMPLES[0]] * 4, [10, 30, 20, 20], Control.CLASS, thinking_format("s1"))
    assert ["long amount" in each.question for each in made] == [False, True, False, False]


def test_a_trace_that_holds_the_delimiter_is_refused() -> None:
    example = Example("7", "Why?", "Because of <|im_start|>, I think.", "13")
    with pytest.raises(ConfigError, match=r"example 7: its trace contains '<\|im_start\|>'"):
        conditioned([example], [5], Control.STEPS, thinking_format("s1_steps"))


def test_a_dialect_that_cannot_open_several_steps_is_refused_before_anything_runs() -> None:
    (x,) = compose(["data=dial_1k", "data.control=steps"]).points
    with pytest.raises(
        ConfigError,
        match=r"it cannot open several steps\. Choose thinking_format@model\.thinking_format=s1_steps",
    ):
        stages_of(x)


def test_a_countdown_passes_the_audit_of_the_training_text() -> None:
    spoken = thinking_format("s1_steps")
    for example in conditioned(EXAMPLES, lengths(EXAMPLES), Control.STEPS, spoken):
        text = training_text(spoken, "", example.thinking, example.answer)
        assert defect(example, spoken, Control.STEPS) is None
        assert delimited_once(text, spoken, Control.STEPS)


def test_without_control_there_is_no_set_to_make() -> None:
    with pytest.raises(ConfigError, match="control none: it needs no conditional set"):
        conditioned(EXAMPLES, lengths(EXAMPLES), Control.NONE, thinking_format("s1"))


def conditioning(home: Path, examples: list[Example]) -> Work[ConditionedConfig]:
    for name in ("rows", "model", "out"):
        (home / name).mkdir()
    write_rows(home / "rows" / "rows.jsonl", examples)
    TOKENIZER.save_pretrained(home / "model")
    inputs = {"rows": (home / "rows",), "model": (home / "model",)}
    config = ConditionedConfig(Control.TOKENS, thinking_format("s1"))
    return Work("key", config, inputs, home / "out", home, home, {}, lambda *_progress: None)


def test_the_stage_counts_the_tokens_of_the_model(tmp_path: Path) -> None:
    summary = conditioned_rows(conditioning(tmp_path, EXAMPLES))
    made = read_rows(tmp_path / "out" / "rows.jsonl", Example)
    counted = lengths(EXAMPLES)
    assert summary == {"examples": 3, "shortest_tokens": min(counted), "longest_tokens": max(counted)}
    assert [each.question.rpartition("\n\n")[2] for each in made] == [
        f"Think for up to {power_of_two_from(count)} tokens." for count in counted
    ]
    assert [(each.id, each.thinking, each.answer) for each in made] == [
        (each.id, each.thinking, each.answer) for each in EXAMPLES
    ]


def test_an_empty_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="example 8: its trace is empty"):
        conditioned_rows(conditioning(tmp_path, [*EXAMPLES, Example("8", "Why?", " \n", "13")]))


@pytest.mark.parametrize("name", ["s1_steps", "s1_steps_forced"])
def test_a_countdown_is_thinking_until_the_answer_or_where_told_until_zero(
    name: str, golden: Callable[[str, str], None], tmp_path: Path
) -> None:
    """The model counts below zero, as the paper's did, and answers then."""
    spoken = thinking_format(name)
    counts = [f"{STEP}{count} steps left\nHm.\n" for count in (1, 0, -1)]
    said = f"{''.join(counts)}{STEP}answer\n"
    prompt = prompt_of(spoken, prompted("Why?", Control.STEPS, 1), TOKENIZER)
    text = prompt_text(spoken, prompted("Why?", Control.STEPS, 1), TOKENIZER)
    model = Reciter(TOKENIZER, text, f"{said}13<|im_end|>", f"{STEP}answer\n", "13<|im_end|>")
    policy = policy_of(budget(answer_tokens=16), thinking_format_ids(spoken, TOKENIZER), (), 400)
    with Continuations(tmp_path) as store:
        job = TraceJob("only", "", policy, Trace(prompt.ids), Sampling(0.0), 0, store)
        ((_, closed),) = Rollout(ScriptedEngine(model, len(TOKENIZER), 400)).run([job])
    assert closed.ending is Ending.NATURAL
    golden(f"traces/{name}.txt", told(closed, TOKENIZER))
