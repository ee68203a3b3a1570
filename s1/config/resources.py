"""Schema of the groups `cost`, `track` and `machine`; `launch` is in sweep/core/launch.py.

`track` and `machine` enter no key. `cost` enters only the key of the report, which shows prices.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from s1.config.schema import ConfigError, Device, Precision
from sweep.core.identity import Json
from sweep.core.ranges import Count, FreeText, Natural, NotNegative, Positive, ShareAboveZero, Text
from sweep.core.stage import Resources

REMAKE_LIMIT_USD = 1.0


@dataclass(frozen=True)
class Cost:
    """Rates for the estimate before a run and the price after it."""

    usd_per_device_hour: NotNegative  # price of one device for one hour
    # training speed of one device; null: computed from FLOPs by `peak_tflops` and `mfu`
    train_tokens_per_second: Positive | None
    generate_tokens_per_second: Positive  # generation speed of one copy of the model
    seconds_per_stage: NotNegative  # start-up time of a worker
    tokens_per_example: Count  # expected tokens of a training example
    natural_thinking_tokens: Count  # expected thinking tokens without any budget
    natural_answer_tokens: Count  # expected tokens of an answer
    source: FreeText  # where these rates come from; printed with the estimate
    peak_tflops: Positive | None = None  # peak TFLOPS of one device, dense, in the dtype of the forward pass
    # model FLOPs utilisation: the share of that peak that training is expected to reach
    mfu: ShareAboveZero | None = None
    # make damaged artifacts of expensive stages again without asking, up to this price; null: at any price
    remake_limit_usd: NotNegative | None = field(default=REMAKE_LIMIT_USD, metadata={"omit_if": REMAKE_LIMIT_USD})
    # the most that may be spent on the result; checked before a run and while it runs; null: no limit
    limit_usd: NotNegative | None = field(default=None, metadata={"omit_if": None})
    # the same in hours of devices, such as GPUs
    limit_device_hours: NotNegative | None = field(default=None, metadata={"omit_if": None})
    # names of the only models that these rates and lengths hold for; empty: any
    models: tuple[Text, ...] = field(default=(), metadata={"omit_if": ()})
    # traces that decode together at `generate_tokens_per_second`; null: that speed holds for any number
    generate_together: Count | None = field(default=None, metadata={"omit_if": None})

    def __post_init__(self) -> None:
        if (self.train_tokens_per_second is None) == (self.mfu is None):
            raise ConfigError(
                f"cost.train_tokens_per_second {self.train_tokens_per_second} and cost.mfu {self.mfu}: exactly one sets"
                " the speed of training. Set one to null."
            )
        if self.mfu is not None and self.peak_tflops is None:
            raise ConfigError(f"cost.mfu {self.mfu}: requires cost.peak_tflops. Set it: 989 for an H100.")

    @property
    def rates(self) -> Cost:
        """The rates without limits and what only plans use, which must not change the key of a report."""
        return replace(
            self,
            remake_limit_usd=REMAKE_LIMIT_USD,
            limit_usd=None,
            limit_device_hours=None,
            models=(),
            generate_together=None,
        )

    def holds_for(self, model: str) -> bool:
        """Whether these rates and lengths may be used for a model; if not, it has none until something is measured."""
        return not self.models or model in self.models


@dataclass(frozen=True)
class Track:
    wandb: bool  # mirror results on W&B
    project: Text  # W&B project
    entity: Text | None  # W&B user or team; null: your default


@dataclass(frozen=True)
class Machine:
    device: Device  # cpu or cuda
    dtype: Precision  # dtype of generation
    gpus: Natural  # GPUs of one node
    tensor_parallel: Count  # GPUs of one copy of the model
    data_parallel: Count  # copies of the model, one process each
    shards: Count  # parts to divide the questions into; each runs on its own copies, as an element of a SLURM array
    workers: Count  # stages that run at the same time
    threads: Count  # CPU threads of one worker
    micro_batch: Count  # training rows per device and forward pass
    checkpoint_every_steps: Count  # training steps between checkpoints; an interruption repeats at most this many
    checkpoint_every_minutes: Positive | None  # minutes between checkpoints; null: by steps only
    gradient_checkpointing: bool  # recompute activations in the backward pass to save memory
    padding_free: bool  # concatenate the training rows of a micro-batch instead of padding them
    memory_gib: Positive | None  # memory of one device, for the estimate; null: unknown
    nodes: Count  # nodes that train one model together
    slots: Count  # traces that one copy decodes at the same time
    # memory for the KV cache on each device; null: the memory of the GPU that the weights leave free
    cache_gib: Positive | None
    # vLLM: reuse the KV cache of prompts it has read before; false only to measure the gain
    prefix_caching: bool
    # vLLM: most tokens of one forward pass; null: vLLM's default for offline use, 16,384 on an H100
    max_num_batched_tokens: Count | None = None
    # vLLM: share of each GPU's memory for weights, activations and KV cache, if cache_gib is null; null: vLLM's default
    gpu_memory_utilization: ShareAboveZero | None = None
    save_total: Count = 1  # training checkpoints to keep; a second one is there if the newest is damaged

    @property
    def devices(self) -> int:
        """Devices that train one model together."""
        return self.nodes * max(1, self.gpus)


def filled(machine: Machine, batch_size: int) -> Machine:
    """The part of a machine that trains with this batch size: at most one device per row of a batch."""
    if batch_size >= machine.devices:
        return machine
    gpus = min(machine.gpus, batch_size)
    return replace(machine, nodes=max(1, batch_size // max(1, gpus)), gpus=gpus)


class JobKind(Enum):
    """Kinds of jobs; the values are the batch scripts in slurm/."""

    SFT = "sft"  # training
    GENERATE = "generate"  # generation
    CPU = "cpu"  # everything that needs no GPU


def resources_of(kind: JobKind, machine: Machine) -> Resources:
    """Resources of a stage: training takes all GPUs of all nodes, generation the GPUs of its copies on one node."""
    if kind is JobKind.CPU:
        return Resources(script=kind.value)
    if kind is JobKind.GENERATE:
        devices = min(machine.gpus, machine.tensor_parallel * machine.data_parallel)
        return Resources(script=kind.value, devices=devices)
    return Resources(kind.value, machine.nodes, devices=machine.gpus, processes=max(1, machine.gpus))


def settings_of(machine: Machine, cost: Cost, resources: Resources) -> dict[str, Json]:
    """Settings of a stage, which enter no key; the hourly price covers the devices that it reserves."""
    return {
        "device": machine.device,
        "micro_batch": machine.micro_batch,
        "checkpoint_every_steps": machine.checkpoint_every_steps,
        "checkpoint_every_minutes": machine.checkpoint_every_minutes,
        "save_total": machine.save_total,
        "gradient_checkpointing": machine.gradient_checkpointing,
        "padding_free": machine.padding_free,
        "slots": machine.slots,
        "cache_gib": machine.cache_gib,
        "prefix_caching": machine.prefix_caching,
        "max_num_batched_tokens": machine.max_num_batched_tokens,
        "gpu_memory_utilization": machine.gpu_memory_utilization,
        "data_parallel": machine.data_parallel,
        "usd_per_hour": cost.usd_per_device_hour * resources.nodes * max(1, resources.devices),
    }
