"""What a preflight stage checks on one kind of node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from s1.config.schema import Device, EngineConfig
from s1.stages import BaseModelConfig


@dataclass(frozen=True)
class EngineNeed:
    """The engine that generates on these nodes, and the largest model that it loads there."""

    engine: EngineConfig
    settings: Mapping[str, Any]  # of generation (conf/machine)
    context_tokens: int
    model: BaseModelConfig  # before fine-tuning
    model_name: str


@dataclass(frozen=True)
class Needs:
    """What jobs of this kind need of a node."""

    kind: str  # "sft, 2 nodes x 8 GPUs"
    device: Device
    gpus: int  # on each node
    memory_gib: float | None  # of each GPU; None: unknown
    disk_gib: float | None  # what the plan writes; None: unknown
    engine: EngineNeed | None  # None: they do not generate
    models: list[tuple[str, str | None]]  # of the hub: repository and commit
    datasets: list[tuple[str, str | None]]


@dataclass(frozen=True)
class PreflightConfig:
    """One check of one kind of node. It is made anew each time, because its key holds the time."""

    asked_at: str
    needs: Needs
