"""Fine-tuning: what is trained on, by which method, and that a stopped run goes on as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from s1.config.schema import ConfigError, Train, TrainMethod
from s1.records import write_rows
from s1.train.order import row_order, total_steps, warmup_steps
from s1.train.sft import train
from s1.train.trainer import TrainerHooks, arguments_of, trainer_of
from s1.train.validation import check_recipe
from s1.train.weights import load_for_training
from sweep.core.provenance import PROJECT
from sweep.core.stage import Interrupted
from sweep.core.typed import typed
from tests.support.training import LORA, RECIPE, SETTINGS, losses, metrics, rows, training_inputs, work

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, tuple[Path, ...]]:
    return training_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def uninterrupted(inputs, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("uninterrupted")
    train(work(inputs, place))
    return place


def parameters(directory: Path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(directory).state_dict()


def logits(directory: Path):
    import torch
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        return model(torch.tensor([rows()[0].input_ids])).logits


# ------------------------------------------------------------------------------------------- what is trained


def trainer_for(inputs, place: Path, **settings: object):
    from transformers import AutoTokenizer

    order = row_order([len(row.input_ids) for row in rows()], RECIPE)
    hooks = TrainerHooks(6, place, lambda *_progress: None, lambda: False, None)
    arguments = arguments_of(RECIPE, hooks, {**SETTINGS, **settings}, 1)
    model = load_for_training(_location(inputs), RECIPE)
    tokenizer = AutoTokenizer.from_pretrained(inputs["model"][0])
    return trainer_of(model, tokenizer, arguments, rows(), order, hooks), order


def _location(inputs):
    from s1.models.location import model_location

    return model_location(inputs["model"][0])


@pytest.mark.parametrize("padding_free", [False, True])
def test_the_model_sees_every_token_of_a_row_and_is_trained_on_those_after_its_prompt(inputs, tmp_path, padding_free):
    """None cut at TRL's 1,024 tokens, none added after the end of the turn, none of the prompt."""
    trainer, order = trainer_for(inputs, tmp_path, padding_free=padding_free)
    seen = []
    for batch in trainer.get_train_dataloader():
        if padding_free:
            starts = [place for place, at in enumerate(batch["position_ids"][0].tolist()) if at == 0]
            spans = [(0, start, end) for start, end in pairwise([*starts, batch["input_ids"].shape[1]])]
            assert "attention_mask" not in batch
        else:
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            spans = [(row, 0, length) for row, length in enumerate(lengths)]
        for row, start, end in spans:
            ids, labels = (batch[name][row, start:end].tolist() for name in ("input_ids", "labels"))
            seen.append((ids, [token for token, label in zip(ids, labels, strict=True) if label != -100]))
    expected = [rows()[index] for index in order]
    assert seen == [(row.input_ids, row.input_ids[row.prompt_tokens :]) for row in expected]
    assert all(trained[-1] == 2 for _, trained in seen)


def test_a_row_longer_than_trls_default_is_not_cut(inputs, tmp_path):
    long = replace(rows()[0], input_ids=[5] * 1500 + [2], prompt_tokens=3)
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "rows.jsonl", [long])
    recipe = replace(RECIPE, steps=1, batch_size=1, block_size=2000)
    summary = train(work({**inputs, "data": (tmp_path / "data",)}, tmp_path, recipe, micro_batch=1))
    assert summary["tokens"] == 1501 and summary["trained_tokens"] == 1498


def test_a_row_above_the_block_is_refused_because_nothing_is_cut_here(inputs, tmp_path):
    longest = max(len(row.input_ids) for row in rows())
    with pytest.raises(ConfigError, match=rf"{longest} tokens, above train\.block_size {longest - 1}"):
        train(work(inputs, tmp_path, replace(RECIPE, block_size=longest - 1)))


def test_on_a_cpu_nothing_is_in_bfloat16_unless_the_recipe_says_so(inputs, tmp_path, uninterrupted):
    train(work(inputs, tmp_path, replace(RECIPE, dtype="bfloat16")))
    weights = {str(value.dtype) for value in parameters(tmp_path / "out").values()}
    assert weights == {"torch.bfloat16"}
    assert {str(value.dtype) for value in parameters(uninterrupted / "out").values()} == {"torch.float32"}
    assert losses(tmp_path / "out") != losses(uninterrupted / "out")
    assert losses(tmp_path / "out") == pytest.approx(losses(uninterrupted / "out"), rel=0.05)


