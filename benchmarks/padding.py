"""Training rows padded, end to end without padding, and packed by TRL: `python benchmarks/padding.py [--repeats 3]`.

Tokens per second and loss of the same small model on the same rows, whose lengths spread as those of s1K do (lognormal,
mean 4,700 tokens), scaled down to a mean of 120 and at most 512. The peer is TRL's own packing (best fit decreasing),
which makes batches of its own from the rows. Tokens are those of rows, padding not counted. Writes
results/benchmarks/padding.md.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from s1.config.schema import Architecture, Overlong, Train, TrainMethod
from s1.models.location import CHAT_PIECES, piece_tokenizer, random_model
from s1.records import TokenRow
from s1.train.order import row_order
from s1.train.trainer import IGNORED, TrainerHooks, arguments_of, trainer_of

PROJECT = Path(__file__).resolve().parents[1]
MEAN, MOST, SIGMA = 120, 512, 0.5  # tokens, tokens, of the logarithm
ROWS, STEPS, BATCH, MICRO_BATCH = 512, 20, 16, 8
WARM_STEPS = 4  # not timed
MODEL = Architecture(hidden_size=128, layers=4, heads=4, feed_forward_size=256, rope_theta=1e4, initializer_range=0.02)
RECIPE = Train(
    method=TrainMethod.FULL,
    epochs=None,
    steps=STEPS,
    batch_size=BATCH,
    learning_rate=1e-3,
    warmup_share=0.05,
    scheduler="cosine",
    adam_beta1=0.9,
    adam_beta2=0.95,
    weight_decay=1e-4,
    max_grad_norm=1.0,
    block_size=MOST,
    overlong=Overlong.REFUSE,
    length_window=1,
    dtype="float32",
    weights_dtype="float32",
)
SETTINGS = {"device": "cpu", "checkpoint_every_steps": 10**6, "gradient_checkpointing": False}
NOTE = f"""{STEPS} steps of {BATCH} rows in micro-batches of {MICRO_BATCH}; the first {WARM_STEPS} are not timed.
The first three cases train on the same batches, so their losses must agree; TRL's packing and the sorted windows make
other batches of the same rows. On a CPU several documents in one row are attended to under a mask, without a fused
kernel: what is shown is the price of padding, not of attention."""


@dataclass(frozen=True)
class Measured:
    tokens_per_second: float
    losses: list[float]


def rows() -> list[TokenRow]:
    """Counting sequences, which a model can learn, of lognormal lengths."""
    random = Random(0)
    made = []
    for number in range(ROWS):
        length = min(MOST, max(8, round(random.lognormvariate(math.log(MEAN) - SIGMA**2 / 2, SIGMA))))
        start = random.randrange(3, 200)
        ids = [3 + (start + place) % 200 for place in range(length - 1)]
        made.append(TokenRow(f"row-{number}", [*ids, 2], length // 4))
    return made


def ours(recipe: Train, micro_batch: int, padding_free: bool) -> Measured:
    """Our stage's own trainer."""
    data, ends = rows(), []
    order = row_order([len(row.input_ids) for row in data], recipe)
    settings = {**SETTINGS, "micro_batch": micro_batch, "padding_free": padding_free}
    with tempfile.TemporaryDirectory() as folder:
        clock = lambda *_progress: ends.append(time.perf_counter())  # noqa: E731
        course = TrainerHooks(STEPS, Path(folder), clock, lambda: False, None)
        arguments = arguments_of(recipe, course, settings, 1)
        arguments.save_strategy = "no"
        trainer = trainer_of(*model_and_tokenizer(), arguments, data, order, course)
        trainer.train()
    timed = order[WARM_STEPS * BATCH :]
    return measured(trainer, sum(len(data[row].input_ids) for row in timed), ends)


def packed_by_trl() -> Measured:
    """TRL's packing as its documentation has it: rows joined into sequences of at most 512 tokens."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
            ends.append(time.perf_counter())

    sequences = BATCH * MEAN // MOST + 1  # about as many tokens a step as the others have
    data = rows()
    columns = {
        "input_ids": [row.input_ids for row in data],
        "labels": [[IGNORED] * row.prompt_tokens + row.input_ids[row.prompt_tokens :] for row in data],
    }
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder, max_steps=STEPS, per_device_train_batch_size=sequences, packing=True, max_length=MOST,
            learning_rate=RECIPE.learning_rate, lr_scheduler_type="cosine", warmup_steps=2, adam_beta2=0.95,
            weight_decay=1e-4, bf16=False, use_cpu=True, gradient_checkpointing=False, logging_steps=1,
            save_strategy="no", report_to="none", disable_tqdm=True,
        )  # fmt: skip
        model, tokenizer = model_and_tokenizer()
        trainer = SFTTrainer(
            model, args=arguments, train_dataset=Dataset.from_dict(columns), processing_class=tokenizer,
            callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    seen = [entry["num_tokens"] for entry in trainer.state.log_history if "num_tokens" in entry]
    return measured(trainer, int(seen[STEPS - 1] - seen[WARM_STEPS - 1]), ends)


def model_and_tokenizer() -> tuple[Any, Any]:
    tokenizer = piece_tokenizer(CHAT_PIECES)
    return random_model(MODEL, tokenizer, seed=0), tokenizer


def measured(trainer: Any, tokens: int, ends: list[float]) -> Measured:
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Measured(tokens / (ends[-1] - ends[WARM_STEPS - 1]), losses)


CASES: Mapping[str, Callable[[], Measured]] = {
    "padded": lambda: ours(RECIPE, MICRO_BATCH, False),
    "padding-free": lambda: ours(RECIPE, MICRO_BATCH, True),
    "one row at a time": lambda: ours(RECIPE, 1, False),
    "padded, sorted within 8 batches": lambda: ours(replace(RECIPE, length_window=8), MICRO_BATCH, False),
    "TRL packing (bfd)": packed_by_trl,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    import torch

    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)  # with two, waiting for each other would measure the machine's other load
    runs: dict[str, list[Measured]] = {name: [] for name in CASES}
    for _ in range(repeats):  # interleaved, so that drift of the machine affects all cases equally
        for name, case in CASES.items():
            runs[name].append(case())
            print(f"{name}: {runs[name][-1].tokens_per_second:,.0f} tokens/s", flush=True)
    text = "\n".join(["# Padding", "", "`python benchmarks/padding.py`", "", NOTE, "", *table(runs), ""])
    target = PROJECT / "results" / "benchmarks" / "padding.md"
    target.write_text(text, encoding="utf-8")
    print(text)


def table(runs: Mapping[str, list[Measured]]) -> list[str]:
    """One row a case: its speed, its loss, and how far its losses are from those of padded batches."""
    base = runs["padded"]
    speed = statistics.median(each.tokens_per_second for each in base)
    lines = [
        "| case | tokens/s, median | all | against padded | loss, last step | largest difference of losses |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for name, measurements in runs.items():
        each = [one.tokens_per_second for one in measurements]
        losses = measurements[0].losses
        same = name in ("padding-free", "one row at a time")
        differences = [abs(a - b) for a, b in zip(losses, base[0].losses, strict=True)] if same else []
        apart = f"{max(differences):.1e}" if same else ""
        lines.append(
            f"| {name} | {statistics.median(each):,.0f} | {', '.join(f'{one:,.0f}' for one in each)} |"
            f" {statistics.median(each) / speed:.2f}x | {losses[-1]:.4f} | {apart} |"
        )
    return lines


if __name__ == "__main__":
    main()
