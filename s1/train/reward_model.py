"""The reward_model stage: train a small process reward model as a token classifier.

    loss = mean of -log p(label) over the ends of the steps in a batch

Inputs: `model`, whose tokenizer and weights it takes below the classifier; `examples` (s1/reward/examples.py). Output:
a directory in Hugging Face layout, with the classes 0 (wrong) and 1 (right).

Summary: `step_auc` is the probability that a right step of a held-out trace scores above a wrong one, over all steps;
`answer_auc` the same over the answers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from s1.config.reward import OverlongInput, RewardForm, RewardScoring, StepAggregation
from s1.models.location import Location, model_location, tokenizer_at
from s1.models.thinking_format import Tokenizer
from s1.records import ROWS, StepExample, read_rows
from s1.reward.examples import HELD_OUT
from s1.reward.scoring import RewardModel
from s1.reward.steps import RewardInput, prompt_before, stepwise_input
from s1.stages import RewardModelConfig
from s1.stats.ranks import auc
from s1.train.order import row_order, total_steps, warmup_steps
from s1.train.trainer import IGNORED
from sweep.core.interrupt import stop_requests
from sweep.core.stage import Interrupted, Summary, Work

CLASSES = {0: "wrong", 1: "right"}
RIGHT = 1


def train_reward_model(work: Work[RewardModelConfig]) -> Summary:
    """Train, save, and measure on held-out traces. Raises Interrupted after a stop request; it then starts anew."""
    config, folder = work.config, work.one("examples")
    location = model_location(work.one("model"))
    tokenizer: Any = tokenizer_at(location)
    rows = read_rows(folder / ROWS, StepExample)
    model = _trained(work, location, rows, tokenizer)
    model.save_pretrained(work.out)
    tokenizer.save_pretrained(work.out)
    held_out = read_rows(folder / HELD_OUT, StepExample)
    scorer = RewardModel(model, tokenizer, _scoring(config, longest_tokens=model.config.max_position_embeddings))
    scored = [list(zip(scorer.rewards_at(_input(row, config, tokenizer)), row.labels, strict=True)) for row in held_out]
    return {
        "steps": total_steps(len(rows), config.train),
        "examples": len(rows),
        "held_out": len(held_out),
        "step_auc": auc(chain.from_iterable(scored)),
        "answer_auc": auc(each[-1] for each in scored),
    }


def _scoring(config: RewardModelConfig, longest_tokens: int) -> RewardScoring:
    return RewardScoring(
        form=RewardForm.PROCESS,
        context_tokens=longest_tokens,
        overlong=OverlongInput.REFUSE,
        prompt=config.prompt,
        reads_thinking=True,
        label=RIGHT,
        step_separator=config.step_separator,
        step_aggregation=StepAggregation.LAST,
    )


def _input(row: StepExample, config: RewardModelConfig, tokenizer: Tokenizer) -> RewardInput:
    prompt = prompt_before(config.prompt, row.question)
    return stepwise_input(prompt, row.steps, config.step_separator, tokenizer)


def _labelled(row: StepExample, config: RewardModelConfig, tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Token ids, and a label at the end of each step."""
    read = _input(row, config, tokenizer)
    labels = [IGNORED] * len(read.ids)
    for place, label in zip(read.places, row.labels, strict=True):
        labels[place] = int(label)
    return {"input_ids": list(read.ids), "labels": labels}


def _trained(work: Work[RewardModelConfig], location: Location, rows: Sequence[StepExample], tokenizer: Any) -> Any:
    from datasets import Dataset
    from transformers import DataCollatorForTokenClassification, PrinterCallback, Trainer
    from transformers.utils import logging

    logging.disable_progress_bar()
    recipe = work.config.train
    labelled = [_labelled(row, work.config, tokenizer) for row in rows]
    order = row_order([len(each["input_ids"]) for each in labelled], recipe)
    steps = total_steps(len(rows), recipe)
    with stop_requests() as stop_requested:
        trainer = Trainer(
            model=_classifier(location, recipe.seed),
            args=_arguments(work, steps),
            train_dataset=Dataset.from_list(labelled).select(order),
            data_collator=DataCollatorForTokenClassification(tokenizer),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_progress(work, stop_requested))
        trainer.train()
    if trainer.state.global_step < steps:
        raise Interrupted(f"training stopped after step {trainer.state.global_step} of {steps}")
    return trainer.model


def _classifier(location: Location, seed: int) -> Any:
    """The base model below a new, seeded classifier."""
    import torch
    from transformers import AutoConfig, AutoModelForTokenClassification

    config = AutoConfig.from_pretrained(location.model, revision=location.revision, id2label=CLASSES)
    config.classifier_dropout = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForTokenClassification.from_pretrained(
            location.model,
            revision=location.revision,
            dtype=torch.float32,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
        )


def _arguments(work: Work[RewardModelConfig], steps: int) -> Any:
    from transformers import TrainingArguments

    recipe = work.config.train
    return TrainingArguments(
        output_dir=str(work.scratch),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch_size,  # small, so it is never divided into micro-batches
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler,
        warmup_steps=warmup_steps(steps, recipe.warmup_share),
        adam_beta1=recipe.adam_beta1,
        adam_beta2=recipe.adam_beta2,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        seed=recipe.seed,
        train_sampling_strategy="sequential",  # s1/train/order.py decides the order
        use_cpu=True,
        save_strategy="no",  # it takes a minute, so an interrupted training starts anew
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def _progress(work: Work[RewardModelConfig], stop_requested: Any) -> Any:
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
            work.report(state.global_step, state.max_steps, "steps")
            control.should_training_stop = control.should_training_stop or stop_requested()

    return Progress()
