"""Supervised fine-tuning on reasoning traces with TRL: loss on thinking and answer only, nothing packed, nothing cut.

    loss = sum over completion tokens of the global batch of -log p(token) / their number      (paper, appendix C)

Inputs: `model` (see s1/train/start.py), `data` (rows.jsonl of records.Example).
Product: a directory in Hugging Face layout, and metrics.jsonl {step, loss, learning_rate, grad_norm, tokens}.

The order of rows is decided before training: shuffled epochs joined end to end; within windows of a few batches, rows
are sorted by length, cut into batches, and the batches shuffled. So neither the micro-batch nor an attempt that was
killed changes a global batch. A checkpoint counts only if it bears a mark, written after all else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from s1.config import ConfigError, Dialect, Train
from s1.data.rows import ROWS
from s1.dialect import Tokenizer, encode, prompt_text, training_text
from s1.records import Example, read_rows
from s1.stages import Sft
from s1.train.start import model_location
from sweep.stage import Summary, Work

if TYPE_CHECKING:
    from trl import SFTConfig, SFTTrainer

METRICS = "metrics.jsonl"
COMPLETE = "complete"  # the mark of a checkpoint
IGNORED = -100  # the label of a token without loss
PRECISIONS = ("float32", "bfloat16")  # of the forward and backward pass; weights and optimiser stay in float32


@dataclass(frozen=True)
class Row:
    """A training example as token ids."""

    input_ids: list[int]
    prompt_tokens: int

    @property
    def labels(self) -> list[int]:
        return [IGNORED] * self.prompt_tokens + self.input_ids[self.prompt_tokens :]


def train(work: Work[Sft]) -> Summary:
    """Fine-tune, going on from the newest complete checkpoint of an earlier attempt."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    recipe = work.config.train
    location = model_location(work.one("model"))
    tokenizer = AutoTokenizer.from_pretrained(location.model, revision=location.revision)
    examples = read_rows(work.one("data") / ROWS, Example)
    rows = [encoded(example, work.config.dialect, tokenizer, recipe.block_size) for example in examples]
    order = row_order([len(row.input_ids) for row in rows], recipe)
    checkpoint = newest_complete(work.scratch)
    model = AutoModelForCausalLM.from_pretrained(
        location.model, revision=location.revision, dtype="float32", use_safetensors=True
    )
    trainer = _trainer(work, model, tokenizer, [rows[index] for index in order])
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.save_model(str(work.out))
    (work.out / "training_args.bin").unlink()  # a pickle, and of this machine
    tokens = list(accumulate(len(rows[index].input_ids) for index in order))
    metrics = _metrics(trainer.state.log_history, tokens[recipe.batch_size - 1 :: recipe.batch_size])
    (work.out / METRICS).write_text("".join(json.dumps(each) + "\n" for each in metrics), encoding="utf-8")
    return {
        "steps": recipe.steps,
        "examples": len(rows),
        "tokens": tokens[-1],
        "trained_tokens": sum(len(rows[index].input_ids) - rows[index].prompt_tokens for index in order),
        "train_loss": sum(each["loss"] for each in metrics) / len(metrics),
        "resumed_at_step": int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0,
    }


def encoded(example: Example, dialect: Dialect, tokenizer: Tokenizer, block_size: int) -> Row:
    """Token ids of one example. Raises ConfigError if they are more than `block_size`."""
    text = training_text(dialect, prompt_text(dialect, example.question, tokenizer), example.thinking, example.answer)
    prompt, completion = encode(text.prompt, tokenizer), encode(text.completion, tokenizer)
    if len(prompt) + len(completion) > block_size:
        raise ConfigError(
            f"example {example.id}: {len(prompt) + len(completion)} tokens, above train.block_size {block_size}."
            " Raise it, or leave the example out; it is never cut."
        )
    return Row([*prompt, *completion], len(prompt))


