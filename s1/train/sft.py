"""Supervised fine-tuning on reasoning traces with TRL: loss on thinking and answer only, no packing, no truncation.

    loss = sum over completion tokens of the global batch of -log p(token) / their number      (paper, appendix C)

Inputs: `model` (see s1/models/location.py), `data` (rows.jsonl of records.TokenRow, see s1/train/render.py).
Output: a directory in Hugging Face layout, and metrics.jsonl {step, loss, learning_rate, grad_norm, tokens}.

Several processes shard weights, gradients and optimizer state (FSDP2) and split each global batch. On a stop request
(sweep/core/interrupt.py) or at a limit on the cost, a run finishes its step, saves a checkpoint and raises Interrupted;
the next resumes there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from s1.config.schema import ConfigError
from s1.models.location import Location, model_location, model_read, tokenizer_at, tokenizer_location
from s1.records import ROWS, TokenRow, read_rows
from s1.stages import CheckpointConfig
from s1.train.checkpoints import Resume
from s1.train.metrics import TrainingMetrics
from s1.train.order import row_order, total_steps
from s1.train.trainer import TrainerHooks, arguments_of, resume_of, trainer_of
from s1.train.validation import check_recipe
from s1.train.weights import load_for_training, save_model, trained_weights
from sweep.core.interrupt import stop_requests
from sweep.core.stage import Interrupted, Summary, Work

METRICS = "metrics.jsonl"


def train(work: Work[CheckpointConfig]) -> Summary:
    """Fine-tune, resuming from the newest intact checkpoint. Raises Interrupted once a stop request is handled."""
    recipe = work.config.train
    check_recipe(recipe, str(work.settings["device"]))
    rows = read_rows(work.one("data") / ROWS, TokenRow)
    _check_lengths(rows, recipe.block_size)
    order = row_order([len(row.input_ids) for row in rows], recipe)
    steps = total_steps(len(rows), recipe)
    tokens = list(accumulate(len(rows[index].input_ids) for index in order))
    metrics = TrainingMetrics.of(tokens[recipe.batch_size - 1 :: recipe.batch_size], work.scratch)
    trainer, resume = _run_trainer(work, rows, order, metrics)
    if trainer.state.global_step < steps:
        raise Interrupted(f"training stopped after step {trainer.state.global_step} of {steps} and saved a checkpoint")
    logged = metrics.rows(trainer.state.log_history)
    _publish(work, trainer, logged)
    return {
        "steps": steps,
        "examples": len(rows),
        "tokens": tokens[-1],
        "trained_tokens": sum(len(rows[index].input_ids) - rows[index].prompt_tokens for index in order),
        "train_loss": sum(each["loss"] for each in logged) / len(logged),
        "resumed_at_step": resume.step,
        **({"checkpoints_rejected": resume.rejected} if resume.rejected else {}),
        **model_read(work.one("model")),
    }


def _check_lengths(rows: Sequence[TokenRow], block_size: int) -> None:
    for row in rows:
        if len(row.input_ids) > block_size:
            raise ConfigError(
                f"example {row.id}: {len(row.input_ids)} tokens, above train.block_size {block_size}."
                " Run with redo=rendered; training never truncates."
            )


def _run_trainer(
    work: Work[CheckpointConfig], rows: Sequence[TokenRow], order: Sequence[int], metrics: TrainingMetrics
) -> tuple[Any, Resume]:
    """Train to the last step or a stop request; the trainer, and where it resumed."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    steps = total_steps(len(rows), work.config.train)
    minutes: Any = work.settings["checkpoint_every_minutes"]  # a number, or None
    location = _location(work)
    with stop_requests() as stop_requested:
        every_s = None if minutes is None else 60 * float(minutes)
        hooks = TrainerHooks(
            steps,
            work.scratch,
            work.report,
            lambda: stop_requested() or work.is_over_limit(),
            every_s,
            work.digests,
            metrics,
            int(str(work.settings.get("save_total", 1))),
        )
        arguments = arguments_of(work.config.train, hooks, work.settings, int(os.environ.get("WORLD_SIZE", "1")))
        resume = resume_of(arguments, hooks)
        tokenizer = tokenizer_at(location)
        model = load_for_training(location, work.config.train)
        trainer = trainer_of(model, tokenizer, arguments, rows, order, hooks)
        trainer.train(resume_from_checkpoint=str(resume.checkpoint) if resume.checkpoint else None)
    return trainer, resume


def _location(work: Work[CheckpointConfig]) -> Location:
    """The base model; one process per node reads its weights to hash them."""
    is_first = os.environ.get("LOCAL_RANK", "0") == "0"
    return (model_location if is_first else tokenizer_location)(work.one("model"))


def _publish(work: Work[CheckpointConfig], trainer: Any, metrics: Sequence[Mapping[str, float]]) -> None:
    """Gather the trained weights; the first process writes the output."""
    location, writes = _location(work), trainer.is_world_process_zero()
    weights = trained_weights(trainer.model, keep=writes)
    if not writes:
        return
    save_model(weights, location, work.config.train, work.out)
    (work.out / METRICS).write_text("".join(json.dumps(each) + "\n" for each in metrics), encoding="utf-8")
