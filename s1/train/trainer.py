"""Configure TRL's trainer to train on exactly the given rows. The only module that imports TRL.

Defaults turned off here: TRL's silent truncation (max_length), bfloat16 on a CPU, its own row order, packing that cuts,
and accelerate's training on unsharded when it cannot shard (it shards on GPUs only).

A global batch is the next `batch_size` rows of the dataset: micro-batch j goes to process j mod n, and
micro_batch x processes x accumulation = batch_size. The loss is a mean over the tokens of the global batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from s1.config.schema import ConfigError, Train, TrainMethod
from s1.records import TokenRow
from s1.train.checkpoints import Digests, Publisher, Resume, newest_intact, remove_unfinished, saving_folder
from s1.train.metrics import TrainingMetrics
from s1.train.order import accumulation_steps, warmup_steps

if TYPE_CHECKING:
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

IGNORED = -100  # label of a token without loss


@dataclass(frozen=True)
class TrainerHooks:
    """Run length, and the callbacks for progress reports, stop requests and checkpoints."""

    steps: int
    scratch: Path  # folder of checkpoints; the same for all processes
    report: Callable[[int, int, str], None]
    stop_requested: Callable[[], bool]
    save_every_s: float | None  # in addition to machine.checkpoint_every_steps
    inputs: Digests = field(default_factory=dict)  # training does not resume from a checkpoint with other inputs
    metrics: TrainingMetrics | None = None  # written while training runs; None: not at all
    save_total: int = 1  # checkpoints to keep


def arguments_of(recipe: Train, hooks: TrainerHooks, settings: Mapping[str, Any], processes: int) -> SFTConfig:
    """Translate the recipe to TRL's arguments. Also initializes the process group."""
    from trl.trainer.sft_config import SFTConfig

    micro_batch = max(1, min(int(settings["micro_batch"]), recipe.batch_size // processes))
    recompute = bool(settings["gradient_checkpointing"])
    arguments = SFTConfig(
        output_dir=str(saving_folder(hooks.scratch)),  # complete checkpoints are moved from here to scratch
        max_steps=hooks.steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=accumulation_steps(recipe.batch_size, micro_batch, processes),
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler,
        warmup_steps=warmup_steps(hooks.steps, recipe.warmup_share),
        adam_beta1=recipe.adam_beta1,
        adam_beta2=recipe.adam_beta2,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        seed=recipe.seed,
        train_sampling_strategy="sequential",  # s1/train/order.py decides the order
        dataset_kwargs={"skip_prepare_dataset": True},  # rows are already token ids and labels
        max_length=None,  # never truncate
        packing=False,
        padding_free=bool(settings["padding_free"]) and micro_batch > 1,
        bf16=_autocasts(recipe),  # TRL defaults to bfloat16, even on a CPU
        use_cpu=settings["device"] == "cpu",
        gradient_checkpointing=recompute and processes == 1,
        save_steps=int(settings["checkpoint_every_steps"]),
        save_total_limit=None,  # s1/train/checkpoints.py removes old ones
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        **(_sharding(recipe, recompute) if processes > 1 else {}),
    )
    if arguments.n_gpu > 1:  # the trainer would multiply the global batch by their number
        raise ConfigError(f"machine: {arguments.n_gpu} GPUs visible to one process. Set machine.gpus to that number.")
    if processes > 1:
        _prepare_sharding(arguments, recipe)
    return arguments


def trainer_of(
    model: Any,
    tokenizer: Any,
    arguments: SFTConfig,
    rows: Sequence[TokenRow],
    order: Sequence[int],
    hooks: TrainerHooks,
) -> SFTTrainer:
    """Build a trainer that reads `rows` in `order`."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl.trainer.sft_trainer import SFTTrainer

    columns = {
        "input_ids": [row.input_ids for row in rows],
        "labels": [[IGNORED] * row.prompt_tokens + row.input_ids[row.prompt_tokens :] for row in rows],
    }
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(columns).select(order),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_callback(trainer, hooks))
    if arguments.world_size > 1 and not (trainer.is_fsdp_enabled and trainer.accelerator.is_fsdp2):
        raise ConfigError(
            f"machine: accelerate shards on GPUs only, so each of {arguments.world_size} processes would hold the whole"
            " model. Use one process."
        )
    return trainer


def resume_of(arguments: SFTConfig, hooks: TrainerHooks) -> Resume:
    """Where all processes resume: the first one checks the checkpoints and broadcasts the result."""
    from accelerate.utils import broadcast_object_list

    resume: list[Any] = [None]
    if arguments.process_index == 0:
        remove_unfinished(hooks.scratch)
        resume[0] = newest_intact(hooks.scratch, hooks.inputs)
    if arguments.world_size > 1:
        broadcast_object_list(resume)
    return resume[0]


def _autocasts(recipe: Train) -> bool:
    """Whether to autocast: computing in bfloat16 with float32 master weights, or with adapters, which are float32."""
    return recipe.dtype == "bfloat16" and (recipe.weights_dtype == "float32" or recipe.method is not TrainMethod.FULL)


def _sharding(recipe: Train, recompute: bool) -> dict[str, Any]:
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "reshard_after_forward": True,
            # One process per node reads the weights.
            "cpu_ram_efficient_loading": recipe.method is not TrainMethod.QLORA,
            "activation_checkpointing": recompute,
            "state_dict_type": "SHARDED_STATE_DICT",  # every process writes its shard of a checkpoint
        },
    }


def _prepare_sharding(arguments: SFTConfig, recipe: Train) -> None:
    """Set what TrainingArguments cannot: float32 gradient reduction and loss, and RAM-efficient loading."""
    import torch
    from accelerate.utils import enable_fsdp_ram_efficient_loading
    from torch.distributed.fsdp import MixedPrecisionPolicy

    if _autocasts(recipe):
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, output_dtype=torch.float32
        )
        plugin_arguments = cast(dict[str, Any], arguments.fsdp_plugin_args)  # set by _sharding
        plugin_arguments["mixed_precision_policy"] = policy
    if recipe.method is not TrainMethod.QLORA:
        enable_fsdp_ram_efficient_loading()


def _callback(trainer: SFTTrainer, hooks: TrainerHooks) -> Any:
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def __init__(self) -> None:
            self.saved_at = time.monotonic()
            self.publisher = Publisher(hooks.inputs, hooks.save_total)

        def on_train_begin(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
            if hooks.metrics is not None and state.is_world_process_zero:
                hooks.metrics.resume(state.log_history)

        def on_log(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
            if hooks.metrics is not None and state.is_world_process_zero:
                hooks.metrics.add(state.log_history)

        def on_train_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
            self.publisher.wait()
            if hooks.metrics is not None:
                hooks.metrics.tail.flush()

        def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
            hooks.report(state.global_step, state.max_steps, "steps")
            late = hooks.save_every_s is not None and time.monotonic() - self.saved_at >= hooks.save_every_s
            stop, save = _agreed(trainer, hooks.stop_requested(), late and state.is_world_process_zero)
            is_last = state.global_step >= state.max_steps  # the trainer would save here, but the weights are published
            control.should_save = not is_last and (control.should_save or stop or save)
            control.should_training_stop = control.should_training_stop or stop
            if control.should_save:  # at most one checkpoint more than are kept takes room
                self.publisher.wait()

        def on_save(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
            trainer.accelerator.wait_for_everyone()
            if state.is_world_process_zero:
                self.publisher.publish(saving_folder(hooks.scratch) / f"checkpoint-{state.global_step}")
            self.saved_at = time.monotonic()

    return Progress()


def _agreed(trainer: SFTTrainer, *flags: bool) -> list[bool]:
    """Each flag, true if it is true in any process."""
    if trainer.args.world_size == 1:
        return list(flags)
    import torch

    mine = torch.tensor([[int(flag) for flag in flags]], device=trainer.accelerator.device)
    all_of_them = cast(torch.Tensor, trainer.accelerator.gather(mine))  # it gathers a tensor as a tensor
    return [bool(any_of) for any_of in all_of_them.amax(dim=0).tolist()]
