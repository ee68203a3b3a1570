"""The real engine on tiny random models: the tokens of `model.generate`, whatever shares the batch."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from s1.config.schema import ConfigError, EngineConfig, EngineKind
from s1.generate.engine import GenerationRequest, Sampling
from s1.generate.slot_cache import FIRST_LENGTH
from s1.generate.traces import open_model
from s1.generate.transformers_engine import TransformersEngine, unit
from s1.models.location import SAMPLE_TEXT
from tests.support.engines import SETTINGS, VOCABULARY, finish, requests

CACHE_BYTES = 2**28
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2 * FIRST_LENGTH,
    "initializer_range": 0.4,
    "eos_token_id": None,
    "bos_token_id": None,
    "pad_token_id": 0,
}


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    kind = {"qwen2": (Qwen2ForCausalLM, Qwen2Config), "llama": (LlamaForCausalLM, LlamaConfig)}[request.param]
    return kind[0](kind[1](**SIZES)).eval()


def generated(model: PreTrainedModel, request: GenerationRequest) -> tuple[int, ...]:
    prompt = torch.tensor([request.prompt_ids])
    generate: Any = model.generate
    output = generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=request.max_tokens, do_sample=False
    )
    return tuple(output[0, prompt.shape[1] :].tolist())


@pytest.mark.slow
def test_greedy_equals_generate_for_mixed_lengths_and_late_arrivals(model: PreTrainedModel) -> None:
    wanted = requests(24)
    completions = finish(TransformersEngine(model, slots=5, cache_bytes=CACHE_BYTES), wanted, per_step=2)
    assert [completion.ids for completion in completions] == [generated(model, each) for each in wanted]
    assert all(completion.ended_by is None for completion in completions)


def test_greedy_equals_generate_beyond_the_first_length_of_the_cache(model: PreTrainedModel) -> None:
    long = replace(requests(1)[0], prompt_ids=(7,) * (FIRST_LENGTH - 3), max_tokens=20)
    wanted = [*requests(3), long, *requests(3, seed=1)]
    completions = finish(TransformersEngine(model, slots=3, cache_bytes=CACHE_BYTES), wanted)
    assert [completion.ids for completion in completions] == [generated(model, each) for each in wanted]


def test_a_prompt_that_is_mostly_held_is_read_together_with_one_that_is_not(model: PreTrainedModel) -> None:
    """Both fill the cache to its last place: what pads the shorter reading must not reach beyond."""
    engine = TransformersEngine(model, slots=4, cache_bytes=CACHE_BYTES)
    first = replace(requests(1)[0], prompt_ids=tuple(i % 90 for i in range(FIRST_LENGTH - 8)), max_tokens=1)
    finish(engine, [first])
    fresh = replace(first, prompt_ids=tuple(90 - i % 70 for i in range(FIRST_LENGTH - 5)), max_tokens=5)
    wanted = [replace(first, prompt_ids=(*first.prompt_ids, 3, 4, 5), max_tokens=5), fresh]
    assert [completion.ids for completion in finish(engine, wanted)] == [generated(model, each) for each in wanted]


@pytest.mark.slow
def test_little_memory_means_fewer_slots_and_the_same_tokens(model: PreTrainedModel) -> None:
    """Room for six short texts, or three long ones; one text alone is served even where there is room for none."""
    bytes_per_token = 2 * 2 * 2 * 8 * 4
    long = replace(requests(1)[0], prompt_ids=(7,) * (FIRST_LENGTH - 3), max_tokens=20)
    wanted = [*requests(8), long, *requests(8, seed=1), replace(long, prompt_ids=long.prompt_ids[5:])]
    for texts in (6, 0):
        engine = TransformersEngine(model, slots=8, cache_bytes=texts * FIRST_LENGTH * bytes_per_token)
        completions = finish(engine, wanted, per_step=4)
        assert [completion.ids for completion in completions] == [generated(model, each) for each in wanted]


@pytest.mark.slow
def test_prompts_that_continue_what_the_slots_hold_get_the_tokens_of_generate(model: PreTrainedModel) -> None:
    """Prefixes, whole texts and texts that part ways, asked while others still run in slots that were just left."""
    engine = TransformersEngine(model, slots=6, cache_bytes=CACHE_BYTES)
    wanted = requests(12)
    texts = [
        (*each.prompt_ids, *completion.ids) for each, completion in zip(wanted, finish(engine, wanted), strict=True)
    ]
    rng = random.Random(0)
    for turn in range(3):
        cuts = [rng.randint(1, len(text)) for text in texts]
        prompts = [
            text[:cut] + (rng.randrange(VOCABULARY),) * (turn % 2) for text, cut in zip(texts, cuts, strict=True)
        ]
        again = [replace(each, prompt_ids=ids, max_tokens=9) for each, ids in zip(wanted, prompts, strict=True)]
        completions = finish(engine, again, per_step=3)
        assert [completion.ids for completion in completions] == [generated(model, each) for each in again]


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [Sampling(0.0), Sampling(1.0), Sampling(0.8, top_p=0.9)])
def test_tokens_do_not_depend_on_order_slots_or_company(model: PreTrainedModel, sampling: Sampling) -> None:
    wanted = requests(16, sampling=sampling)
    one = finish(TransformersEngine(model, slots=16, cache_bytes=CACHE_BYTES), wanted)
    other = finish(TransformersEngine(model, slots=3, cache_bytes=CACHE_BYTES), wanted[::-1], per_step=1)[::-1]
    assert one == other


@pytest.mark.slow
def test_draws_follow_the_distribution_and_top_p_leaves_out_the_tail(model: PreTrainedModel) -> None:
    prompt = requests(1)[0].prompt_ids
    with torch.inference_mode():
        chances = torch.softmax(model(torch.tensor([prompt])).logits[0, -1].double(), -1)
    for top_p in (1.0, 0.6):
        draws = [GenerationRequest(prompt, 1, (), False, Sampling(1.0, top_p), seed) for seed in range(4000)]
        tokens = torch.tensor(
            [completion.ids[0] for completion in finish(TransformersEngine(model, 512, CACHE_BYTES), draws)]
        )
        ordered, ids = chances.sort(descending=True)
        nucleus = ids[: int((ordered.cumsum(0) < top_p).sum()) + 1]
        expected = torch.zeros(VOCABULARY, dtype=torch.float64)
        expected[nucleus] = chances[nucleus] / chances[nucleus].sum()
        observed = torch.bincount(tokens, minlength=VOCABULARY) / len(draws)
        assert (observed - expected).abs().max() < 0.035  # over four standard errors
        assert set(tokens.tolist()) <= set(nucleus.tolist())


def test_uniform_numbers_are_the_same_on_every_machine() -> None:
    assert unit(0, 0) == 0.6400741756716788
    assert len({unit(seed, position) for seed in range(50) for position in range(50)}) == 2500


@pytest.mark.parametrize("model", ["llama"], indirect=True)  # for qwen2 AutoTokenizer puts its own splitting rules in
def test_a_saved_model_is_loaded_with_its_tokenizer(model: PreTrainedModel, tmp_path: Path) -> None:
    sample = SAMPLE_TEXT.split()  # a tokenizer that loses them would be refused
    words = {word: number for number, word in enumerate([*sample, *(f"w{n}" for n in range(len(sample), VOCABULARY))])}
    word_level = Tokenizer(WordLevel(words, unk_token="w40"))
    word_level.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_level)
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path)
    config = EngineConfig(EngineKind.TRANSFORMERS, "float32", "cpu", 1)
    loaded, load = open_model(tmp_path, config, SETTINGS)
    engine = load()
    wanted = requests(4)
    assert finish(engine, wanted) == finish(TransformersEngine(model, slots=4, cache_bytes=CACHE_BYTES), wanted)
    assert loaded.encode("w27", add_special_tokens=False) == [27]
    assert engine.context_tokens == SIZES["max_position_embeddings"]
    with pytest.raises(ConfigError, match="dtype 'int8': not a floating-point type"):
        open_model(tmp_path, replace(config, dtype="int8"), SETTINGS)[1]()


def test_layers_without_full_attention_are_refused() -> None:
    config = Qwen2Config(**{**SIZES, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1})
    with pytest.raises(ConfigError, match="sliding_attention"):
        TransformersEngine(Qwen2ForCausalLM(config), slots=1, cache_bytes=CACHE_BYTES)