def row_order(lengths: Sequence[int], recipe: Train) -> list[int]:
    """The row of every place in `steps` global batches, one batch after the other."""
    random = Random(recipe.seed)
    rows = _shuffled_epochs(len(lengths), random)
    order: list[int] = []
    while len(order) < recipe.steps * recipe.batch_size:
        window = sorted(islice(rows, recipe.length_window * recipe.batch_size), key=lambda row: lengths[row])
        batches = [window[start : start + recipe.batch_size] for start in range(0, len(window), recipe.batch_size)]
        random.shuffle(batches)
        order += [row for batch in batches for row in batch]
    return order[: recipe.steps * recipe.batch_size]


def accumulation_steps(batch_size: int, micro_batch: int) -> int:
    """How many micro-batches make one global batch. Raises ConfigError unless they make it exactly."""
    steps, rest = divmod(batch_size, micro_batch)
    if rest:
        raise ConfigError(
            f"train.batch_size {batch_size}: not a multiple of machine.micro_batch {micro_batch}. Change the latter."
        )
    return steps


def newest_complete(scratch: Path) -> Path | None:
    """The last checkpoint that was written to its end; those that were not are removed."""
    complete: dict[int, Path] = {}
    for path in scratch.glob("checkpoint-*"):
        if (path / COMPLETE).exists():
            complete[int(path.name.rpartition("-")[2])] = path
        else:
            shutil.rmtree(path)
    return complete[max(complete)] if complete else None


def _shuffled_epochs(rows: int, random: Random) -> Iterator[int]:
    while True:
        yield from random.sample(range(rows), rows)


def _trainer(work: Work[Sft], model: Any, tokenizer: Any, rows: Sequence[Row]) -> SFTTrainer:
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTTrainer

    class Progress(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
            work.report(state.global_step, state.max_steps, "steps")

        def on_save(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
            (work.scratch / f"checkpoint-{state.global_step}" / COMPLETE).touch()

    arguments = _arguments(work)
    if arguments.n_gpu > 1:  # the trainer would multiply the global batch by them
        raise ConfigError(f"machine: {arguments.n_gpu} GPUs visible to one process. Set CUDA_VISIBLE_DEVICES to one.")
    columns = {"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]}
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer,
        callbacks=[Progress()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(work: Work[Sft]) -> SFTConfig:
    from trl import SFTConfig

    recipe = work.config.train
    if recipe.dtype not in PRECISIONS:
        raise ConfigError(
            f"train.dtype {recipe.dtype!r}: not a precision we train in. Choose {' or '.join(PRECISIONS)}."
        )
    micro_batch = min(int(work.settings["micro_batch"]), recipe.batch_size)
    return SFTConfig(
        output_dir=str(work.scratch),
        max_steps=recipe.steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=accumulation_steps(recipe.batch_size, micro_batch),
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler,
        warmup_steps=recipe.warmup_steps,
        adam_beta1=recipe.adam_beta1,
        adam_beta2=recipe.adam_beta2,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        seed=recipe.seed,
        train_sampling_strategy="sequential",  # the order is ours
        dataset_kwargs={"skip_prepare_dataset": True},  # rows come as ids and labels
        max_length=recipe.block_size,
        bf16=recipe.dtype == "bfloat16",  # TRL's own default is bfloat16, also on a CPU
        use_cpu=work.settings["device"] == "cpu",
        gradient_checkpointing=False,
        save_steps=int(work.settings["checkpoint_every_steps"]),
        save_total_limit=2,  # the last may be incomplete
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
    )


def _metrics(log_history: Sequence[dict[str, Any]], tokens_seen: Sequence[int]) -> list[dict[str, float | int]]:
    """One row a step; tokens are counted here because the trainer's count begins anew with every attempt."""
    return [
        {
            "step": entry["step"],
            "loss": entry["loss"],
            "learning_rate": entry["learning_rate"],
            "grad_norm": entry["grad_norm"],
            "tokens": tokens_seen[entry["step"] - 1],
        }
        for entry in log_history
        if "loss" in entry
    ]
