"""Thinking formats: the delimiters of question, thinking and answer, for models with other delimiters or none."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import cast

import pytest
from tokenizers.normalizers import Lowercase
from transformers import PreTrainedTokenizerFast

from s1.config.schema import Budget, ConfigError, Dial, EngineConfig, EngineKind, Forcing, Generate, ThinkingFormat
from s1.dial import Family
from s1.generate.continuations import Continuations
from s1.generate.engine import Sampling
from s1.generate.engines import installed
from s1.generate.rollout import Rollout, TraceJob
from s1.generate.scripted import ScriptedEngine
from s1.generate.trace import Trace, new_trace
from s1.generate.traces import OpenModel, traces
from s1.models.location import CHAT_PIECES, piece_tokenizer
from s1.models.thinking_format import (
    AFTER,
    BEFORE,
    decode,
    encode,
    prompt_of,
    prompt_text,
    text_before_stop,
    thinking_format_ids,
)
from s1.records import Ending, Question, TraceRow, read_rows, write_rows
from s1.stages import TracesConfig
from sweep.config.compose import compose
from sweep.core.identity import canonical_fields
from sweep.core.stage import Work
from sweep.errors import InputError
from tests.support.speakers import EOS, Reciter, thinking_format_of, tokenizer_of
from tests.support.words import budget, policy_of, told

QUESTION = "What is six plus seven?"
CONTEXT = 4000
OLD_R1 = "r1 of January 2025"
NO_FORCING = Budget(Forcing.NONE, None, 0, 0, "", 16)

THINK = ("<think>\nSix plus seven.\nIt is thirteen.\n</think>\n\n13<|im_end|>", "</think>\n\n", "13<|im_end|>")
THINK_OPEN = (THINK[0].removeprefix("<think>\n").replace("<|im_end|>", EOS), THINK[1], f"13{EOS}")
SKY = (
    "<|begin_of_thought|>\n\nSix plus seven.\n\nIt is thirteen.<|end_of_thought|>\n\n<|begin_of_solution|>\n\n"
    "It is 13.<|end_of_solution|>\n<|im_end|>",
    "<|begin_of_solution|>\n\n",
    "It is 13.<|end_of_solution|>\n<|im_end|>",
)
PLAIN = ("Six plus seven.\nIt is 13.<|im_end|>", "Final Answer:", " 13<|im_end|>")

# name: model, what it says by itself, the marker after which it answers, its answer, budget
CASES = {
    "think-ends-by-itself": ("qwen3_8b", *THINK, budget(answer_tokens=16)),
    "think-reaches-the-cap": ("qwen3_8b", *THINK, budget(6, answer_tokens=16)),
    "think-cap-at-a-line-end": ("qwen3_8b", *THINK, budget(4, answer_tokens=16)),
    "think-no-forcing": ("qwen3_8b", *THINK, NO_FORCING),
    "think-opened-by-the-template": ("r1_distill_qwen_1_5b", *THINK_OPEN, budget(waits=1, answer_tokens=16)),
    "think-opened-by-the-template-no-forcing": ("r1_distill_qwen_1_5b", *THINK_OPEN, NO_FORCING),
    "sky-t1-ends-by-itself": ("sky_t1_32b", *SKY, budget(answer_tokens=60)),
    "sky-t1-reaches-the-cap": ("sky_t1_32b", *SKY, budget(6, answer_tokens=60)),
    "sky-t1-cap-cuts-the-delimiter": ("sky_t1_32b", *SKY, budget(9, answer_tokens=60)),
    "sky-t1-no-forcing": ("sky_t1_32b", *SKY, NO_FORCING),
    "plain-ends-by-itself": ("qwen2_5_7b", *PLAIN, budget(answer_tokens=16)),
    "plain-reaches-the-cap": ("qwen2_5_7b", *PLAIN, budget(6, answer_tokens=16)),
    "plain-no-forcing": ("qwen2_5_7b", *PLAIN, NO_FORCING),
}


def speaking(model: str, response: str, marker: str, answered: str) -> tuple[Trace, ScriptedEngine]:
    """The trace before the model speaks, and the model."""
    tokenizer = tokenizer_of(model)
    prompt = prompt_of(thinking_format_of(model), QUESTION, tokenizer)
    start = new_trace(prompt.ids, prompt.opening)
    reciter = Reciter(tokenizer, decode(start.ids, tokenizer), response, marker, answered)
    return start, ScriptedEngine(reciter, len(tokenizer), CONTEXT)


@pytest.mark.parametrize("name", CASES)
def test_the_trace_reads_as_agreed(name: str, golden: Callable[[str, str], None], tmp_path: Path) -> None:
    model, *spoken, wanted = CASES[name]
    tokenizer = tokenizer_of(model)
    policy = policy_of(
        wanted, thinking_format_ids(thinking_format_of(model), tokenizer), encode("Wait", tokenizer), CONTEXT
    )
    start, engine = speaking(model, *spoken)
    with Continuations(tmp_path) as store:
        job = TraceJob("only", "", policy, start, Sampling(0.0), 0, store)
        ((_, closed),) = Rollout(engine).run([job])
    golden(f"traces/{name}.txt", told(closed, tokenizer))


@pytest.mark.parametrize(("name", "text"), [("plain-ends-by-itself", "Final Answer: 13"), ("plain-no-forcing", None)])
def test_words_put_into_the_model_s_mouth_are_graded(name: str, text: str | None, tmp_path: Path) -> None:
    row = graded(name, tmp_path)
    assert row.answer == (text or "Six plus seven.\nIt is 13.")
    assert row.ending is (Ending.NATURAL if text else Ending.NONE)


def test_a_mark_that_shares_a_token_with_the_stop_is_graded(tmp_path: Path) -> None:
    row = graded("sky-t1-ends-by-itself", tmp_path)
    assert (row.thinking, row.answer) == ("Six plus seven.\n\nIt is thirteen", "It is 13.")


def graded(name: str, root: Path) -> TraceRow:
    """The row that the generation stage writes for a case."""
    return graded_row(CASES[name], root)


def graded_row(case: tuple[str, str, str, str, Budget], root: Path) -> TraceRow:
    """The same for any case: model, what it says by itself, the marker after which it answers, its answer, budget."""
    model, *spoken, wanted = case
    write_rows(root / "questions.jsonl", [Question("q", QUESTION, "13")])
    engine_config = EngineConfig(EngineKind.TRANSFORMERS, "float32", "cpu", 1)
    generate = Generate(1, 0.0, 1.0, 0, share=True)
    config = TracesConfig(
        wanted, thinking_format_of(model), engine_config, installed(engine_config.kind), generate, CONTEXT
    )
    inputs = {"model": (root,), "questions": (root,)}
    work = Work("key", config, inputs, root, root, root, settings={}, report=lambda done, total, unit: None)
    _, engine = speaking(model, *spoken)
    open_model = cast(OpenModel, lambda *_opened: (tokenizer_of(model), lambda: engine))
    list(traces([work], open_model))
    (row,) = read_rows(root / "traces.jsonl", TraceRow)
    return row


# --- spellings


@pytest.mark.parametrize(("before", "after"), list(product(BEFORE, AFTER)))
def test_a_delimiter_is_found_however_its_seams_are_spelled(before: str, after: str) -> None:
    tokenizer = tokenizer_of("sky_t1_32b")
    ids = thinking_format_ids(thinking_format_of("sky_t1_32b"), tokenizer)
    written = encode(f"It is thirteen{before}<|end_of_thought|>{after}<|begin_of_solution|>", tokenizer)
    stops = [stop for stop in ids.thinking_stops if stop in windows(written, len(stop))]
    assert stops
    assert all("<|end_of_thought|>" in decode(stop, tokenizer) for stop in stops)


def test_one_spelling_is_not_enough_for_a_delimiter_of_several_tokens() -> None:
    tokenizer = tokenizer_of("sky_t1_32b")
    alone = encode("<|end_of_thought|>", tokenizer)
    assert alone not in windows(encode("thirteen.<|end_of_thought|>\n\n", tokenizer), len(alone))


def windows(ids: tuple[int, ...], length: int) -> list[tuple[int, ...]]:
    return [ids[start : start + length] for start in range(len(ids) - length + 1)]


def test_one_special_token_has_one_spelling() -> None:
    for model in ("qwen3_8b", "r1_distill_qwen_1_5b"):
        thinking_format, tokenizer = thinking_format_of(model), tokenizer_of(model)
        ids = thinking_format_ids(thinking_format, tokenizer)
        assert ids.thinking_stops == (encode("</think>", tokenizer),)
        assert ids.answer_stops == tuple(encode(stop, tokenizer) for stop in thinking_format.answer_stops)


def test_the_laptop_model_knows_its_delimiters_by_one_spelling() -> None:
    tokenizer = piece_tokenizer((*CHAT_PIECES, *Family(Dial()).pieces()))
    ids = thinking_format_ids(thinking_format_of("smollm2_135m"), tokenizer)
    opened, closed = (encode(token, tokenizer) for token in ("<|im_start|>", "<|im_end|>"))
    assert (ids.thinking_stops, ids.answer_stops) == ((opened, closed), (closed,))


def test_a_stop_tells_what_it_holds_of_the_text_before_it() -> None:
    tokenizer = tokenizer_of("sky_t1_32b")
    for text, before in ((".<|end_of_solution|>\n", "."), ("<|im_end|>", ""), ("", "")):
        stops = thinking_format_of("sky_t1_32b").answer_stops
        assert text_before_stop(encode(text, tokenizer), stops, tokenizer) == before


# --- prompts


@pytest.mark.parametrize(
    ("model", "is_open"), [("r1_distill_qwen_1_5b", True), (OLD_R1, False), ("qwq_32b", True), ("qwen3_8b", False)]
)
def test_the_opening_is_written_once_by_whoever_writes_it(model: str, is_open: bool) -> None:
    thinking_format = thinking_format_of("r1_distill_qwen_1_5b" if model == OLD_R1 else model)
    tokenizer = tokenizer_of(model)
    prompt = prompt_of(thinking_format, QUESTION, tokenizer)
    template = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], tokenize=False, add_generation_prompt=True
    )
    assert prompt.opening == (encode("<think>\n", tokenizer) if is_open else ())
    assert decode(new_trace(prompt.ids, prompt.opening).ids, tokenizer) == template
    assert "<think>" not in prompt_text(thinking_format, QUESTION, tokenizer)


def test_old_and_new_templates_of_r1_are_forced_to_the_same_ids() -> None:
    thinking_format = thinking_format_of("r1_distill_qwen_1_5b")
    forced = []
    for model in ("r1_distill_qwen_1_5b", OLD_R1):
        tokenizer = tokenizer_of(model)
        prompt = prompt_of(thinking_format, QUESTION, tokenizer)
        forced.append((prompt.ids, prompt.opening or thinking_format_ids(thinking_format, tokenizer).thinking_start))
    assert forced[0] == forced[1]


def test_an_opening_that_the_template_writes_otherwise_is_refused() -> None:
    thinking_format = replace(thinking_format_of("qwq_32b"), thinking_start="<think>\n\n")
    with pytest.raises(ConfigError, match=r"thinking_start '<think>\\n\\n': the prompt already ends in "):
        prompt_of(thinking_format, QUESTION, tokenizer_of("qwq_32b"))


def test_sky_t1_is_asked_as_it_was_trained(golden: Callable[[str, str], None]) -> None:
    golden("prompts/sky_t1.txt", prompt_text(thinking_format_of("sky_t1_32b"), QUESTION, tokenizer_of("sky_t1_32b")))


# --- a thinking format of another model


@pytest.mark.parametrize(("thinking_format", "model"), [("r1_distill_qwen_1_5b", "qwen3_8b"), ("qwen3_8b", OLD_R1)])
def test_a_dialect_whose_end_of_turn_is_not_the_model_s_is_refused(thinking_format: str, model: str) -> None:
    with pytest.raises(ConfigError, match="none of them is a single token of this tokenizer"):
        thinking_format_ids(thinking_format_of(thinking_format), tokenizer_of(model))


def test_a_delimiter_that_the_tokenizer_changes_is_refused() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer_of("qwen3_8b").backend_tokenizer)
    tokenizer.backend_tokenizer.normalizer = Lowercase()
    thinking_format = replace(thinking_format_of("qwen3_8b"), forced_end="</think>\n\nFinal Answer:")
    with pytest.raises(ConfigError, match=r"forced_end .* the tokenizer turns it into '</think>\\n\\nfinal answer:'"):
        thinking_format_ids(thinking_format, tokenizer)


# ------------------------------------------------------------------------------------- arguments of the chat template

SWITCHED = (
    "{% for each in messages %}<|im_start|>{{ each.role }}\n{{ each.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


def switched(**arguments: object) -> tuple[ThinkingFormat, PreTrainedTokenizerFast]:
    """Qwen3's switch, with the plain thinking_format."""
    tokenizer = deepcopy(tokenizer_of("qwen3_8b"))
    tokenizer.chat_template = SWITCHED
    return replace(thinking_format_of("qwen2_5_7b"), template_arguments=arguments or None), tokenizer


