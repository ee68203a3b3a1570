"""Fine-tuning: what is trained on, in which order, and that a killed run goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1.config import Architecture, ConfigError, Dial, Dialect, ModelKind, Train
from s1.data.dial import Family
from s1.data.rows import curate
from s1.dialect import decode, encode
from s1.records import Example
from s1.stages import Curated, Sft, Start
from s1.train.sft import accumulation_steps, encoded, newest_complete, row_order, train
from s1.train.start import CHAT_PIECES, materialise, piece_tokenizer
from sweep.stage import Work

DIALECT = Dialect(
    prompt=None,
    thinking_start="<|im_start|>think\n",
    thinking_stops=["<|im_start|>", "<|im_end|>"],
    thinking_end="<|im_start|>answer\n",
    forced_end="<|im_start|>answer\nFinal Answer:",
    answer_stops=["<|im_end|>"],
    newline_before_end=True,
)
RECIPE = Train(
    steps=6,
    batch_size=4,
    learning_rate=1e-2,
    warmup_steps=2,
    scheduler="linear",
    adam_beta1=0.9,
    adam_beta2=0.98,
    weight_decay=0.05,
    max_grad_norm=1.0,
    block_size=512,
    length_window=2,
    dtype="float32",
)
TINY = Architecture(hidden_size=16, layers=1, heads=2, feed_forward_size=16, rope_theta=1000.0, initializer_range=0.1)
EXAMPLE = Example(
    "dial-0000", "Dial @4. Ann +3. Dial now?", "Dial @4 = 4. Ann +3 = 7. So 7.\nWait, check 2.", "Final Answer: 7"
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, tuple[Path, ...]]:
    """A tiny model and 30 examples."""
    made = {role: tmp_path_factory.mktemp(role) for role in ("model", "data")}
    data = Curated(Dial(turns_max=3), examples=30, seed=0)
    start = Start(ModelKind.FRESH, None, None, None, architecture=TINY, dial=data.dial, seed=0)
    materialise(Work("start", start, {}, made["model"], made["model"], made["model"], {}, lambda *_progress: None))
    curate(Work("data", data, {}, made["data"], made["data"], made["data"], {}, lambda *_progress: None))
    return {role: (path,) for role, path in made.items()}


def work(
    inputs, place: Path, recipe: Train = RECIPE, micro_batch: int = 4, report=lambda *_progress: None
) -> Work[Sft]:
    for name in ("out", "scratch"):
        (place / name).mkdir(parents=True, exist_ok=True)
    settings = {"device": "cpu", "micro_batch": micro_batch, "checkpoint_every_steps": 2}
    return Work("key", Sft(recipe, DIALECT), inputs, place / "out", place / "scratch", place, settings, report)


def metrics(place: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (place / "out" / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(inputs, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("uninterrupted")
    train(work(inputs, place))
    return place


# ------------------------------------------------------------------------------------------- what is trained


def test_loss_is_on_thinking_and_answer_and_on_nothing_else():
    tokenizer = piece_tokenizer((*CHAT_PIECES, *Family(Dial()).pieces()))
    row = encoded(EXAMPLE, DIALECT, tokenizer, 512)
    trained = [token for token, label in zip(row.input_ids, row.labels, strict=True) if label != -100]
    assert decode(trained, tokenizer) == (
        f"<|im_start|>think\n{EXAMPLE.thinking}\n<|im_start|>answer\nFinal Answer: 7<|im_end|>"
    )
    assert all(label in (-100, token) for token, label in zip(row.input_ids, row.labels, strict=True))
    assert decode(row.input_ids[: row.prompt_tokens], tokenizer) == (
        f"<|im_start|>user\n{EXAMPLE.question}<|im_end|>\n<|im_start|>assistant\n"
    )


def test_training_shows_the_very_tokens_that_forcing_appends():
    tokenizer = piece_tokenizer((*CHAT_PIECES, *Family(Dial()).pieces()))
    row = tuple(encoded(EXAMPLE, DIALECT, tokenizer, 512).input_ids)
    forced = (["<|im_start|>think\n"], ["\n", "Wait"], ["\n", "<|im_start|>answer\n"], ["\n", DIALECT.forced_end])
    for texts in forced:
        piece = sum((encode(text, tokenizer) for text in texts), ())
        assert any(row[start : start + len(piece)] == piece for start in range(len(row)))


def test_an_example_longer_than_the_block_is_refused_and_never_cut():
    tokenizer = piece_tokenizer((*CHAT_PIECES, *Family(Dial()).pieces()))
    tokens = len(encoded(EXAMPLE, DIALECT, tokenizer, 512).input_ids)
    assert len(encoded(EXAMPLE, DIALECT, tokenizer, tokens).input_ids) == tokens
    with pytest.raises(ConfigError, match=rf"example dial-0000: {tokens} tokens, above train\.block_size {tokens - 1}"):
        encoded(EXAMPLE, DIALECT, tokenizer, tokens - 1)


# --------------------------------------------------------------------------------------------- in which order


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(0, 9), st.integers(1, 4))
@settings(deadline=None)
def test_rows_are_seen_equally_often_whatever_their_length(lengths, seed, length_window):
    recipe = replace(RECIPE, steps=25, seed=seed, length_window=length_window)
    order = row_order(lengths, recipe)
    assert len(order) == 100
    assert order == row_order(lengths, recipe)
    seen = Counter(order)
    # a window may be left half used at the end
    spread = 1 + -(-length_window * recipe.batch_size // len(lengths))
    assert max(seen.values()) - min(seen[row] for row in range(len(lengths))) <= spread


def test_a_batch_holds_rows_of_like_length():
    lengths = [10, 500] * 40
    order = row_order(lengths, replace(RECIPE, steps=20, length_window=20))
    batches = [order[start : start + 4] for start in range(0, len(order), 4)]
    assert all(len({lengths[row] for row in batch}) == 1 for batch in batches)


def test_a_batch_that_micro_batches_do_not_make_exactly_is_refused():
    assert accumulation_steps(8, 4) == 2
    with pytest.raises(ConfigError, match=r"train\.batch_size 8: not a multiple of machine\.micro_batch 3"):
        accumulation_steps(8, 3)


# ------------------------------------------------------------------------------------------------ and how it goes


def test_every_step_is_measured_and_the_model_learns(uninterrupted):
    rows = metrics(uninterrupted)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert set(rows[0]) == {"step", "loss", "learning_rate", "grad_norm", "tokens"}
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[2]["learning_rate"] == max(row["learning_rate"] for row in rows) == RECIPE.learning_rate
    assert all(earlier["tokens"] < later["tokens"] for earlier, later in pairwise(rows))


def test_the_trainer_follows_the_order_that_was_decided(uninterrupted):
    state = json.loads((uninterrupted / "scratch" / "checkpoint-6" / "trainer_state.json").read_text())
    its_count = [entry["num_tokens"] for entry in state["log_history"]]
    assert its_count == [row["tokens"] for row in metrics(uninterrupted)]


def test_the_product_loads_as_it_is(uninterrupted, inputs):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = uninterrupted / "out"
    model = AutoModelForCausalLM.from_pretrained(out)
    before = AutoTokenizer.from_pretrained(inputs["model"][0])
    assert AutoTokenizer.from_pretrained(out).get_vocab() == before.get_vocab()
    assert model.config.vocab_size == len(before)
    assert not [path.name for path in out.iterdir() if path.suffix in (".bin", ".pt", ".pth")]


def test_the_micro_batch_does_not_change_what_is_learned(uninterrupted, inputs, tmp_path):
    train(work(inputs, tmp_path, micro_batch=2))
    whole, split = metrics(uninterrupted), metrics(tmp_path)
    assert [row["tokens"] for row in split] == [row["tokens"] for row in whole]
    assert [row["loss"] for row in split] == pytest.approx([row["loss"] for row in whole], rel=1e-3)


def test_progress_is_reported_step_by_step_and_nothing_is_printed(inputs, tmp_path, capfd):
    told = []
    train(work(inputs, tmp_path, replace(RECIPE, steps=2), report=lambda *progress: told.append(progress)))
    assert told == [(1, 2, "steps"), (2, 2, "steps")]
    assert capfd.readouterr() == ("", "")


def test_a_run_killed_while_it_saves_goes_on_as_if_nothing_had_happened(uninterrupted, inputs, tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", "from test_sft import killed_in_its_second_save as run; run()"],
        env={**os.environ, "PLACE": str(tmp_path), "MODEL": str(inputs["model"][0]), "DATA": str(inputs["data"][0])},
        cwd=Path(__file__).parent,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    saved = {path.name: (path / "complete").exists() for path in (tmp_path / "scratch").glob("checkpoint-*")}
    assert saved == {"checkpoint-2": True, "checkpoint-4": False}
    told = []
    train(work(inputs, tmp_path, report=lambda *progress: told.append(progress)))
    assert told[0] == (3, 6, "steps")
    assert metrics(tmp_path) == metrics(uninterrupted)


def killed_in_its_second_save() -> None:
    """Run in a process of its own: dies in the middle of writing checkpoint 4."""
    import torch

    inputs = {role: (Path(os.environ[role.upper()]),) for role in ("model", "data")}
    place = Path(os.environ["PLACE"])
    save = torch.save

    def deadly(value: object, path: object, *arguments: object, **options: object) -> None:
        if "checkpoint-4" in str(path):
            os.kill(os.getpid(), signal.SIGKILL)
        save(value, path, *arguments, **options)

    torch.save = deadly
    train(work(inputs, place))


def test_a_run_killed_between_its_last_save_and_its_end_only_writes_its_product(uninterrupted, inputs, tmp_path):
    def die(done: int, total: int, unit: str) -> None:
        raise KeyboardInterrupt

    train(work(inputs, tmp_path))
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    train(work(inputs, tmp_path, report=die))
    assert metrics(tmp_path) == metrics(uninterrupted)


def test_only_complete_checkpoints_count(tmp_path):
    assert newest_complete(tmp_path) is None
    for step, marked in ((2, True), (10, True), (12, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if marked:
            (tmp_path / f"checkpoint-{step}" / "complete").touch()
    assert newest_complete(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-12").exists()