# ------------------------------------------------------------------------------------------------ and how it goes


def test_every_step_is_measured_and_the_model_learns(uninterrupted):
    measured = metrics(uninterrupted / "out")
    assert [row["step"] for row in measured] == [1, 2, 3, 4, 5, 6]
    assert set(measured[0]) == {"step", "loss", "learning_rate", "grad_norm", "tokens"}
    assert measured[-1]["loss"] < measured[0]["loss"]
    assert measured[2]["learning_rate"] == max(row["learning_rate"] for row in measured) == RECIPE.learning_rate
    assert all(earlier["tokens"] < later["tokens"] for earlier, later in pairwise(measured))


def test_the_trainer_follows_the_order_that_was_decided(uninterrupted):
    state = json.loads((uninterrupted / "scratch" / "checkpoint-4" / "trainer_state.json").read_text())
    its_count = [entry["num_tokens"] for entry in state["log_history"]]
    assert its_count == [row["tokens"] for row in metrics(uninterrupted / "out")][:4]


def test_the_output_loads_without_conversion(uninterrupted, inputs):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out, start = uninterrupted / "out", inputs["model"][0]
    model = AutoModelForCausalLM.from_pretrained(out)
    assert AutoTokenizer.from_pretrained(out).get_vocab() == AutoTokenizer.from_pretrained(start).get_vocab()
    assert {path.name for path in start.iterdir()} | {"metrics.jsonl"} == {path.name for path in out.iterdir()}
    for file in ("config.json", "generation_config.json"):
        assert (out / file).read_text() == (start / file).read_text()
    assert any((parameters(start)[name] != value).any() for name, value in model.state_dict().items())


def test_a_generation_config_that_cannot_be_saved_is_kept_as_it_came(inputs, tmp_path):
    """Flags of sampling without do_sample: loading takes them, saving raises."""
    model = shutil.copytree(inputs["model"][0], tmp_path / "model")
    flags = json.dumps({"temperature": 0.6, "top_p": 0.95, "do_sample": False, "eos_token_id": 2})
    (model / "generation_config.json").write_text(flags)
    train(work({**inputs, "model": (model,)}, tmp_path, replace(RECIPE, steps=2)))
    assert (tmp_path / "out" / "generation_config.json").read_text() == flags


def test_a_model_whose_config_holds_flags_of_sampling_can_be_trained_and_saved(inputs, tmp_path):
    """Of models from before there was a generation_config.json."""
    from transformers import AutoModelForCausalLM

    model = shutil.copytree(inputs["model"][0], tmp_path / "model")
    (model / "generation_config.json").unlink()
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "temperature": 0.6, "top_p": 0.9}))
    train(work({**inputs, "model": (model,)}, tmp_path, replace(RECIPE, steps=2)))
    kept = AutoModelForCausalLM.from_pretrained(tmp_path / "out").generation_config
    assert (kept.eos_token_id, kept.temperature) == (config["eos_token_id"], None)


@pytest.mark.parametrize(
    "settings",
    [
        {"micro_batch": 2},
        {"micro_batch": 4, "padding_free": True},
        {"micro_batch": 1},
        {"gradient_checkpointing": True},
    ],
    ids=str,
)
def test_how_a_batch_is_computed_does_not_change_what_is_learned(uninterrupted, inputs, tmp_path, settings):
    train(work(inputs, tmp_path, **settings))
    whole, split = metrics(uninterrupted / "out"), metrics(tmp_path / "out")
    assert [row["tokens"] for row in split] == [row["tokens"] for row in whole]
    assert [row["loss"] for row in split] == pytest.approx([row["loss"] for row in whole], rel=1e-3)