def test_arguments_reach_the_chat_template_of_prompts_and_of_training_text() -> None:
    thinks, silent = (prompt_text(*_around(switched(**given))) for given in ({}, {"enable_thinking": False}))
    assert thinks.endswith("<|im_start|>assistant\n")
    assert silent == thinks + "<think>\n\n</think>\n\n"
    thinking_format, tokenizer = switched(enable_thinking=False)
    assert decode(prompt_of(thinking_format, QUESTION, tokenizer).ids, tokenizer) == silent


def _around(
    pair: tuple[ThinkingFormat, PreTrainedTokenizerFast],
) -> tuple[ThinkingFormat, str, PreTrainedTokenizerFast]:
    return pair[0], QUESTION, pair[1]


def test_an_argument_that_the_template_does_not_use_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"enable_thought: .* does not use it \(it uses: .*enable_thinking"):
        prompt_text(*_around(switched(enable_thought=False)))


def test_thinking_that_the_template_has_closed_is_not_opened_again() -> None:
    thinking_format, tokenizer = switched(enable_thinking=False)
    thinking = replace(thinking_format_of("qwen3_8b"), template_arguments=thinking_format.template_arguments)
    with pytest.raises(ConfigError, match="already ends in '</think>', which closes the thinking"):
        prompt_text(thinking, QUESTION, tokenizer)


