"""The training text as token ids, and the audit that is made of it before anything is trained."""

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.config.data import Control
from s1.config.schema import ConfigError, Dial, Overlong, ThinkingFormat
from s1.data.funnel import FunnelStep, read_funnel, write_funnel
from s1.dial import Family
from s1.models.location import CHAT_PIECES, piece_tokenizer
from s1.models.thinking_format import decode, encode, prompt_text, training_text
from s1.plots.lengths import edges
from s1.records import Example, TokenRow, read_rows, write_rows
from s1.stages import RenderedConfig
from s1.train.render import render
from s1.train.text_audit import (
    ALL_PROMPT,
    TOO_LONG,
    AuditFinding,
    audit_text,
    defect,
    delimited_once,
    delimiters,
    with_length_check,
)
from sweep.core.stage import Work

S1 = ThinkingFormat(
    prompt=None,
    thinking_start="<|im_start|>think\n",
    thinking_stops=["<|im_start|>", "<|im_end|>"],
    thinking_end="<|im_start|>answer\n",
    forced_end="<|im_start|>answer\nFinal Answer:",
    answer_stops=["<|im_end|>"],
    newline_before_end=True,
    answer_prefix="Answer: ",
)
THINK = replace(S1, thinking_start="<think>\n", thinking_stops=["</think>"], thinking_end="</think>\n\n")
# What Qwen2.5's chat template makes of a user's turn without a system message: its own line stands in for one.
QWEN_TEMPLATE = (
    "{% if messages[0].role == 'system' %}<|im_start|>system\n{{ messages[0].content }}<|im_end|>\n{% else %}"
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages if message.role != 'system' %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = RenderedConfig(S1, block_size=512, overlong=Overlong.REFUSE, control=Control.NONE)
EXAMPLES = [
    Example("a", "Dial @4. Ann +3. Dial now?", "Dial @4 = 4. Ann +3 = 7. So 7.\nWait, check 2.", "Final Answer: 7"),
    Example("b", "Dial @1. Dial now?", "So 1.", "1"),
]


@pytest.fixture(scope="module")
def tokenizer():
    made = piece_tokenizer((*CHAT_PIECES, *Family(Dial()).pieces()))
    made.chat_template = QWEN_TEMPLATE
    return made


@pytest.fixture(scope="module")
def model(tokenizer, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("model")
    tokenizer.save_pretrained(place)
    return place


def rendered(place: Path, model: Path, examples, config: RenderedConfig = PLAIN):
    """Run the stage; its summary, rows and audit."""
    for name in ("rows", "out"):
        (place / name).mkdir(exist_ok=True)
    write_rows(place / "rows" / "rows.jsonl", examples)
    inputs = {"rows": (place / "rows",), "model": (model,)}
    summary = render(Work("key", config, inputs, place / "out", place, place, {}, lambda *_progress: None))
    rows = read_rows(place / "out" / "rows.jsonl", TokenRow)
    return summary, rows, json.loads((place / "out" / "audit.json").read_text())


# --------------------------------------------------------------------------------------------------- the text


def test_the_text_is_s1s_own_up_to_the_end_of_the_answer(tokenizer):
    text = training_text(S1, prompt_text(S1, " Q\n", tokenizer), "\nTRACE ", " ANSWER\n")
    assert text.prompt + text.completion + "\n" == (  # s1 trains on the template's last newline as well
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nQ<|im_end|>\n"
        "<|im_start|>assistant\n<|im_start|>think\nTRACE\n<|im_start|>answer\nAnswer: ANSWER<|im_end|>\n"
    )


@given(st.text(alphabet="Answer: 7\n"))
def test_an_answer_is_prefixed_unless_it_says_answer_somewhere_and_never_twice(answer):
    once = training_text(S1, "", "t", answer).answer.removesuffix("<|im_end|>")
    assert training_text(S1, "", "t", once).answer.removesuffix("<|im_end|>") == once.strip()
    assert once == (answer.strip() if "Answer:" in answer else f"Answer: {answer.strip()}")
    assert training_text(replace(S1, answer_prefix=None), "", "t", answer).answer == f"{answer.strip()}<|im_end|>"


def test_rows_begin_to_be_trained_where_the_thinking_opens_and_end_where_the_answer_stops(tmp_path, model, tokenizer):
    _, rows, _ = rendered(tmp_path, model, EXAMPLES)
    assert [row.id for row in rows] == ["a", "b"]
    for row, example in zip(rows, EXAMPLES, strict=True):
        prompt, trained = row.input_ids[: row.prompt_tokens], row.input_ids[row.prompt_tokens :]
        assert decode(prompt, tokenizer) == prompt_text(S1, example.question, tokenizer)
        assert tuple(trained[:3]) == encode(S1.thinking_start, tokenizer)
        assert trained[-1:] == list(encode("<|im_end|>", tokenizer))
        assert decode(trained, tokenizer).startswith(f"<|im_start|>think\n{example.thinking}\n<|im_start|>answer\n")


# -------------------------------------------------------------------------------------------------- the audit


def broken() -> list[Example]:
    whole = EXAMPLES[0]
    return [
        *EXAMPLES,
        replace(whole, id="c", answer=" \n"),
        replace(whole, id="d", thinking=""),
        replace(whole, id="e", thinking="So <|im_start|>answer\n7"),
        replace(whole, id="f", answer="Final Answer: 7<|im_end|>"),
        replace(whole, id="g", question="Dial? <|im_end|>"),
        replace(whole, id="h", question=""),
        replace(whole, id="i", answer="Final Answer: cafe\u0301"),
    ]


def test_what_cannot_be_trained_on_is_left_out_and_counted_by_its_reason(tmp_path, model, golden):
    summary, rows, found = rendered(tmp_path, model, broken())
    assert [row.id for row in rows] == ["a", "b", "i"]
    assert (summary["examples"], summary["dropped"], summary["cut"]) == (3, 6, 0)
    assert found["dropped"] == {
        "no answer": 1,
        "no thinking": 1,
        "holds the delimiter <|im_start|>": 1,
        "holds the delimiter <|im_end|>": 2,
        "no question": 1,
    }
    golden("data/audit.csv", (tmp_path / "out" / "audit.csv").read_text())
    golden("data/audit.json", (tmp_path / "out" / "audit.json").read_text())
    golden("data/sample.txt", (tmp_path / "out" / "sample.txt").read_text())
    listed = [row for row in csv.DictReader((tmp_path / "out" / "audit.csv").open()) if row["verdict"] == "dropped"]
    assert sum(int(row["count"]) for row in listed) == summary["dropped"]


def test_the_funnel_of_the_input_goes_on_by_a_step(tmp_path, model):
    (tmp_path / "rows").mkdir()
    write_funnel(tmp_path / "rows", [FunnelStep("selected", kept=9)])
    rendered(tmp_path, model, broken())
    selected, step = read_funnel(tmp_path / "out")
    assert (selected, step.name, step.kept, step.dropped_rows) == (FunnelStep("selected", kept=9), "rendered", 3, 6)
    assert step.dropped["no answer"] == 1
    assert [each.question for each in step.examples if each.id == "c"] == [EXAMPLES[0].question]


def test_the_same_set_gives_the_same_files(tmp_path, model):
    def files(place: Path) -> dict[str, bytes]:
        place.mkdir()
        rendered(place, model, EXAMPLES)
        return {str(path.relative_to(place)): path.read_bytes() for path in (place / "out").rglob("*.*")}

    first = files(tmp_path / "one")
    assert first == files(tmp_path / "two")
    assert {"out/figures/lengths.png", "out/figures/lengths.svg", "out/audit.csv"} < set(first)
    assert "block_size 512" in first["out/figures/lengths.svg"].decode()


def test_an_id_that_stands_twice_is_refused(tmp_path, model):
    with pytest.raises(ConfigError, match="example a: two examples have this id"):
        rendered(tmp_path, model, [*EXAMPLES, EXAMPLES[0]])


def test_a_set_of_which_nothing_is_left_is_refused(tmp_path, model):
    with pytest.raises(ConfigError, match=r"data of 1 examples: none can be trained on \(1 no answer\)"):
        rendered(tmp_path, model, [replace(EXAMPLES[0], answer="")])


def test_a_text_that_the_tokenizer_changes_is_left_out_but_not_for_its_unicode_form(tmp_path, tokenizer):
    from tokenizers import normalizers

    for name, normaliser, kept in (("nfc", normalizers.NFC(), 1), ("lower", normalizers.Lowercase(), 0)):
        place = tmp_path / name
        changed: Any = piece_tokenizer((*CHAT_PIECES, *Family(Dial()).pieces()))
        changed.chat_template = QWEN_TEMPLATE
        changed.backend_tokenizer.normalizer = normaliser
        changed.save_pretrained(place / "model")
        example = replace(EXAMPLES[0], answer="Final Answer: cafe\u0301")
        if kept:
            _, rows, found = rendered(place, place / "model", [example])
            noted = next(check for check in found["checks"] if check["what"] == "another Unicode form")
            assert (len(rows), noted["count"], noted["verdict"]) == (1, 1, "noted")
        else:
            with pytest.raises(ConfigError, match="1 not kept by the tokenizer"):
                rendered(place, place / "model", [example])


# ------------------------------------------------------------------------------------------ too long for a block


@pytest.fixture(scope="module")
def tokens(model, tmp_path_factory) -> list[int]:
    _, rows, _ = rendered(tmp_path_factory.mktemp("whole"), model, EXAMPLES)
    return [len(row.input_ids) for row in rows]


def test_an_example_longer_than_the_block_is_refused_with_its_length_and_the_fixes(tmp_path, model, tokens):
    with pytest.raises(ConfigError) as refused:
        rendered(tmp_path, model, EXAMPLES, replace(PLAIN, block_size=tokens[0] - 1))
    assert str(refused.value) == (
        f"train.block_size {tokens[0] - 1}: 1 of 2 examples are longer, the longest {tokens[0]} tokens. Raise it, or"
        " set train.overlong to drop (removes them) or cut (loses their answers)."
    )


def test_a_block_that_just_holds_the_longest_example_is_enough(tmp_path, model, tokens):
    summary, _, found = rendered(tmp_path, model, EXAMPLES, replace(PLAIN, block_size=max(tokens)))
    assert (summary["examples"], summary["longest"], found["longer"]) == (2, max(tokens), 0)


def test_long_examples_are_dropped_when_told_to(tmp_path, model, tokens):
    config = replace(PLAIN, block_size=tokens[0] - 1, overlong=Overlong.DROP)
    summary, rows, found = rendered(tmp_path, model, EXAMPLES, config)
    assert [row.id for row in rows] == ["b"]
    assert found["dropped"] == {TOO_LONG: 1}
    assert (summary["dropped"], summary["tokens"], summary["longest"]) == (1, tokens[1], tokens[1])


def test_cutting_says_how_many_answers_were_broken_off_and_how_many_lost(tmp_path, model, tokens, tokenizer):
    answer = len(encode("Final Answer: 7<|im_end|>", tokenizer))
    for lost, block in ((0, tokens[0] - 1), (1, tokens[0] - answer)):
        (place := tmp_path / str(block)).mkdir()
        config = replace(PLAIN, block_size=block, overlong=Overlong.CUT)
        summary, rows, found = rendered(place, model, EXAMPLES, config)
        assert [len(row.input_ids) for row in rows] == [min(each, block) for each in tokens]
        assert (summary["cut"], found["cut"], found["answers_lost"]) == (1, 1, lost)
        assert summary["trained_tokens"] == sum(len(row.input_ids) - row.prompt_tokens for row in rows)


def test_an_example_of_which_only_the_prompt_is_left_is_not_trained_on():
    assert with_length_check(AuditFinding(None, 90, 40, 80), 40, Overlong.CUT).reason == ALL_PROMPT
    assert with_length_check(AuditFinding(None, 90, 40, 80), 41, Overlong.CUT).reason is None


@given(
    st.lists(st.tuples(st.integers(2, 400), st.integers(1, 99)), min_size=1, max_size=50),
    st.integers(50, 500),
    st.sampled_from([Overlong.DROP, Overlong.CUT]),
)
def test_every_example_has_exactly_one_fate(sizes, block_size, overlong):
    findings = [AuditFinding("no answer")]
    findings += [AuditFinding(None, length, max(1, length * share // 100), length - 1) for length, share in sizes]
    findings = [with_length_check(each, block_size, overlong) for each in findings]
    if all(each.reason for each in findings):
        return
    found = audit_text(findings, delimiters(S1), block_size, overlong)
    assert found.kept + sum(found.dropped.values()) == found.examples == len(sizes) + 1
    assert sum(check.count for check in found.checks if check.verdict.value == "dropped") == found.examples - found.kept
    assert 0 < found.trained_tokens < found.tokens <= found.kept * block_size
    assert found.lengths.n == len(sizes)
    assert found.lengths.min <= found.lengths.median <= found.lengths.max
    assert sum(length <= found.lengths.p95 for length, _ in sizes) >= 0.95 * len(sizes)


# --------------------------------------------------------------------------------------- delimiters, and control


def test_delimiters_are_named_by_their_shortest_part():
    assert delimiters(S1) == ("<|im_start|>", "<|im_end|>")
    assert delimiters(THINK) == ("<think>", "</think>", "<|im_end|>")


def test_a_trace_that_counts_its_steps_down_may_open_each_but_not_the_answer(tmp_path, model, tokenizer):
    counting = replace(S1, thinking_start="<|im_start|>", thinking_stops=["<|im_start|>answer", "<|im_end|>"])
    counted = "2 steps left\nDial @4 = 4.\n<|im_start|>1 steps left\nAnn +3 = 7."
    steps = replace(EXAMPLES[0], thinking=counted)
    assert defect(steps, counting, Control.NONE) == "holds the delimiter <|im_start|>"
    assert defect(steps, counting, Control.STEPS) is None
    for thinking in (f"{counted}\n<|im_start|>answer\n7", f"{counted}<|im_end|>"):
        assert "holds the delimiter" in (defect(replace(steps, thinking=thinking), counting, Control.STEPS) or "")
    assert defect(replace(steps, answer="<|im_start|>"), counting, Control.STEPS) == "holds the delimiter <|im_start|>"
    config = replace(PLAIN, thinking_format=counting, control=Control.STEPS)
    _, rows, _ = rendered(tmp_path, model, [steps], config)
    assert decode(rows[0].input_ids[rows[0].prompt_tokens :], tokenizer) == (
        f"<|im_start|>{counted}\n<|im_start|>answer\nFinal Answer: 7<|im_end|>"
    )


def test_words_that_open_the_answer_may_stand_in_it_only_once():
    words = replace(S1, thinking_end="Final:", answer_prefix=None)
    assert delimited_once(training_text(words, "", "So 7.", "7"), words, Control.NONE)
    assert not delimited_once(training_text(words, "", "So 7.", "7 Final: 7"), words, Control.NONE)
    assert not delimited_once(training_text(words, "", "So 7. Final: 7", "7"), words, Control.NONE)


# ---------------------------------------------------------------------------------------------------- the figure


@given(st.lists(st.integers(1, 10**5), min_size=1, max_size=30), st.integers(1, 10**5))
def test_bins_hold_every_length_and_none_straddles_block_size(tokens, block_size):
    bins = edges(tokens, block_size)
    assert len(bins) >= 2
    assert bins[0] <= min(tokens) <= max(tokens) < bins[-1]
    for low, high in pairwise(bins):
        assert not low < block_size + 0.5 < high