def test_progress_is_reported_step_by_step_and_no_bar_or_table_is_printed(inputs, tmp_path):
    done = in_a_process_of_its_own("report_two_steps", inputs, tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert all(line.startswith("[transformers] The tokenizer has new") for line in done.stderr.splitlines())
    assert json.loads((tmp_path / "reported.json").read_text()) == [[1, 2, "steps"], [2, 2, "steps"]]


def report_two_steps() -> None:
    reported = []
    inputs, place = given()
    train(work(inputs, place, replace(RECIPE, steps=2), report=lambda *progress: reported.append(progress)))
    (place / "reported.json").write_text(json.dumps(reported))


def in_a_process_of_its_own(function, inputs, place) -> subprocess.CompletedProcess[str]:
    """Run a function of this file, which finds its inputs and its folder by `given`."""
    places = {role.upper(): str(path) for role, (path,) in inputs.items()}
    return subprocess.run(
        [sys.executable, "-c", f"from tests.unit.s1.test_sft import {function} as run; run()"],
        env={**os.environ, **places, "PLACE": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )


def given() -> tuple[dict[str, tuple[Path, ...]], Path]:
    return {role: (Path(os.environ[role.upper()]),) for role in ("model", "data")}, Path(os.environ["PLACE"])


# ------------------------------------------------------------------------------------------------------- methods


def test_adapters_learn_and_are_merged_into_a_plain_model(inputs, tmp_path):
    recipe = replace(RECIPE, method=TrainMethod.LORA, lora=LORA, learning_rate=0.05)
    train(work(inputs, tmp_path, recipe))
    out, start = tmp_path / "out", inputs["model"][0]
    assert losses(out)[-1] < losses(out)[0]
    assert {path.name for path in start.iterdir()} | {"metrics.jsonl"} == {path.name for path in out.iterdir()}
    before, after = parameters(start), parameters(out)
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed == {name for name in before if name.endswith("_proj.weight")}, "and nothing else, the head included"


def test_the_merged_model_is_the_one_that_was_trained(inputs, tmp_path):
    """After six steps it has, on the batch of the seventh, the loss that training measures there."""
    recipe = replace(RECIPE, method=TrainMethod.LORA, lora=LORA, steps=7, scheduler="constant", warmup_share=0.0)
    train(work(inputs, tmp_path / "seven", recipe))
    train(work(inputs, tmp_path / "six", replace(recipe, steps=6)))
    order = row_order([len(row.input_ids) for row in rows()], recipe)
    (tmp_path / "seventh").mkdir()
    write_rows(tmp_path / "seventh" / "rows.jsonl", [rows()[index] for index in order[-4:]])
    going_on = {"model": (tmp_path / "six" / "out",), "data": (tmp_path / "seventh",)}
    train(work(going_on, tmp_path / "on", replace(RECIPE, steps=1, length_window=1)))
    assert losses(tmp_path / "on" / "out")[0] == pytest.approx(losses(tmp_path / "seven" / "out")[6], rel=1e-5)


def test_recipes_that_no_run_could_honour_are_refused():
    for recipe, device, claim in (
        (replace(RECIPE, method=TrainMethod.QLORA, lora=LORA), "cpu", r"train\.method qlora: .* the device is cpu"),
        (replace(RECIPE, method=TrainMethod.LORA), "cpu", r"train\.lora null: train\.method is lora"),
        (replace(RECIPE, lora=LORA), "cpu", r"train\.lora set: train\.method is full"),
        (replace(RECIPE, epochs=5), "cpu", r"train\.steps 6: exactly one of train\.steps and train\.epochs \(5\)"),
        (
            replace(RECIPE, steps=None),
            "cpu",
            r"train\.steps None: exactly one of train\.steps and ",
        ),
        (replace(RECIPE, weights_dtype="bfloat16"), "cuda", r"train\.weights_dtype 'bfloat16': less precise"),
        (replace(RECIPE, scheduler="constant", warmup_share=0.1), "cuda", r"train\.scheduler constant has no warmup"),
    ):
        with pytest.raises(ConfigError, match=claim):
            check_recipe(recipe, device)
    check_recipe(replace(RECIPE, method=TrainMethod.QLORA, lora=LORA, dtype="bfloat16"), "cuda")


@pytest.mark.parametrize("preset", sorted((PROJECT / "conf" / "train").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_a_recipe_that_can_run(preset):
    recipe = typed(Train, preset_of(preset))
    check_recipe(recipe, "cuda")
    steps = total_steps(1000, recipe)
    assert (steps, warmup_steps(steps, recipe.warmup_share)) == ((1400, 70) if preset.stem == "laptop" else (315, 16))


def preset_of(path: Path) -> dict[str, object]:
    """A preset over the one it builds on, as Hydra composes them."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    under = [name for name in values.pop("defaults", []) if name != "_self_"]
    base = preset_of(path.with_name(f"{under[0]}.yaml")) if under else {}
    return {**base, **values, "seed": 0}


# ------------------------------------------------------------------------------------------ stopped, and going on


def test_a_run_killed_while_it_saves_goes_on_as_if_nothing_had_happened(uninterrupted, inputs, tmp_path):
    killed = in_a_process_of_its_own("killed_in_its_second_save", inputs, tmp_path)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "scratch").glob("checkpoint-*")] == ["checkpoint-2"]
    assert [path.name for path in (tmp_path / "scratch").glob("saving-*/checkpoint-*")] == ["checkpoint-4"]
    told = []
    train(work(inputs, tmp_path, report=lambda *progress: told.append(progress)))
    assert told[0] == (3, 6, "steps")
    assert metrics(tmp_path / "out") == metrics(uninterrupted / "out")
    assert not list((tmp_path / "scratch").glob("saving-*/checkpoint-*")), "what the killed one left takes no room"


def killed_in_its_second_save() -> None:
    """Run in a process of its own: dies in the middle of writing checkpoint 4."""
    import torch

    inputs, place = given()
    save = torch.save

    def deadly(value: object, path: Any, *arguments: Any, **options: Any) -> None:
        if "checkpoint-4" in str(path):
            os.kill(os.getpid(), signal.SIGKILL)
        save(value, path, *arguments, **options)

    torch.save = deadly
    train(work(inputs, place))


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_ends_its_step_saves_it_and_goes_on_there(uninterrupted, inputs, tmp_path, number):
    def ask(done: int, total: int, unit: str) -> None:
        if done == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match="after step 3 of 6"):
        train(work(inputs, tmp_path, report=ask, checkpoint_every_steps=100))
    assert [path.name for path in (tmp_path / "scratch").glob("checkpoint-*")] == ["checkpoint-3"]
    assert not list((tmp_path / "out").iterdir())
    assert train(work(inputs, tmp_path))["resumed_at_step"] == 3
    assert metrics(tmp_path / "out") == metrics(uninterrupted / "out")


def test_a_checkpoint_is_also_due_by_the_clock(inputs, tmp_path):
    train(work(inputs, tmp_path, replace(RECIPE, steps=3), checkpoint_every_steps=100, checkpoint_every_minutes=0))
    saved = sorted(path.name for path in (tmp_path / "scratch").glob("checkpoint-*"))
    assert saved == ["checkpoint-1", "checkpoint-2"], "after every step but the last"


def test_no_checkpoint_is_saved_at_the_last_step_and_none_by_a_run_shorter_than_its_interval(inputs, tmp_path):
    train(work(inputs, tmp_path / "two", save_total=1))
    assert [path.name for path in (tmp_path / "two" / "scratch").glob("checkpoint-*")] == ["checkpoint-4"]
    train(work(inputs, tmp_path / "none", checkpoint_every_steps=6))
    assert not list((tmp_path / "none" / "scratch").glob("*/checkpoint-*"))
    assert not list((tmp_path / "none" / "scratch").glob("checkpoint-*"))


def test_a_limit_on_the_cost_saves_a_checkpoint_from_which_a_higher_limit_continues(uninterrupted, inputs, tmp_path):
    steps: list[int] = []
    limited = work(inputs, tmp_path, report=lambda *progress: steps.append(progress[0]), checkpoint_every_steps=100)
    with pytest.raises(Interrupted, match="after step 3 of 6"):
        train(replace(limited, is_over_limit=lambda: 3 in steps))
    assert train(work(inputs, tmp_path))["resumed_at_step"] == 3
    for path in (uninterrupted / "out").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_adapters_go_on_from_a_checkpoint_too(inputs, tmp_path):
    def ask(done: int, total: int, unit: str) -> None:
        if done == 3:
            os.kill(os.getpid(), signal.SIGUSR1)

    recipe = replace(RECIPE, method=TrainMethod.LORA, lora=LORA)
    train(work(inputs, tmp_path / "whole", recipe))
    with pytest.raises(Interrupted):
        train(work(inputs, tmp_path / "stopped", recipe, report=ask))
    train(work(inputs, tmp_path / "stopped", recipe))
    assert metrics(tmp_path / "stopped" / "out") == metrics(tmp_path / "whole" / "out")