def test_a_tokenizer_without_a_chat_template_is_refused_with_what_to_write() -> None:
    thinking_format, tokenizer = switched()
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match=r"has no chat template\. Set the prompt"):
        prompt_text(thinking_format, QUESTION, tokenizer)


def test_a_template_that_refuses_is_named_with_what_it_says() -> None:
    thinking_format, tokenizer = switched()
    tokenizer.chat_template = "{{ raise_exception('no system prompt, please') }}"
    with pytest.raises(ConfigError, match=r"raises an error \(no system prompt, please\)"):
        prompt_text(thinking_format, QUESTION, tokenizer)


def test_arguments_are_typed_on_the_command_line_and_reach_the_key_only_when_they_are_given() -> None:
    def thinking_format(*typed: str) -> ThinkingFormat:
        (x,) = compose(["model=qwen3_8b", "data=none", "task=aime24", *typed]).points
        return x.model.thinking_format

    given = thinking_format("model.thinking_format.template_arguments={enable_thinking: false}")
    assert given.template_arguments == {"enable_thinking": False}
    assert "template_arguments" not in canonical_fields(thinking_format())
    assert canonical_fields(given)["template_arguments"] == {"enable_thinking": False}
    with pytest.raises(InputError, match=r"template_arguments\.tokenize: set by the sweep"):
        thinking_format("model.thinking_format.template_arguments={tokenize: true}")
    with pytest.raises(InputError, match=r"template_arguments\.enable_thinking: only a chat template takes it"):
        thinking_format(
            "model.thinking_format.template_arguments={enable_thinking: false}",
            "model.thinking_format.prompt='{question}'",
        )
